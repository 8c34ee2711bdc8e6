/* `daemonry_native.calls`: what costs most of a call, for `daemonry`, which does without it.

    scan(message)                    whether a message with its NUL is JSON within the rules
    scan_frame(frame)                whether one without its NUL is
    exchange(fd, frame, most)        sends a call and reads the first bytes of its reply
    hear(epoll, callbacks, failed)   calls the readers that have something to read
    Form(head, form, tail, most)     one type of message
        .write(value)                the message, or None
        .read(message)               its value, or NotImplemented
    Ready, Table, Line               a server's calls that are answered at once: see answer.h and line.h

Owns no rule: what is not proved here goes to the codec in Python, which takes or refuses it. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "answer.h"
#include "exchange.h"
#include "form.h"
#include "hear.h"
#include "line.h"
#include "read.h"
#include "scan.h"
#include "write.h"

/* What `daemonry.wire.native` needs to be equal: raised when a function changes its meaning. */
enum { INTERFACE = 2 };

typedef struct {
    PyObject_HEAD
    PyObject *head, *tail, *spec;
    form *of;
    Py_ssize_t most;
} Form;

static int form_init(PyObject *self, PyObject *arguments, PyObject *keywords) {
    Form *it = (Form *)self;
    PyObject *head, *spec, *tail;
    Py_ssize_t most;
    if (it->of != NULL || (keywords != NULL && PyDict_Size(keywords))) {
        PyErr_SetString(PyExc_TypeError, "Form(head, form, tail, most), once");
        return -1;
    }
    if (!PyArg_ParseTuple(arguments, "SO!Sn", &head, &PyTuple_Type, &spec, &tail, &most)) return -1;
    if (most <= 0) {
        PyErr_SetString(PyExc_ValueError, "no length of a message");
        return -1;
    }
    form *of = form_of(spec, 0);
    if (of == NULL) return -1;
    it->of = of;
    it->most = most;
    it->head = Py_NewRef(head);
    it->spec = Py_NewRef(spec);
    it->tail = Py_NewRef(tail);
    return 0;
}

static void form_dealloc(PyObject *self) {
    Form *it = (Form *)self;
    PyTypeObject *type = Py_TYPE(self);
    form_free(it->of);
    Py_XDECREF(it->head);
    Py_XDECREF(it->spec);
    Py_XDECREF(it->tail);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static bool is_made(const Form *it) {
    if (it->of == NULL) PyErr_SetString(PyExc_TypeError, "a Form that was not made");
    return it->of != NULL;
}

static PyObject *form_write(PyObject *self, PyObject *value) {
    Form *it = (Form *)self;
    output out;
    if (!is_made(it)) return NULL;
    output_begin(&out, (size_t)it->most);
    PyObject *written = NULL;
    if (output_add(&out, PyBytes_AsString(it->head), (size_t)PyBytes_Size(it->head))
        && write_value(it->of, value, &out)) {
        written = output_end(&out, PyBytes_AsString(it->tail), (size_t)PyBytes_Size(it->tail));
    } else {
        output_drop(&out);
    }
    if (written != NULL) return written;
    /* A lone surrogate, an attribute that is not set: the codec says why. */
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError) && !PyErr_ExceptionMatches(PyExc_AttributeError)) return NULL;
        PyErr_Clear();
    }
    return Py_NewRef(Py_None);
}

static PyObject *form_read(PyObject *self, PyObject *message) {
    Form *it = (Form *)self;
    if (!is_made(it)) return NULL;
    if (!PyBytes_CheckExact(message)) return Py_NewRef(Py_NotImplemented);
    input in = {(place)PyBytes_AsString(message), NULL};
    in.end = in.at + PyBytes_Size(message);
    const size_t head = (size_t)PyBytes_Size(it->head), tail = (size_t)PyBytes_Size(it->tail);
    in.at = skip_word(in.at, in.end, PyBytes_AsString(it->head), head);
    PyObject *value = in.at == NULL ? NULL : read_value(it->of, &in);
    if (value != NULL && skip_word(in.at, in.end, PyBytes_AsString(it->tail), tail) == in.end) return value;
    Py_XDECREF(value);
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) return NULL;
        PyErr_Clear();
    }
    return Py_NewRef(Py_NotImplemented);
}

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

static PyMethodDef form_methods[] = {
    {"write", form_write, METH_O, "Return the message for a value; None where only the codec can tell."},
    {"read", form_read, METH_O, "Return a message's value; NotImplemented where only the codec can tell."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot form_slots[] = {
    {Py_tp_init, form_init},
    {Py_tp_dealloc, form_dealloc},
    {Py_tp_methods, form_methods},
    {Py_tp_doc, "One type of message: what is around its value, the value's form, and how long it may be."},
    {0, NULL},
};

static PyType_Spec form_type = {
    .name = "daemonry_native.calls.Form",
    .basicsize = sizeof(Form),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = form_slots,
};

static PyMethodDef functions[] = {
    {"scan", scan_message, METH_O, "Say whether a message with its NUL is JSON within the rules."},
    {"scan_frame", scan_frame, METH_O, "Say whether a message without its NUL is JSON within the rules."},
    {"exchange", exchange, METH_VARARGS, "Send a call and return the first bytes of its reply."},
    {"hear", hear, METH_VARARGS, "Call the readers that have something to read."},
    {NULL, NULL, 0, NULL},
};

static int executed(PyObject *module) {
    PyType_Spec *const types[] = {&form_type, &ready_type, &table_type, &line_type};
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
