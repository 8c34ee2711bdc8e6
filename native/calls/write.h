/* Values of a form as the JSON that the codec writes for them.

False says that only the codec can tell: a value of another type, an integer that is not sent, a float that is
written with an exponent, a text with a NUL or a lone surrogate.  An error may be set then, which the caller
clears unless it is about memory. */

#ifndef DAEMONRY_WRITE_H
#define DAEMONRY_WRITE_H

#include "form.h"

static bool write_value(const form *of, PyObject *value, output *out);

static inline bool write_text(PyObject *value, output *out) {
    Py_ssize_t size;
    if (!PyUnicode_CheckExact(value)) return false;
    const char *text = PyUnicode_AsUTF8AndSize(value, &size);
    if (text == NULL) return false;
    if (output_lend(out, value, text, (size_t)size)) return output_byte(out, '"');
    return output_text(out, text, (size_t)size);
}

static inline bool write_integer(PyObject *value, output *out) {
    int overflow;
    if (!PyLong_CheckExact(value)) return false;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    return !overflow && number != LLONG_MIN && output_integer(out, number);
}

static bool write_float(PyObject *value, output *out) {
    if (!PyFloat_CheckExact(value)) return false;
    double number = PyFloat_AsDouble(value), size = number < 0 ? -number : number;
    if (!((size >= 1e-4 && size < 1e16) || number == 0.0)) return false;
    char *digits = PyOS_double_to_string(number, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    bool written = digits != NULL && output_add(out, digits, strlen(digits));
    PyMem_Free(digits);
    return written;
}

/* Writes a list of integers; no code of Python's runs meanwhile. */
static bool write_integers(PyObject *list, output *out) {
    const Py_ssize_t count = PyList_Size(list);
    for (Py_ssize_t i = 0; i < count; i++) {
        if ((i && !output_byte(out, ',')) || !write_integer(PyList_GetItem(list, i), out)) return false;
    }
    return output_byte(out, ']');
}

static bool write_list(const form *of, PyObject *value, output *out) {
    if (!PyList_CheckExact(value) || !output_byte(out, '[')) return false;
    if (of->of->kind == INTEGER) return write_integers(value, out);
    /* Its length is asked each time: nothing that runs here changes it, and nothing here depends on that. */
    for (Py_ssize_t i = 0; i < PyList_Size(value); i++) {
        if (i && !output_byte(out, ',')) return false;
        PyObject *item = PyList_GetItem(value, i);
        Py_INCREF(item);
        bool written = write_value(of->of, item, out);
        Py_DECREF(item);
        if (!written) return false;
    }
    return output_byte(out, ']');
}

static bool write_mapping(const form *of, PyObject *value, output *out) {
    PyObject *name, *item;
    Py_ssize_t position = 0;
    bool written = true, first = true;
    if (!PyDict_CheckExact(value) || !output_byte(out, '{')) return false;
    Py_ssize_t count = PyDict_Size(value);
    while (written && PyDict_Next(value, &position, &name, &item)) {
        Py_INCREF(name);
        Py_INCREF(item);
        written = (first || output_byte(out, ',')) && write_text(name, out) && output_byte(out, ':')
            && write_value(of->of, item, out) && PyDict_Size(value) == count;
        first = false;
        Py_DECREF(name);
        Py_DECREF(item);
    }
    return written && output_byte(out, '}');
}

static bool write_head(const field *one, Py_ssize_t number, output *out) {
    const char *head = PyBytes_AsString(one->head);
    size_t size = (size_t)PyBytes_Size(one->head);
    return number ? output_add(out, head, size) : output_byte(out, '{') && output_add(out, head + 1, size - 1);
}

static bool write_object(const form *of, PyObject *value, output *out) {
    if (Py_TYPE(value) != (PyTypeObject *)of->class) return false;
    for (Py_ssize_t i = 0; i < of->count; i++) {
        const field *one = of->fields + i;
        PyObject *item = one->member != NULL ? member_of(one->member, value) : PyObject_GetAttr(value, one->name);
        bool written = item != NULL && write_head(one, i, out) && write_value(one->of, item, out);
        Py_XDECREF(item);
        if (!written) return false;
    }
    return of->count ? output_byte(out, '}') : output_add(out, "{}", 2);
}

static bool write_values(const form *of, PyObject *value, output *out) {
    if (!PyTuple_CheckExact(value) || PyTuple_Size(value) != of->count) return false;
    for (Py_ssize_t i = 0; i < of->count; i++) {
        const field *one = of->fields + i;
        if (!write_head(one, i, out) || !write_value(one->of, PyTuple_GetItem(value, i), out)) return false;
    }
    return of->count ? output_byte(out, '}') : output_add(out, "{}", 2);
}

static bool write_value(const form *of, PyObject *value, output *out) {
    switch (of->kind) {
        case TEXT: return write_text(value, out);
        case INTEGER: return write_integer(value, out);
        case FLOAT: return write_float(value, out);
        case BOOLEAN:
            if (value == Py_True) return output_add(out, "true", 4);
            return value == Py_False && output_add(out, "false", 5);
        case OPTIONAL:
            return value == Py_None ? output_add(out, "null", 4) : write_value(of->of, value, out);
        case LIST: return write_list(of, value, out);
        case MAPPING: return write_mapping(of, value, out);
        case OBJECT: return write_object(of, value, out);
        case VALUES: return write_values(of, value, out);
    }
    return false;
}

#endif
