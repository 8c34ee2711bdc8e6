/* One call and the first bytes of its reply, with what Python's sockets do about signals and errors. */

#ifndef DAEMONRY_EXCHANGE_H
#define DAEMONRY_EXCHANGE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "output.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* What is read at once before there is an object for it.  Threads have stacks of 64 KiB at least. */
enum { FIRST_BYTES = 16 << 10 };

/* Sends bytes, or reads some, without Python's lock; as Python, again where a signal's handler ran and raised
nothing (PEP 475).  Returns -1 with errno, or -2 where the handler raised. */
static ssize_t sent_now(int fd, const char *bytes, size_t count) {
    for (;;) {
        ssize_t sent;
        int error;
        Py_BEGIN_ALLOW_THREADS
        sent = send(fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
        error = errno;
        Py_END_ALLOW_THREADS
        errno = error;
        if (sent >= 0 || error != EINTR) return sent;
        if (PyErr_CheckSignals() < 0) return -2;
    }
}

/* Sends a message from `from` on, and what is lent to it from where that is.  Returns as `sent_now`. */
static ssize_t output_sent(const output *out, size_t from, int fd) {
    if (out->lender == NULL) return sent_now(fd, out->bytes + from, out->used - from);
    struct iovec parts[] = {
        {out->bytes, out->lent_at}, {(void *)(uintptr_t)out->lent, out->lent_size},
        {out->bytes + out->lent_at, out->used - out->lent_at},
    };
    for (size_t i = 0; i < 3; i++) {
        size_t gone = from < parts[i].iov_len ? from : parts[i].iov_len;
        parts[i].iov_base = (char *)parts[i].iov_base + gone;
        parts[i].iov_len -= gone;
        from -= gone;
    }
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
    for (;;) {
        ssize_t sent;
        int error;
        Py_BEGIN_ALLOW_THREADS
        sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        error = errno;
        Py_END_ALLOW_THREADS
        errno = error;
        if (sent >= 0 || error != EINTR) return sent;
        if (PyErr_CheckSignals() < 0) return -2;
    }
}

static ssize_t read_some(int fd, char *bytes, size_t count, int flags) {
    for (;;) {
        ssize_t read;
        int error;
        Py_BEGIN_ALLOW_THREADS
        read = recv(fd, bytes, count, flags);
        error = errno;
        Py_END_ALLOW_THREADS
        errno = error;
        if (read >= 0 || error != EINTR) return read;
        if (PyErr_CheckSignals() < 0) return -2;
    }
}

/* Returns how many bytes have come and were not read. */
static size_t bytes_waiting(int fd) {
    int count = 0;
    return ioctl(fd, FIONREAD, &count) == 0 && count > 0 ? (size_t)count : 0;
}

/* Reads on until the last byte is a NUL, nothing is there, or `most` bytes are.  What fails here fails again for
who reads on. */
static PyObject *read_on(int fd, const char *first, size_t count, size_t most) {
    char *bytes = PyMem_Malloc(most);
    if (bytes == NULL) return PyErr_NoMemory();
    memcpy(bytes, first, count);
    ssize_t read = 0;
    while (count < most && bytes[count - 1] != '\0') {
        read = read_some(fd, bytes + count, most - count, MSG_DONTWAIT);
        if (read <= 0) break;
        count += (size_t)read;
    }
    PyObject *object = read == -2 ? NULL : PyBytes_FromStringAndSize(bytes, (Py_ssize_t)count);
    PyMem_Free(bytes);
    return object;
}

/* exchange(fd, frame, most) -> bytes | (sent, errno)

Sends a whole frame without waiting, and waits for the first bytes of what comes: up to `most`, b"" at the end.
Where a part was sent, or an error came: how much was sent (-1: nothing, by the error), and the error (0: none). */
static PyObject *exchange(PyObject *module, PyObject *arguments) {
    int fd;
    const char *frame;
    Py_ssize_t size, most;
    char first[FIRST_BYTES];
    (void)module;
    if (!PyArg_ParseTuple(arguments, "iy#n", &fd, &frame, &size, &most)) return NULL;
    if (most < FIRST_BYTES) {
        PyErr_SetString(PyExc_ValueError, "too few bytes to read");
        return NULL;
    }
    ssize_t sent = sent_now(fd, frame, (size_t)size);
    if (sent == -2) return NULL;
    if (sent < size) return Py_BuildValue("ni", (Py_ssize_t)sent, sent < 0 ? errno : 0);
    /* Between two calls Python would run the handlers of signals that came meanwhile. */
    if (PyErr_CheckSignals() < 0) return NULL;
    ssize_t read = read_some(fd, first, sizeof first, 0);
    if (read == -2) return NULL;
    if (read < 0) return Py_BuildValue("ni", (Py_ssize_t)sent, errno);
    if (read < (ssize_t)sizeof first || first[read - 1] == '\0') return PyBytes_FromStringAndSize(first, read);
    return read_on(fd, first, (size_t)read, (size_t)most);
}

#endif
