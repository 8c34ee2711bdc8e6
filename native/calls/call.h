/* A blocking client's call of one method, from the proxy's arguments to its result, as `Client.call_typed` makes it.

    Call(way, write, read, goes_on, most)
        .make(proxy, arguments)     the result, or NotImplemented where nothing was done

`way` are the class of clients and its function `call_typed`, whose way this is; what is traced; and the
descriptors of `way_names`.  `write` is the Form of the arguments, or the one frame of a method that has none; `read` is
a Reply, or a function of the received bytes.  `most` is how long a reply may be.

A call that is begun here is ended here, or by `goes_on(client, link, arguments, frame, sent, received, errno,
timeout_s, elapsed_s, raised)`: where a part was sent, an error or a signal's exception came, or only the codec can
judge the reply.  A connection that is taken is given back by one of the two, whatever happens. */

#ifndef DAEMONRY_CALL_H
#define DAEMONRY_CALL_H

#include "exchange.h"
#include "reply.h"

#include <limits.h>
#include <poll.h>
#include <time.h>

enum {
    CALL_KIND, CALL_TYPED, CALL_TRACING,
    CALL_FREE, CALL_WAITING, CALL_CLOSED, CALL_STREAM, CALL_TALK, CALL_AT_REST, CALL_COUNTED, CALL_SOCK,
    CALL_WRITE, CALL_READ, CALL_GOES_ON,
    CALL_CLIENT_NAME, CALL_TIMEOUT_NAME, CALL_TYPED_NAME, CALL_SOURCE_NAME, CALL_FILENO_NAME, CALL_SETTLE_NAME,
    CALL_HOLDS
};
enum { WAY_HOLDS = CALL_WRITE };

static const char *const call_names[] = {
    "__daemonry_client__", "__daemonry_timeout_s__", "call_typed", "source", "fileno", "_settle",
};

typedef struct {
    Holder base;
    PyObject *all[CALL_HOLDS];
    Py_ssize_t most;
    char reads_natively, writes_natively;
} Call;

static int call_init(PyObject *self, PyObject *arguments, PyObject *keywords) {
    Call *it = (Call *)self;
    PyObject *given[CALL_HOLDS], *way;
    Py_ssize_t most;
    if (!holder_is_new(self, keywords)) return -1;
    if (!PyArg_ParseTuple(arguments, "O!OOOn", &PyTuple_Type, &way, given + CALL_WRITE, given + CALL_READ,
                          given + CALL_GOES_ON, &most)) return -1;
    if (PyTuple_Size(way) != WAY_HOLDS || most < FIRST_BYTES) {
        PyErr_SetString(PyExc_ValueError, "no way, or too few bytes to read");
        return -1;
    }
    for (Py_ssize_t i = 0; i < WAY_HOLDS; i++) {
        given[i] = PyTuple_GetItem(way, i);
        if (i >= CALL_FREE && !is_member(given[i])) return -1;
    }
    if (!PyType_Check(given[CALL_KIND])) {
        PyErr_SetString(PyExc_TypeError, "the class of clients is none");
        return -1;
    }
    it->writes_natively = !PyBytes_CheckExact(given[CALL_WRITE]);
    if (it->writes_natively
        && !(is_kind_here(self, given[CALL_WRITE], "Form") && is_made((Form *)given[CALL_WRITE]))) return -1;
    it->reads_natively = is_kind_here(self, given[CALL_READ], "Reply");
    PyErr_Clear();
    if (it->reads_natively && !holder_is_made(given[CALL_READ])) return -1;
    it->most = most;
    Py_ssize_t made = CALL_CLIENT_NAME;
    for (; made < CALL_HOLDS; made++) {
        given[made] = PyUnicode_InternFromString(call_names[made - CALL_CLIENT_NAME]);
        if (given[made] == NULL) break;
    }
    if (made == CALL_HOLDS) holder_hold(self, it->all, given, CALL_HOLDS);
    while (made-- > CALL_CLIENT_NAME) Py_DECREF(given[made]);
    return it->base.count ? 0 : -1;
}

/* --- a call's connection ---------------------------------------------------------------------- */

/* A call that is begun.  All are owned. */
typedef struct {
    PyObject *client, *timeout, *free, *link, *stream, *talk;
    int fd;
    struct timespec began;
} begun;

static void begun_drop(begun *call) {
    Py_XDECREF(call->client);
    Py_XDECREF(call->timeout);
    Py_XDECREF(call->free);
    Py_XDECREF(call->link);
    Py_XDECREF(call->stream);
    Py_XDECREF(call->talk);
}

static double elapsed_s(const begun *call) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - call->began.tv_sec) + (double)(now.tv_nsec - call->began.tv_nsec) * 1e-9;
}

