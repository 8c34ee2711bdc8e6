/* The server's side of a call that is answered at once, as `service.server.dispatch` prepares it.

    Ready(slow, gate, watchers, function, write, judge, failed, most_bytes)
                            answers calls of one method; `begun` counts them
    Table(ready, heads, parameters_head, most_looked_up, slow)
        .answer(message)    finds the method of a call, reads its arguments, and answers it

What is unusual is `slow`'s before anything ran, and `judge`'s or `failed`'s behind the handler. */

#ifndef DAEMONRY_ANSWER_H
#define DAEMONRY_ANSWER_H

#include "holder.h"

#include <structmember.h>

/* --- one method ----------------------------------------------------------------------------- */

enum { READY_SLOW, READY_GATE, READY_WATCHERS, READY_FUNCTION, READY_WRITE, READY_JUDGE, READY_FAILED, READY_HOLDS };

typedef struct {
    Holder base;
    PyObject *all[READY_HOLDS];
    Py_ssize_t most_bytes, begun;
} Ready;

static int ready_init(PyObject *self, PyObject *arguments, PyObject *keywords) {
    Ready *it = (Ready *)self;
    PyObject *given[READY_HOLDS];
    Py_ssize_t most;
    if (!holder_is_new(self, keywords)) return -1;
    if (!PyArg_ParseTuple(arguments, "OOO!OOOOn", given + READY_SLOW, given + READY_GATE, &PySet_Type,
                          given + READY_WATCHERS, given + READY_FUNCTION, given + READY_WRITE,
                          given + READY_JUDGE, given + READY_FAILED, &most)) return -1;
    it->most_bytes = most;
    it->begun = 0;
    holder_hold(self, it->all, given, READY_HOLDS);
    return 0;
}

/* Returns what a handler's exception, which is set, comes to. */
static PyObject *ready_failed(Ready *it) {
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    PyErr_NormalizeException(&kind, &error, &trace);
    if (trace != NULL) PyException_SetTraceback(error, trace);
    PyObject *ran = PyObject_CallFunctionObjArgs(it->all[READY_FAILED], error, NULL);
    Py_XDECREF(kind);
    Py_XDECREF(error);
    Py_XDECREF(trace);
    return ran;
}

/* Whether work is taken now; -1 with an error set. */
static int ready_is_open(Ready *it) {
    if (PySet_Size(it->all[READY_WATCHERS]) != 0) return 0;
    if (it->all[READY_GATE] == Py_None) return 1;
    PyObject *closed = PyObject_CallNoArgs(it->all[READY_GATE]);
    if (closed == NULL) return -1;
    int is_open = closed == Py_None;
    Py_DECREF(closed);
    if (is_open) it->begun++;
    return is_open;
}

/* ready() or ready(fields) -> the reply, or what `slow` would return */
static PyObject *ready_call(PyObject *self, PyObject *arguments, PyObject *keywords) {
    Ready *it = (Ready *)self;
    Py_ssize_t count = PyTuple_Size(arguments);
    if (!holder_is_made(self)) return NULL;
    PyObject *fields = count ? PyTuple_GetItem(arguments, 0) : NULL;
    if (count > 1 || keywords != NULL || (count && !PyTuple_CheckExact(fields)))
        return PyObject_Call(it->all[READY_SLOW], arguments, keywords);
    int is_open = ready_is_open(it);
    if (is_open < 0) return NULL;
    if (!is_open) return PyObject_Call(it->all[READY_SLOW], arguments, NULL);
    PyObject *function = it->all[READY_FUNCTION];
    PyObject *result = count ? PyObject_Call(function, fields, NULL) : PyObject_CallNoArgs(function);
    if (result == NULL) return ready_failed(it);
    PyObject *reply = it->all[READY_WRITE] == Py_None
        ? Py_NewRef(Py_None) : PyObject_CallFunctionObjArgs(it->all[READY_WRITE], result, NULL);
    if (reply == NULL || !PyBytes_CheckExact(reply) || PyBytes_Size(reply) > it->most_bytes) {
        PyErr_Clear();
        Py_XDECREF(reply);
        reply = PyObject_CallFunctionObjArgs(it->all[READY_JUDGE], result, NULL);
    }
    Py_DECREF(result);
    return reply;
}

