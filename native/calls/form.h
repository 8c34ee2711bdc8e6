/* The form of a value as its declared type says, made once from tuples that Python gives:

    ("str",) ("int",) ("float",) ("bool",)
    ("optional", form)                       the value, or None
    ("list", form)  ("dict", form)           of any number; keys are text
    ("object", class, ((name, form), ...))   an instance of exactly that class, by its attributes; written only
    ("values", ((name, form), ...))          an object whose values are a tuple, all there and in this order

It borrows from those tuples, which whoever keeps the form keeps. */

#ifndef DAEMONRY_FORM_H
#define DAEMONRY_FORM_H

#include "holder.h"
#include "output.h"

enum kind { TEXT, INTEGER, FLOAT, BOOLEAN, OPTIONAL, LIST, MAPPING, OBJECT, VALUES };

/* Types within types; those that hold themselves are given no form. */
enum { MOST_FORMS_DEEP = 16 };

typedef struct form form;

typedef struct {
    PyObject *name;     /* as an attribute; borrowed */
    PyObject *member;   /* the descriptor of its slot; NULL where there is none */
    PyObject *head;     /* how its key is written: ,"name": with the comma, in UTF-8 */
    form *of;
} field;

struct form {
    enum kind kind;
    PyObject *class;    /* of an OBJECT; borrowed */
    form *of;           /* of what an OPTIONAL, a LIST or a MAPPING holds */
    field *fields;      /* of an OBJECT, or VALUES */
    Py_ssize_t count;
};

static void form_free(form *it) {
    if (it == NULL) return;
    form_free(it->of);
    for (Py_ssize_t i = 0; i < it->count; i++) {
        Py_XDECREF(it->fields[i].member);
        Py_XDECREF(it->fields[i].head);
        form_free(it->fields[i].of);
    }
    PyMem_Free(it->fields);
    PyMem_Free(it);
}

static form *form_of(PyObject *spec, int level);

static PyObject *key_head(PyObject *name) {
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(name, &size);
    if (text == NULL) return NULL;
    output out;
    output_begin(&out, 1 << 16);
    if (!output_byte(&out, ',') || !output_text(&out, text, (size_t)size)) {
        output_drop(&out);
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "no name of a field");
        return NULL;
    }
    PyObject *head = output_byte(&out, ':') && output_fits(&out) ? output_bytes(&out) : NULL;
    output_drop(&out);
    if (head == NULL && !PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "no name of a field");
    return head;
}

/* Returns the descriptor of a class's slot; NULL, without an error, for another attribute. */
static PyObject *slot_member(PyObject *class, PyObject *name) {
    PyObject *found = PyObject_GetAttr(class, name);
    if (found != NULL && Py_IS_TYPE(found, &PyMemberDescr_Type)) return found;
    Py_XDECREF(found);
    PyErr_Clear();
    return NULL;
}

static int form_fields(form *it, PyObject *fields, int level) {
    if (!PyTuple_Check(fields)) {
        PyErr_SetString(PyExc_TypeError, "the fields of a form are a tuple");
        return -1;
    }
    Py_ssize_t count = PyTuple_Size(fields);
    it->fields = PyMem_Calloc(count ? (size_t)count : 1, sizeof(field));
    if (it->fields == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *spec, *attribute, *name, *pair = PyTuple_GetItem(fields, i);
        if (!PyTuple_Check(pair)) {
            PyErr_SetString(PyExc_TypeError, "a field of a form is a tuple");
            return -1;
        }
        if (!PyArg_ParseTuple(pair, "UUO!", &attribute, &name, &PyTuple_Type, &spec)) return -1;
        field *one = it->fields + i;
        it->count = i + 1;
        one->name = attribute;
        one->head = key_head(name);
        if (one->head == NULL) return -1;
        one->of = form_of(spec, level + 1);
        if (one->of == NULL) return -1;
        if (it->kind == OBJECT) one->member = slot_member(it->class, attribute);
    }
    return 0;
}

static int form_fill(form *it, PyObject *spec, int level) {
    static const char *const plain[] = {"str", "int", "float", "bool"};
    static const char *const holding[] = {"optional", "list", "dict"};
    PyObject *first = NULL, *second = NULL;
    const char *kind;
    if (!PyArg_ParseTuple(spec, "s|OO", &kind, &first, &second)) return -1;
    for (int i = 0; i < 4; i++) {
        if (strcmp(kind, plain[i]) == 0) {
            it->kind = (enum kind)(TEXT + i);
            return 0;
        }
    }
    for (int i = 0; i < 3 && first != NULL; i++) {
        if (strcmp(kind, holding[i]) == 0) {
            it->kind = (enum kind)(OPTIONAL + i);
            it->of = form_of(first, level + 1);
            return it->of == NULL ? -1 : 0;
        }
    }
    if (strcmp(kind, "values") == 0 && first != NULL) {
        it->kind = VALUES;
        return form_fields(it, first, level);
    }
    if (strcmp(kind, "object") == 0 && second != NULL && PyType_Check(first)) {
        it->kind = OBJECT;
        it->class = first;
        return form_fields(it, second, level);
    }
    PyErr_Format(PyExc_ValueError, "no kind of form: %s", kind);
    return -1;
}

/* Returns the form that a tuple says; NULL with an error set. */
static form *form_of(PyObject *spec, int level) {
    if (level > MOST_FORMS_DEEP || !PyTuple_Check(spec)) {
        PyErr_SetString(PyExc_ValueError, "a form is a tuple, and not too many in each other");
        return NULL;
    }
    form *it = PyMem_Calloc(1, sizeof(form));
    if (it == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (form_fill(it, spec, level) < 0) {
        form_free(it);
        return NULL;
    }
    return it;
}

#endif
