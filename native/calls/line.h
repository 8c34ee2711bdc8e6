/* A server's connection while its calls are answered at once: one call is read, answered and sent in one step.

    Line(fd, ready, most_looked_up, answer, most)   see `LineInPython`
        .speaks()       reads a call and answers it
        .activity       a number that changes whenever the client says something
        .here           whether the socket is still this object's; whoever takes it says so

A subclass has `goes_on(data, reply, sent)`: for the end (no data), a reply that is not bytes, one of which only a
part was sent (-1: nothing, since the client is gone), or one behind which the socket is another's. */

#ifndef DAEMONRY_LINE_H
#define DAEMONRY_LINE_H

#include "answer.h"
#include "exchange.h"

enum { LINE_READY, LINE_ANSWER, LINE_HOLDS };

typedef struct {
    Holder base;
    PyObject *all[LINE_HOLDS];
    Py_ssize_t activity, most, most_looked_up;
    int fd;
    char here;
} Line;

static int line_init(PyObject *self, PyObject *arguments, PyObject *keywords) {
    Line *it = (Line *)self;
    PyObject *given[LINE_HOLDS];
    int fd;
    Py_ssize_t most_looked_up, most;
    if (!holder_is_new(self, keywords)) return -1;
    if (!PyArg_ParseTuple(arguments, "iO!nOn", &fd, &PyDict_Type, given + LINE_READY, &most_looked_up,
                          given + LINE_ANSWER, &most)) return -1;
    if (most < FIRST_BYTES) {
        PyErr_SetString(PyExc_ValueError, "too few bytes to read");
        return -1;
    }
    it->fd = fd;
    it->most = most;
    it->most_looked_up = most_looked_up;
    it->activity = 0;
    it->here = 1;
    holder_hold(self, it->all, given, LINE_HOLDS);
    return 0;
}

/* Does not wait, and so keeps Python's lock: whoever takes it meanwhile would have it for 5 ms. */
static PyObject *line_read(const Line *it) {
    char first[FIRST_BYTES];
    ssize_t count = recv(it->fd, first, sizeof first, MSG_DONTWAIT);
    if (count < 0) {
        bool nothing = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
        return nothing ? Py_NewRef(Py_None) : PyBytes_FromStringAndSize(NULL, 0);
    }
    if (count < (ssize_t)sizeof first) return PyBytes_FromStringAndSize(first, count);
    size_t waiting = bytes_waiting(it->fd), room = (size_t)(it->most - count);
    Py_ssize_t size = count + (Py_ssize_t)(waiting < room ? waiting : room);
    PyObject *data = PyBytes_FromStringAndSize(NULL, size);
    if (data == NULL) return NULL;
    memcpy(PyBytes_AsString(data), first, sizeof first);
    /* What fails here fails again at the next read. */
    ssize_t more = size == count ? 0 : recv(it->fd, PyBytes_AsString(data) + count, (size_t)(size - count), MSG_DONTWAIT);
    count += more > 0 ? more : 0;
    if (count == size) return data;
    PyObject *shorter = PyBytes_FromStringAndSize(PyBytes_AsString(data), count);
    Py_DECREF(data);
    return shorter;
}

/* Returns what answers the bytes that were read. */
static PyObject *line_answer(const Line *it, PyObject *data) {
    PyObject *ready = NULL;
    if (PyBytes_Size(data) == 0) return Py_NewRef(Py_None);
    if (PyBytes_Size(data) <= it->most_looked_up) {
        ready = PyDict_GetItemWithError(it->all[LINE_READY], data);
        if (ready == NULL && PyErr_Occurred()) return NULL;
    }
    if (ready == NULL) return PyObject_CallFunctionObjArgs(it->all[LINE_ANSWER], data, NULL);
    Py_INCREF(ready);
    PyObject *reply = PyObject_CallNoArgs(ready);
    Py_DECREF(ready);
    return reply;
}

/* Returns how much of a reply was sent; -1 where the client is gone. */
static Py_ssize_t line_send(const Line *it, PyObject *reply) {
    ssize_t sent = send(it->fd, PyBytes_AsString(reply), (size_t)PyBytes_Size(reply), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return sent;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
}

static PyObject *line_speaks(PyObject *self, PyObject *unused) {
    Line *it = (Line *)self;
    (void)unused;
    if (!holder_is_made(self)) return NULL;
    if (!it->here) Py_RETURN_NONE;
    PyObject *data = line_read(it);
    if (data == NULL || data == Py_None) return data;
    it->activity++;
    PyObject *reply = line_answer(it, data);
    PyObject *done = NULL;
    if (reply != NULL) {
        Py_ssize_t sent = 0;
        /* A handler may have ended the connection, and its number be another's. */
        bool whole = PyBytes_CheckExact(reply) && it->here && (sent = line_send(it, reply)) == PyBytes_Size(reply);
        done = whole ? Py_NewRef(Py_None) : PyObject_CallMethod(self, "goes_on", "OOn", data, reply, sent);
    }
    Py_XDECREF(reply);
    Py_DECREF(data);
    return done;
}

static PyMemberDef line_members[] = {
    {"activity", T_PYSSIZET, offsetof(Line, activity), 0, "Changes whenever the client says something."},
    {"here", T_BOOL, offsetof(Line, here), 0, "Whether the socket is still this object's."},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef line_methods[] = {
    {"speaks", line_speaks, METH_NOARGS, "Read a call, and answer it."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot line_slots[] = {
    {Py_tp_init, line_init},
    {Py_tp_members, line_members},
    {Py_tp_methods, line_methods},
    {Py_tp_traverse, holder_traverse},
    {Py_tp_clear, holder_clear},
    {Py_tp_dealloc, holder_dealloc},
    {Py_tp_doc, "A server's connection while its calls are answered at once."},
    {0, NULL},
};

static PyType_Spec line_type = {
    .name = "daemonry_native.calls.Line",
    .basicsize = sizeof(Line),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = line_slots,
};

#endif
