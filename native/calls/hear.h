/* One turn of a server's readers: those that have something to read are called, one after the other. */

#ifndef DAEMONRY_HEAR_H
#define DAEMONRY_HEAR_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <sys/epoll.h>

/* Of those that have something, how many are heard in one turn; the others are in the next. */
enum { MOST_HEARD = 64 };

/* Gives an exception of one reader to `failed`, so that those behind it are heard; -1 where it goes on: it is no
Exception, or `failed` raised. */
static int reader_failed(PyObject *failed) {
    PyObject *kind, *error, *trace;
    if (!PyErr_ExceptionMatches(PyExc_Exception)) return -1;
    PyErr_Fetch(&kind, &error, &trace);
    PyErr_NormalizeException(&kind, &error, &trace);
    if (trace != NULL) PyException_SetTraceback(error, trace);
    PyObject *done = PyObject_CallFunctionObjArgs(failed, error, NULL);
    Py_XDECREF(kind);
    Py_XDECREF(error);
    Py_XDECREF(trace);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* hear(epoll, callbacks, failed): calls the callback of each descriptor that is ready now, if it still has one. */
static PyObject *hear(PyObject *module, PyObject *arguments) {
    struct epoll_event found[MOST_HEARD];
    PyObject *callbacks, *failed;
    int epoll;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "iO!O", &epoll, &PyDict_Type, &callbacks, &failed)) return NULL;
    int count = epoll_wait(epoll, found, MOST_HEARD, 0);
    if (count < 0 && errno != EINTR) return PyErr_SetFromErrno(PyExc_OSError);
    for (int i = 0; i < count; i++) {
        PyObject *fd = PyLong_FromLong(found[i].data.fd);
        PyObject *callback = fd == NULL ? NULL : PyDict_GetItemWithError(callbacks, fd);
        Py_XDECREF(fd);
        if (callback == NULL) {
            if (PyErr_Occurred()) return NULL;
            continue; /* one of those before has ended it */
        }
        Py_INCREF(callback);
        PyObject *done = PyObject_CallNoArgs(callback);
        Py_DECREF(callback);
        Py_XDECREF(done);
        if (done == NULL && reader_failed(failed) < 0) return NULL;
    }
    Py_RETURN_NONE;
}

#endif
