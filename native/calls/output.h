/* Bytes that grow: small ones on the stack, long ones in memory that is freed with `output_drop`.

The first long text is not copied until the end: a page that is touched for the first time takes longer than its copy. */

#ifndef DAEMONRY_OUTPUT_H
#define DAEMONRY_OUTPUT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "text.h"

enum { OUTPUT_SMALL = 2048, LENT_LEAST = 16 << 10 };

typedef struct {
    char *bytes;
    size_t used, room, most;
    PyObject *lender; /* of a long text, or NULL; owned until the end */
    const char *lent;
    size_t lent_size, lent_at; /* and where it belongs among the bytes */
    char small[OUTPUT_SMALL];
} output;

static inline void output_begin(output *out, size_t most) {
    out->bytes = out->small;
    out->used = 0;
    out->room = OUTPUT_SMALL;
    out->most = most;
    out->lender = NULL;
    out->lent_size = out->lent_at = 0;
    out->lent = NULL;
}

static inline void output_drop(output *out) {
    Py_CLEAR(out->lender);
    if (out->bytes != out->small) PyMem_Free(out->bytes);
    out->bytes = out->small;
}

/* Has room for so many bytes more; false where that is too long, or with an error set for want of memory. */
static bool output_grow(output *out, size_t more) {
    if (out->used > out->most || more > out->most - out->used) return false;
    size_t room = out->used + more;
    room += room / 2;
    char *bytes = PyMem_Realloc(out->bytes == out->small ? NULL : out->bytes, room);
    if (bytes == NULL) {
        PyErr_NoMemory();
        return false;
    }
    if (out->bytes == out->small) memcpy(bytes, out->small, out->used);
    out->bytes = bytes;
    out->room = room;
    return true;
}

static inline bool output_has_room(output *out, size_t more) {
    return out->room - out->used >= more || output_grow(out, more);
}

static inline bool output_add(output *out, const char *bytes, size_t count) {
    if (!output_has_room(out, count)) return false;
    memcpy(out->bytes + out->used, bytes, count);
    out->used += count;
    return true;
}

static inline bool output_byte(output *out, char byte) {
    if (!output_has_room(out, 1)) return false;
    out->bytes[out->used++] = byte;
    return true;
}

static inline size_t output_size(const output *out) { return out->used + out->lent_size; }

/* Whether all of it is no longer than it may be. */
static inline bool output_fits(const output *out) {
    return out->used <= out->most && out->lent_size <= out->most - out->used;
}

/* Returns the bytes; NULL with an error set. */
static PyObject *output_bytes(const output *out) {
    const char *bytes = out->lender == NULL ? out->bytes : NULL;
    PyObject *object = PyBytes_FromStringAndSize(bytes, (Py_ssize_t)output_size(out));
    if (object != NULL && out->lender != NULL) {
        char *to = PyBytes_AsString(object);
        memcpy(to, out->bytes, out->lent_at);
        memcpy(to + out->lent_at, out->lent, out->lent_size);
        memcpy(to + out->lent_at + out->lent_size, out->bytes + out->lent_at, out->used - out->lent_at);
    }
    return object;
}

/* Has the inside of a long text written in the end; false where it is short, has escapes, or is not the first. */
static bool output_lend(output *out, PyObject *lender, const char *text, size_t count) {
    place end = (place)text + count;
    if (count < LENT_LEAST || out->lender != NULL || first_special((place)text, end, false) != end) return false;
    if (!output_byte(out, '"')) return false;
    out->lender = Py_NewRef(lender);
    out->lent = text;
    out->lent_size = count;
    out->lent_at = out->used;
    return true;
}

static const char digit_pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

static inline size_t digits_of(unsigned long long number) {
    size_t count = 1;
    for (; number >= 10000; number /= 10000) count += 4;
    return count + (number >= 10) + (number >= 100) + (number >= 1000);
}

static inline bool output_integer(output *out, long long value) {
    unsigned long long rest = value < 0 ? 0ull - (unsigned long long)value : (unsigned long long)value;
    const size_t count = digits_of(rest) + (value < 0);
    if (!output_has_room(out, count)) return false;
    char *at = out->bytes + out->used;
    if (value < 0) *at = '-';
    out->used += count;
    at += count;
    for (; rest >= 100; rest /= 100) memcpy(at -= 2, digit_pairs + rest % 100 * 2, 2);
    if (rest >= 10) memcpy(at - 2, digit_pairs + rest * 2, 2);
    else at[-1] = (char)('0' + rest);
    return true;
}

/* Writes one character that does not stand in a string as it is; false for NUL, which has no form. */
static bool output_escape(output *out, uint8_t character) {
    static const char hex[] = "0123456789abcdef";
    char code[6] = {'\\', 'u', '0', '0', hex[character >> 4], hex[character & 15]};
    switch (character) {
        case 0: return false;
        case '"': return output_add(out, "\\\"", 2);
        case '\\': return output_add(out, "\\\\", 2);
        case '\b': return output_add(out, "\\b", 2);
        case '\f': return output_add(out, "\\f", 2);
        case '\n': return output_add(out, "\\n", 2);
        case '\r': return output_add(out, "\\r", 2);
        case '\t': return output_add(out, "\\t", 2);
        default: return output_add(out, code, sizeof code);
    }
}

/* Writes a text in quotes; false for one that has no form. */
static bool output_text(output *out, const char *text, size_t count) {
    place at = (place)text, end = at + count;
    if (!output_has_room(out, count + 2)) return false;
    out->bytes[out->used++] = '"';
    for (;;) {
        place special = first_special(at, end, false);
        if (!output_add(out, (const char *)at, (size_t)(special - at))) return false;
        if (special == end) return output_byte(out, '"');
        if (!output_escape(out, *special)) return false;
        at = special + 1;
    }
}

#endif
