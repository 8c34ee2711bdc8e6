/* Objects of this module that hold others from first to last, and what they ask of those. */

#ifndef DAEMONRY_HOLDER_H
#define DAEMONRY_HOLDER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <string.h>

/* What begins an object that holds others from first to last: one way to visit and to end them. */
typedef struct {
    PyObject_HEAD
    Py_ssize_t count; /* of those held; 0 until it is made */
    PyObject **held;  /* an array in the same object */
} Holder;

static int holder_traverse(PyObject *self, visitproc visit, void *arg) {
    Holder *it = (Holder *)self;
    Py_VISIT(Py_TYPE(self));
    for (Py_ssize_t i = 0; i < it->count; i++) Py_VISIT(it->held[i]);
    return 0;
}

static int holder_clear(PyObject *self) {
    Holder *it = (Holder *)self;
    Py_ssize_t count = it->count;
    it->count = 0; /* whoever is called meanwhile finds one that is not made */
    for (Py_ssize_t i = 0; i < count; i++) Py_CLEAR(it->held[i]);
    return 0;
}

static void holder_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    holder_clear(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static void holder_hold(PyObject *self, PyObject **held, PyObject **given, Py_ssize_t count) {
    Holder *it = (Holder *)self;
    for (Py_ssize_t i = 0; i < count; i++) held[i] = Py_NewRef(given[i]);
    it->held = held;
    it->count = count;
}

/* Whether it may be filled now, or with an error set. */
static bool holder_is_new(PyObject *self, PyObject *keywords) {
    if (((Holder *)self)->count == 0 && (keywords == NULL || PyDict_Size(keywords) == 0)) return true;
    PyErr_SetString(PyExc_TypeError, "made once, without keywords");
    return false;
}

static bool holder_is_made(PyObject *self) {
    if (((Holder *)self)->count) return true;
    PyErr_SetString(PyExc_TypeError, "it is not made, or was ended");
    return false;
}

/* Whether an object is of a type of the same module, or with an error set. */
static bool is_kind_here(PyObject *self, PyObject *object, const char *name) {
    PyObject *module = PyType_GetModule(Py_TYPE(self));
    PyObject *kind = module == NULL ? NULL : PyObject_GetAttrString(module, name);
    if (kind == NULL) return false;
    bool is_kind = Py_TYPE(object) == (PyTypeObject *)kind;
    Py_DECREF(kind);
    if (!is_kind) PyErr_Format(PyExc_TypeError, "expected a %s", name);
    return is_kind;
}

/* --- members: the descriptors of a class's slots ---------------------------------------------- */

/* Whether an object is a descriptor that gets a value, or with an error set. */
static bool is_member(PyObject *object) {
    if (PyType_GetSlot(Py_TYPE(object), Py_tp_descr_get) != NULL) return true;
    PyErr_SetString(PyExc_TypeError, "expected a descriptor of a class");
    return false;
}

/* Returns an object's value of a member; a TypeError where it is of another class. */
static inline PyObject *member_of(PyObject *member, PyObject *object) {
    descrgetfunc get = (descrgetfunc)PyType_GetSlot(Py_TYPE(member), Py_tp_descr_get);
    return get(member, object, (PyObject *)Py_TYPE(object));
}

static inline int member_set(PyObject *member, PyObject *object, PyObject *value) {
    descrsetfunc set = (descrsetfunc)PyType_GetSlot(Py_TYPE(member), Py_tp_descr_set);
    if (set != NULL) return set(member, object, value);
    PyErr_SetString(PyExc_TypeError, "this member cannot be set");
    return -1;
}

#endif