/* Whether a value, which is owned, is that object; false for NULL. */
static bool was(PyObject *value, PyObject *object) {
    Py_XDECREF(value);
    return value != NULL && value == object;
}

static bool is_number(PyObject *value) { return PyFloat_CheckExact(value) || PyLong_CheckExact(value); }

/* Whether the proxy's client is one of exactly that class, and calls as that class did, and nothing is traced. */
static bool call_is_usual(const Call *it, PyObject *proxy, begun *call) {
    if (!was(PyObject_GetAttr(it->all[CALL_TRACING], it->all[CALL_SOURCE_NAME]), Py_None)) return false;
    call->client = PyObject_GetAttr(proxy, it->all[CALL_CLIENT_NAME]);
    if (call->client == NULL || Py_TYPE(call->client) != (PyTypeObject *)it->all[CALL_KIND]) return false;
    if (!was(PyObject_GetAttr(it->all[CALL_KIND], it->all[CALL_TYPED_NAME]), it->all[CALL_TYPED])) return false;
    call->timeout = PyObject_GetAttr(proxy, it->all[CALL_TIMEOUT_NAME]);
    return call->timeout != NULL && is_number(call->timeout);
}

/* Whether the socket has the call's timeout already. */
static bool call_is_timed(const Call *it, const begun *call) {
    PyObject *counted = member_of(it->all[CALL_COUNTED], call->stream);
    bool is_timed = counted != NULL && is_number(counted) && PyObject_RichCompareBool(counted, call->timeout, Py_EQ) == 1;
    Py_XDECREF(counted);
    return is_timed;
}

/* Finds the connection that the client would take. */
static bool call_finds(const Call *it, begun *call) {
    call->free = member_of(it->all[CALL_FREE], call->client);
    if (call->free == NULL || !PyList_CheckExact(call->free) || PyList_Size(call->free) == 0) return false;
    call->link = Py_NewRef(PyList_GetItem(call->free, PyList_Size(call->free) - 1));
    call->stream = member_of(it->all[CALL_STREAM], call->link);
    if (call->stream == NULL || !call_is_timed(it, call)) return false;
    call->talk = member_of(it->all[CALL_TALK], call->link);
    if (call->talk == NULL || !was(member_of(it->all[CALL_AT_REST], call->talk), Py_True)) return false;
    PyObject *sock = member_of(it->all[CALL_SOCK], call->stream);
    PyObject *fd = sock == NULL ? NULL : PyObject_CallMethodObjArgs(sock, it->all[CALL_FILENO_NAME], NULL);
    Py_XDECREF(sock);
    long number = fd == NULL ? -1 : PyLong_AsLong(fd);
    call->fd = number > INT_MAX ? -1 : (int)number;
    Py_XDECREF(fd);
    return call->fd >= 0;
}

/* Takes it, unless it is another's since it was found: `fileno` may be anybody's function. */
static bool call_takes(const Call *it, begun *call) {
    Py_ssize_t count = PyList_Size(call->free);
    if (count == 0 || PyList_GetItem(call->free, count - 1) != call->link) return false;
    if (PyList_SetSlice(call->free, count - 1, count, NULL) < 0) return false;
    /* Until the reply is here, whatever happens between. */
    if (member_set(it->all[CALL_AT_REST], call->talk, Py_False) == 0) return true;
    PyErr_Clear();
    PyList_Append(call->free, call->link);
    return false;
}

/* --- its reply -------------------------------------------------------------------------------- */

/* What was received, in memory of its own where it is more than FIRST_BYTES. */
typedef struct {
    char *bytes;
    size_t count;
    char first[FIRST_BYTES];
} received;

/* `framer.LONG_BYTES`, and what is told to malloc then. */
enum { LONG_BYTES = 128 << 10, KEPT_BYTES = 4 << 20 };

/* Below this the socket may keep its timeout: `engine.time_left_s`. */
static const double AT_ONCE_S = 0.005;

/* Says once to malloc that long messages come and go: `framer.keep_pages`. */
static void keep_pages(void) {
    static bool kept;
    if (kept) return;
    kept = true;
    PyMem_Free(PyMem_Calloc(1, KEPT_BYTES));
}

/* Has room for what has come, and no less than twice the room; false for none, or too much. */
static bool received_grow(received *in, size_t *room, size_t most, size_t waiting) {
    if (*room >= most) return false;
    size_t more = *room + (waiting > *room ? waiting : *room);
    if (more > most) more = most;
    if (more >= LONG_BYTES) keep_pages();
    char *bytes = PyMem_Realloc(in->bytes == in->first ? NULL : in->bytes, more);
    if (bytes == NULL) return false;
    if (in->bytes == in->first) memcpy(bytes, in->first, in->count);
    in->bytes = bytes;
    *room = more;
    return true;
}

