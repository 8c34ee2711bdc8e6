/* One type of message: what is around its value, the value's form, and how long it may be.

    Form(head, form, tail, most)
        .write(value)       the message, or None
        .read(message)      its value, or NotImplemented */

#ifndef DAEMONRY_MESSAGE_H
#define DAEMONRY_MESSAGE_H

#include "read.h"
#include "write.h"

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

/* Writes the message for a value, but for what is lent; false where only the codec can tell, perhaps with an error. */
static bool form_put(const Form *it, PyObject *value, output *out) {
    return output_add(out, PyBytes_AsString(it->head), (size_t)PyBytes_Size(it->head))
        && write_value(it->of, value, out)
        && output_add(out, PyBytes_AsString(it->tail), (size_t)PyBytes_Size(it->tail)) && output_fits(out);
}

static PyObject *form_write(PyObject *self, PyObject *value) {
    Form *it = (Form *)self;
    output out;
    if (!is_made(it)) return NULL;
    output_begin(&out, (size_t)it->most);
    PyObject *written = form_put(it, value, &out) ? output_bytes(&out) : NULL;
    output_drop(&out);
    if (written != NULL) return written;
    /* A lone surrogate, an attribute that is not set: the codec says why. */
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError) && !PyErr_ExceptionMatches(PyExc_AttributeError)) return NULL;
        PyErr_Clear();
    }
    return Py_NewRef(Py_None);
}

/* Returns the value of a message; NotImplemented where only the codec can tell. */
static PyObject *form_take(const Form *it, place at, size_t size) {
    input in = {at, at + size};
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

static PyObject *form_read(PyObject *self, PyObject *message) {
    Form *it = (Form *)self;
    if (!is_made(it)) return NULL;
    if (!PyBytes_CheckExact(message)) return Py_NewRef(Py_NotImplemented);
    return form_take(it, (place)PyBytes_AsString(message), (size_t)PyBytes_Size(message));
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

#endif
