/* The replies to calls of one method, read into its type.

    Reply(form, decode, doubts, whole, field)
        .read(received)     the result, or NotImplemented where only the codec can tell

`form` reads a value of plain types by itself; None for others.  `decode` is msgspec's, for messages that the scan
finds within the rules: what it raises of `doubts` says that only the codec can tell.  `whole` is the descriptor of
what it returns that gets its parameters, and `field` that of their one field; None for none. */

#ifndef DAEMONRY_REPLY_H
#define DAEMONRY_REPLY_H

#include "holder.h"
#include "message.h"

enum { REPLY_FORM, REPLY_DECODE, REPLY_DOUBTS, REPLY_WHOLE, REPLY_FIELD, REPLY_HOLDS };

typedef struct {
    Holder base;
    PyObject *all[REPLY_HOLDS];
} Reply;

static int reply_init(PyObject *self, PyObject *arguments, PyObject *keywords) {
    Reply *it = (Reply *)self;
    PyObject *given[REPLY_HOLDS];
    if (!holder_is_new(self, keywords)) return -1;
    if (!PyArg_ParseTuple(arguments, "OOO!OO", given + REPLY_FORM, given + REPLY_DECODE, &PyTuple_Type,
                          given + REPLY_DOUBTS, given + REPLY_WHOLE, given + REPLY_FIELD)) return -1;
    if (given[REPLY_FORM] != Py_None
        && !(is_kind_here(self, given[REPLY_FORM], "Form") && is_made((Form *)given[REPLY_FORM]))) return -1;
    if (!is_member(given[REPLY_WHOLE]) || (given[REPLY_FIELD] != Py_None && !is_member(given[REPLY_FIELD]))) return -1;
    holder_hold(self, it->all, given, REPLY_HOLDS);
    return 0;
}

/* Returns what msgspec makes of a message that is within the rules; NotImplemented where only the codec can tell. */
static PyObject *reply_decode(const Reply *it, place at, size_t size) {
    if (size < 2 || at[size - 1] != '\0' || !scan(at, at + size - 1)) return Py_NewRef(Py_NotImplemented);
    PyObject *frame = PyBytes_FromStringAndSize((const char *)at, (Py_ssize_t)size - 1);
    if (frame == NULL) return NULL;
    PyObject *whole = PyObject_CallFunctionObjArgs(it->all[REPLY_DECODE], frame, NULL);
    Py_DECREF(frame);
    if (whole == NULL) {
        if (!PyErr_ExceptionMatches(it->all[REPLY_DOUBTS])) return NULL;
        PyErr_Clear();
        return Py_NewRef(Py_NotImplemented);
    }
    PyObject *value = member_of(it->all[REPLY_WHOLE], whole);
    Py_DECREF(whole);
    if (value == NULL || it->all[REPLY_FIELD] == Py_None) return value;
    PyObject *inner = member_of(it->all[REPLY_FIELD], value);
    Py_DECREF(value);
    return inner;
}

static PyObject *reply_take(const Reply *it, place at, size_t size) {
    if (it->base.count == 0) return Py_NewRef(Py_NotImplemented); /* it was ended, in a cycle */
    if (it->all[REPLY_FORM] != Py_None) {
        PyObject *value = form_take((const Form *)it->all[REPLY_FORM], at, size);
        if (value != Py_NotImplemented) return value;
        Py_DECREF(value);
    }
    return reply_decode(it, at, size);
}

static PyObject *reply_read(PyObject *self, PyObject *received) {
    if (!holder_is_made(self)) return NULL;
    if (!PyBytes_CheckExact(received)) return Py_NewRef(Py_NotImplemented);
    return reply_take((const Reply *)self, (place)PyBytes_AsString(received), (size_t)PyBytes_Size(received));
}

static PyMethodDef reply_methods[] = {
    {"read", reply_read, METH_O, "Return the result of a reply; NotImplemented where only the codec can tell."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot reply_slots[] = {
    {Py_tp_init, reply_init},
    {Py_tp_methods, reply_methods},
    {Py_tp_traverse, holder_traverse},
    {Py_tp_clear, holder_clear},
    {Py_tp_dealloc, holder_dealloc},
    {Py_tp_doc, "The replies to calls of one method, read into its type."},
    {0, NULL},
};

static PyType_Spec reply_type = {
    .name = "daemonry_native.calls.Reply",
    .basicsize = sizeof(Reply),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = reply_slots,
};

#endif