/* Waits for an event within the call's time.  Returns 1 for it, 0 for the end of the time, -2 where a signal's
handler raised; what fails here fails again at the next read or send. */
static int call_waits(const begun *call, short event) {
    for (;;) {
        double left_ms = (PyFloat_AsDouble(call->timeout) - elapsed_s(call)) * 1000;
        if (!(left_ms > 0)) return 0;
        struct pollfd one = {.fd = call->fd, .events = event};
        int count, error;
        Py_BEGIN_ALLOW_THREADS
        count = poll(&one, 1, left_ms < INT_MAX - 1 ? (int)left_ms + 1 : INT_MAX);
        error = errno;
        Py_END_ALLOW_THREADS
        if (count > 0 || (count < 0 && error != EINTR)) return 1;
        if (PyErr_CheckSignals() < 0) return -2;
    }
}

/* Sends the rest of a long call as there is room, and returns how much of all was sent: less than all where its time
is over, the sending failed, or a signal's handler raised. */
static ssize_t call_sends_rest(const begun *call, const output *out, ssize_t sent) {
    while (sent < (ssize_t)output_size(out) && call_waits(call, POLLOUT) == 1) {
        ssize_t more = output_sent(out, (size_t)sent, call->fd);
        if (more == -2 || (more < 0 && errno != EAGAIN && errno != EWOULDBLOCK)) break; /* who goes on meets it again */
        sent += more > 0 ? more : 0;
    }
    return sent;
}

/* Reads until the last byte is a NUL, the other end sends no more, so much is there, or its time is over.  Returns 0,
an errno, or -2 where a signal's handler raised. */
static int call_reads(const Call *it, const begun *call, received *in, int flags) {
    size_t room = sizeof in->first;
    for (;;) {
        ssize_t read = read_some(call->fd, in->bytes + in->count, room - in->count, flags);
        if (read == -2) return -2;
        if (read < 0 && flags && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (elapsed_s(call) < AT_ONCE_S) {
                flags = 0;
                continue;
            }
            int waited = call_waits(call, POLLIN);
            if (waited == -2) return -2;
            if (waited == 0) return 0;
            continue;
        }
        if (read < 0) return errno;
        in->count += (size_t)read;
        if (read == 0 || in->bytes[in->count - 1] == '\0') return 0;
        if (in->count == room && !received_grow(in, &room, (size_t)it->most, bytes_waiting(call->fd))) return 0;
        flags = MSG_DONTWAIT;
    }
}

static PyObject *call_result(const Call *it, const received *in) {
    if (it->reads_natively) return reply_take((const Reply *)it->all[CALL_READ], (place)in->bytes, in->count);
    PyObject *bytes = PyBytes_FromStringAndSize(in->bytes, (Py_ssize_t)in->count);
    if (bytes == NULL) return NULL;
    PyObject *result = PyObject_CallFunctionObjArgs(it->all[CALL_READ], bytes, NULL);
    Py_DECREF(bytes);
    return result;
}

/* --- its ends --------------------------------------------------------------------------------- */

/* Has Python go on, which gives the connection back; with the exception that is set, if one is.  `in` is NULL where
nothing came. */
static PyObject *call_goes_on(const Call *it, const begun *call, PyObject *arguments, const output *out, Py_ssize_t sent,
                              const received *in, int number) {
    PyObject *kind, *raised, *trace;
    PyErr_Fetch(&kind, &raised, &trace);
    if (kind != NULL) PyErr_NormalizeException(&kind, &raised, &trace);
    if (trace != NULL) PyException_SetTraceback(raised, trace);
    Py_XDECREF(kind);
    Py_XDECREF(trace);
    PyObject *frame = it->writes_natively ? output_bytes(out) : Py_NewRef(it->all[CALL_WRITE]);
    PyObject *came = in == NULL ? Py_NewRef(Py_None) : PyBytes_FromStringAndSize(in->bytes, (Py_ssize_t)in->count);
    if (frame == NULL || came == NULL) { /* no memory: at least the connection is given back, as one in use */
        PyErr_Clear();
        Py_XDECREF(frame);
        Py_XDECREF(came);
        if (raised == NULL) raised = PyObject_CallNoArgs(PyExc_MemoryError);
        frame = Py_NewRef(Py_None);
        came = Py_NewRef(Py_None);
    }
    PyObject *result = PyObject_CallFunction(it->all[CALL_GOES_ON], "OOOOnOiOdO", call->client, call->link, arguments,
                                             frame, sent, came, number, call->timeout, elapsed_s(call),
                                             raised == NULL ? Py_None : raised);
    Py_DECREF(frame);
    Py_DECREF(came);
    Py_XDECREF(raised);
    return result;
}