static PyMemberDef ready_members[] = {
    {"begun", T_PYSSIZET, offsetof(Ready, begun), READONLY, "How many calls went through the gate."},
    {"most_bytes", T_PYSSIZET, offsetof(Ready, most_bytes), 0, "How long a reply may be."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot ready_slots[] = {
    {Py_tp_init, ready_init},
    {Py_tp_call, ready_call},
    {Py_tp_members, ready_members},
    {Py_tp_traverse, holder_traverse},
    {Py_tp_clear, holder_clear},
    {Py_tp_dealloc, holder_dealloc},
    {Py_tp_doc, "Answers calls of one method that is done as its function returns."},
    {0, NULL},
};

static PyType_Spec ready_type = {
    .name = "daemonry_native.calls.Ready",
    .basicsize = sizeof(Ready),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = ready_slots,
};

/* --- all methods ---------------------------------------------------------------------------- */

enum { TABLE_READY, TABLE_HEADS, TABLE_MARK, TABLE_SLOW, TABLE_HOLDS };

typedef struct {
    Holder base;
    PyObject *all[TABLE_HOLDS];
    Py_ssize_t most_looked_up;
} Table;

static int table_init(PyObject *self, PyObject *arguments, PyObject *keywords) {
    Table *it = (Table *)self;
    PyObject *given[TABLE_HOLDS];
    Py_ssize_t most;
    if (!holder_is_new(self, keywords)) return -1;
    if (!PyArg_ParseTuple(arguments, "O!O!SnO", &PyDict_Type, given + TABLE_READY, &PyDict_Type,
                          given + TABLE_HEADS, given + TABLE_MARK, &most, given + TABLE_SLOW)) return -1;
    it->most_looked_up = most;
    holder_hold(self, it->all, given, TABLE_HOLDS);
    return 0;
}

/* Returns the (read, answer) for how a message begins, borrowed; NULL for none, or with an error set. */
static PyObject *table_found(Table *it, const char *bytes, size_t size) {
    PyObject *mark = it->all[TABLE_MARK];
    size_t length = (size_t)PyBytes_Size(mark);
    const char *at = memmem(bytes, size, PyBytes_AsString(mark), length);
    if (at == NULL) return NULL;
    PyObject *head = PyBytes_FromStringAndSize(bytes, at - bytes + (Py_ssize_t)length);
    if (head == NULL) return NULL;
    PyObject *found = PyDict_GetItemWithError(it->all[TABLE_HEADS], head);
    Py_DECREF(head);
    return found != NULL && PyTuple_CheckExact(found) && PyTuple_Size(found) == 2 ? found : NULL;
}

/* Returns the reply to a call with arguments; NULL without an error where only Python can tell. */
static PyObject *table_read(Table *it, PyObject *message) {
    PyObject *found = table_found(it, PyBytes_AsString(message), (size_t)PyBytes_Size(message));
    if (found == NULL) return NULL;
    Py_INCREF(found);
    PyObject *reply = NULL, *fields = PyObject_CallFunctionObjArgs(PyTuple_GetItem(found, 0), message, NULL);
    if (fields != NULL && PyTuple_CheckExact(fields))
        reply = PyObject_CallFunctionObjArgs(PyTuple_GetItem(found, 1), fields, NULL);
    else PyErr_Clear();
    Py_XDECREF(fields);
    Py_DECREF(found);
    return reply;
}

/* answer(message) -> the reply; what `slow` returns for a message that is not a known call as this library writes it */
static PyObject *table_answer(PyObject *self, PyObject *message) {
    Table *it = (Table *)self;
    if (!holder_is_made(self)) return NULL;
    if (PyBytes_CheckExact(message)) {
        if (PyBytes_Size(message) <= it->most_looked_up) {
            PyObject *ready = PyDict_GetItemWithError(it->all[TABLE_READY], message);
            if (ready != NULL) {
                Py_INCREF(ready);
                PyObject *reply = PyObject_CallNoArgs(ready);
                Py_DECREF(ready);
                return reply;
            }
            if (PyErr_Occurred()) return NULL;
        }
        PyObject *reply = table_read(it, message);
        if (reply != NULL || PyErr_Occurred()) return reply;
    }
    return PyObject_CallFunctionObjArgs(it->all[TABLE_SLOW], message, NULL);
}

static PyMethodDef table_methods[] = {
    {"answer", table_answer, METH_O, "Return the reply to a call; what `slow` returns where only that can tell."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot table_slots[] = {
    {Py_tp_init, table_init},
    {Py_tp_methods, table_methods},
    {Py_tp_traverse, holder_traverse},
    {Py_tp_clear, holder_clear},
    {Py_tp_dealloc, holder_dealloc},
    {Py_tp_doc, "The methods of a server that answer at once, by how a call of them begins."},
    {0, NULL},
};

static PyType_Spec table_type = {
    .name = "daemonry_native.calls.Table",
    .basicsize = sizeof(Table),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = table_slots,
};

#endif
