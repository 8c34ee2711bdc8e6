/* `daemonry_native.calls`: what costs most of a call, for `daemonry`, which does without it.

    scan(message)                    whether a message with its NUL is JSON within the rules
    scan_frame(frame)                whether one without its NUL is
    exchange(fd, frame, most)        sends a call and reads the first bytes of its reply
    hear(epoll, callbacks, failed)   calls the readers that have something to read
    Form(head, form, tail, most)     one type of message
        .write(value)                the message, or None
        .read(message)               its value, or NotImplemented
    Reply                            replies of one type: see reply.h
    Call                             a blocking client's call of one method: see call.h
    Ready, Table, Line               a server's calls that are answered at once: see answer.h and line.h

Owns no rule: what is not proved here goes to the codec in Python, which takes or refuses it. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "answer.h"
#include "call.h"
#include "hear.h"
#include "line.h"
#include "message.h"
#include "reply.h"
#include "scan.h"

/* What `daemonry.wire.native` needs to be equal: raised when a function changes its meaning. */
enum { INTERFACE = 3 };

static PyObject *scan_message(PyObject *module, PyObject *message) {
    (void)module;
    if (!PyBytes_CheckExact(message)) Py_RETURN_FALSE;
    place at = (place)PyBytes_AsString(message);
    Py_ssize_t size = PyBytes_Size(message);
    return PyBool_FromLong(size > 1 && at[size - 1] == '\0' && scan(at, at + size - 1));
}

static PyObject *scan_frame(PyObject *module, PyObject *frame) {
    (void)module;
    if (!PyBytes_CheckExact(frame)) Py_RETURN_FALSE;
    place at = (place)PyBytes_AsString(frame);
    return PyBool_FromLong(scan(at, at + PyBytes_Size(frame)));
}

static PyMethodDef functions[] = {
    {"scan", scan_message, METH_O, "Say whether a message with its NUL is JSON within the rules."},
    {"scan_frame", scan_frame, METH_O, "Say whether a message without its NUL is JSON within the rules."},
    {"exchange", exchange, METH_VARARGS, "Send a call and return the first bytes of its reply."},
    {"hear", hear, METH_VARARGS, "Call the readers that have something to read."},
    {NULL, NULL, 0, NULL},
};

static int executed(PyObject *module) {
    PyType_Spec *const types[] = {&form_type, &reply_type, &call_type, &ready_type, &table_type, &line_type};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        PyObject *type = PyType_FromModuleAndSpec(module, types[i], NULL);
        if (type == NULL) return -1;
        int failed = PyModule_AddType(module, (PyTypeObject *)type);
        Py_DECREF(type);
        if (failed < 0) return -1;
    }
    return PyModule_AddIntConstant(module, "INTERFACE", INTERFACE);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, executed},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "daemonry_native.calls",
    .m_doc = "What costs most of a call, in C.",
    .m_size = 0,
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit_calls(void);

PyMODINIT_FUNC PyInit_calls(void) { return PyModuleDef_Init(&definition); }