/* Gives the connection back behind a call that came to its end. */
static int call_gives_back(const Call *it, const begun *call) {
    PyObject *free = member_of(it->all[CALL_FREE], call->client);
    int failed = free == NULL ? -1 : PyList_Append(free, call->link);
    Py_XDECREF(free);
    if (failed) return -1;
    PyObject *waiting = member_of(it->all[CALL_WAITING], call->client);
    bool nobody = waiting != NULL && PyList_CheckExact(waiting) && PyList_Size(waiting) == 0;
    Py_XDECREF(waiting);
    if (nobody && was(member_of(it->all[CALL_CLOSED], call->client), Py_False)) return 0;
    PyErr_Clear();
    PyObject *settled = PyObject_CallMethodObjArgs(call->client, it->all[CALL_SETTLE_NAME], NULL);
    Py_XDECREF(settled);
    return settled == NULL ? -1 : 0;
}

/* --- all of it -------------------------------------------------------------------------------- */

static PyObject *call_exchange(const Call *it, const begun *call, PyObject *arguments, const output *out) {
    received in = {.bytes = in.first};
    const char *frame = PyBytes_CheckExact(it->all[CALL_WRITE]) ? PyBytes_AsString(it->all[CALL_WRITE]) : NULL;
    ssize_t size = frame == NULL ? (ssize_t)output_size(out) : (ssize_t)PyBytes_Size(it->all[CALL_WRITE]);
    ssize_t sent = frame == NULL ? output_sent(out, 0, call->fd) : sent_now(call->fd, frame, (size_t)size);
    const bool is_long = frame == NULL && sent > 0 && sent < size;
    if (is_long) sent = call_sends_rest(call, out, sent);
    if (sent < size) return call_goes_on(it, call, arguments, out, sent == -2 ? -1 : sent, NULL, sent == -1 ? errno : 0);
    /* Between two calls Python would run the handlers of signals that came meanwhile. */
    if (PyErr_CheckSignals() < 0) return call_goes_on(it, call, arguments, out, sent, NULL, 0);
    int number = call_reads(it, call, &in, is_long ? MSG_DONTWAIT : 0);
    PyObject *result = number ? NULL : call_result(it, &in);
    if (result == Py_NotImplemented) Py_CLEAR(result);
    else if (result != NULL && member_set(it->all[CALL_AT_REST], call->talk, Py_True) < 0) Py_CLEAR(result);
    if (result == NULL) result = call_goes_on(it, call, arguments, out, sent, in.count ? &in : NULL, number);
    else if (call_gives_back(it, call) < 0) Py_CLEAR(result);
    if (in.bytes != in.first) PyMem_Free(in.bytes);
    return result;
}

/* Types may call while they are made, within a reply that is read; each of these has its bytes on the stack. */
enum { MOST_NESTED = 8 };
static _Thread_local int nested;

static PyObject *call_make(PyObject *self, PyObject *const *given, Py_ssize_t count) {
    Call *it = (Call *)self;
    if (count != 2 || !PyTuple_CheckExact(given[1])) {
        PyErr_SetString(PyExc_TypeError, "make(proxy, arguments)");
        return NULL;
    }
    if (!holder_is_made(self)) return NULL;
    begun call = {0};
    output out;
    output_begin(&out, it->writes_natively ? (size_t)((Form *)it->all[CALL_WRITE])->most : 0);
    PyObject *result = NULL;
    if (nested < MOST_NESTED && call_is_usual(it, given[0], &call)
        && (!it->writes_natively || form_put((Form *)it->all[CALL_WRITE], given[1], &out))
        && call_finds(it, &call) && call_takes(it, &call)) {
        clock_gettime(CLOCK_MONOTONIC, &call.began);
        Py_INCREF(self); /* whoever is called meanwhile may drop it */
        nested++;
        result = call_exchange(it, &call, given[1], &out);
        nested--;
        Py_DECREF(self);
    } else if (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Clear(); /* nothing was done: Python says what is wrong */
        result = Py_NewRef(Py_NotImplemented);
    }
    output_drop(&out);
    begun_drop(&call);
    return result;
}

static PyMethodDef call_methods[] = {
    {"make", (PyCFunction)(void (*)(void))call_make, METH_FASTCALL,
     "Return the result of a call by a proxy; NotImplemented where nothing was done."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot call_slots[] = {
    {Py_tp_init, call_init},
    {Py_tp_methods, call_methods},
    {Py_tp_traverse, holder_traverse},
    {Py_tp_clear, holder_clear},
    {Py_tp_dealloc, holder_dealloc},
    {Py_tp_doc, "A blocking client's call of one method, from the proxy's arguments to its result."},
    {0, NULL},
};

static PyType_Spec call_type = {
    .name = "daemonry_native.calls.Call",
    .basicsize = sizeof(Call),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = call_slots,
};

#endif
