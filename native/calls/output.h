/* Bytes that grow: small ones on the stack, long ones in memory that is freed with `output_drop`. */

#ifndef DAEMONRY_OUTPUT_H
#define DAEMONRY_OUTPUT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "text.h"

enum { OUTPUT_SMALL = 2048 };

typedef struct {
    char *bytes;
    size_t used, room, most;
    char small[OUTPUT_SMALL];
} output;

static inline void output_begin(output *out, size_t most) {
    out->bytes = out->small;
    out->used = 0;
    out->room = OUTPUT_SMALL;
    out->most = most;
}

static inline void output_drop(output *out) {
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

/* Returns the bytes with a tail, and frees them; NULL where that is too long, or with an error set. */
static PyObject *output_end(output *out, const char *tail, size_t count) {
    bool fits = output_add(out, tail, count) && out->used <= out->most;
    PyObject *object = fits ? PyBytes_FromStringAndSize(out->bytes, (Py_ssize_t)out->used) : NULL;
    output_drop(out);
    return object;
}

static bool output_integer(output *out, long long value) {
    char digits[24], *at = digits + sizeof digits;
    unsigned long long rest = value < 0 ? 0ull - (unsigned long long)value : (unsigned long long)value;
    do *--at = (char)('0' + rest % 10); while (rest /= 10);
    if (value < 0) *--at = '-';
    return output_add(out, at, (size_t)(digits + sizeof digits - at));
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
