/* Values of a form out of JSON that is written as this library writes it: no blanks, keys in order.

NULL without an error says that only the codec can tell.  What is returned is what the codec makes of the same
bytes: both look at UTF-8, escapes, keys, digits and ranges by the same rules. */

#ifndef DAEMONRY_READ_H
#define DAEMONRY_READ_H

#include "form.h"
#include "scan.h"

#include <math.h>

typedef struct {
    place at, end;
} input;

static PyObject *read_value(const form *of, input *in);

static inline bool take_byte(input *in, uint8_t byte) {
    if (in->at >= in->end || *in->at != byte) return false;
    in->at++;
    return true;
}

static size_t put_utf8(uint32_t character, char *to) {
    if (character < 0x80) {
        to[0] = (char)character;
        return 1;
    }
    int tails = character < 0x800 ? 1 : character < 0x10000 ? 2 : 3;
    static const uint8_t marks[] = {0, 0xC0, 0xE0, 0xF0};
    for (int i = tails; i > 0; i--, character >>= 6) to[i] = (char)(0x80 | (character & 0x3F));
    to[0] = (char)(marks[tails] | character);
    return (size_t)tails + 1;
}

/* Returns the text of a string with escapes, which was found to be within the rules. */
static PyObject *unescaped(place at, place end) {
    /* An escape is never shorter than its character. */
    char *text = PyMem_Malloc((size_t)(end - at) + 4);
    if (text == NULL) return PyErr_NoMemory();
    size_t used = 0;
    while (at != NULL && at < end) {
        place next = memchr(at, '\\', (size_t)(end - at));
        size_t count = (size_t)((next == NULL ? end : next) - at);
        memcpy(text + used, at, count);
        used += count;
        if (next == NULL) break;
        uint32_t character;
        at = skip_escape(next, end, &character);
        if (at != NULL) used += put_utf8(character, text + used);
    }
    PyObject *value = at == NULL ? NULL : PyUnicode_DecodeUTF8(text, (Py_ssize_t)used, NULL);
    PyMem_Free(text);
    return value;
}

static PyObject *read_text(input *in) {
    int has;
    if (!take_byte(in, '"')) return NULL;
    place start = in->at, quote = find_quote(start, in->end, &has);
    if (quote == NULL) return NULL;
    in->at = quote + 1;
    if (has & HAS_ESCAPE) return unescaped(start, quote);
    return PyUnicode_DecodeUTF8((const char *)start, quote - start, NULL);
}

static PyObject *read_integer(input *in) {
    place at = in->at, end = in->end;
    bool negative = at < end && *at == '-';
    if (negative) at++;
    place digits = at;
    uint64_t value = 0;
    while (is_digit(at, end) && at - digits < 19) value = value * 10 + (uint64_t)(*at++ - '0');
    /* A point, an exponent, a further digit or a needless zero is for the codec, and so is 2**63 in size. */
    if (at == digits || (*digits == '0' && at - digits > 1) || value > (uint64_t)LLONG_MAX) return NULL;
    if (at >= end || is_digit(at, end) || *at == '.' || *at == 'e' || *at == 'E') return NULL;
    in->at = at;
    return PyLong_FromLongLong(negative ? -(long long)value : (long long)value);
}

static PyObject *read_float(input *in) {
    bool is_float, doubtful;
    place after = skip_number(in->at, in->end, &is_float, &doubtful);
    if (after == NULL || doubtful || !is_float) return NULL;
    char digits[64];
    size_t count = (size_t)(after - in->at);
    if (count >= sizeof digits) return NULL;
    memcpy(digits, in->at, count);
    digits[count] = '\0';
    double number = PyOS_string_to_double(digits, NULL, NULL);
    if (PyErr_Occurred() || !isfinite(number)) return NULL;
    in->at = after;
    return PyFloat_FromDouble(number);
}

static PyObject *read_boolean(input *in) {
    bool is_true = in->at < in->end && *in->at == 't';
    place after = is_true ? skip_word(in->at, in->end, "true", 4) : skip_word(in->at, in->end, "false", 5);
    if (after == NULL) return NULL;
    in->at = after;
    return PyBool_FromLong(is_true);
}

static PyObject *read_list(const form *of, input *in) {
    if (!take_byte(in, '[')) return NULL;
    PyObject *list = PyList_New(0);
    if (list == NULL || take_byte(in, ']')) return list;
    do {
        PyObject *item = read_value(of->of, in);
        int failed = item == NULL ? -1 : PyList_Append(list, item);
        Py_XDECREF(item);
        if (failed) goto fail;
    } while (take_byte(in, ','));
    if (take_byte(in, ']')) return list;
fail:
    Py_DECREF(list);
    return NULL;
}

static PyObject *read_mapping(const form *of, input *in) {
    if (!take_byte(in, '{')) return NULL;
    PyObject *mapping = PyDict_New();
    if (mapping == NULL || take_byte(in, '}')) return mapping;
    Py_ssize_t count = 0;
    do {
        PyObject *name = read_text(in);
        PyObject *item = name == NULL || !take_byte(in, ':') ? NULL : read_value(of->of, in);
        int failed = item == NULL ? -1 : PyDict_SetItem(mapping, name, item);
        Py_XDECREF(item);
        Py_XDECREF(name);
        count++;
        if (failed) goto fail;
    } while (take_byte(in, ','));
    /* Fewer are there than were read where one came twice. */
    if (take_byte(in, '}') && PyDict_Size(mapping) == count) return mapping;
fail:
    Py_DECREF(mapping);
    return NULL;
}

static PyObject *read_values(const form *of, input *in) {
    PyObject *values = PyTuple_New(of->count);
    if (values == NULL) return NULL;
    for (Py_ssize_t i = 0; i < of->count; i++) {
        const char *head = PyBytes_AsString(of->fields[i].head);
        size_t size = (size_t)PyBytes_Size(of->fields[i].head);
        if (!take_byte(in, i ? ',' : '{')) goto fail;
        in->at = skip_word(in->at, in->end, head + 1, size - 1);
        PyObject *item = in->at == NULL ? NULL : read_value(of->fields[i].of, in);
        if (item == NULL) goto fail;
        PyTuple_SetItem(values, i, item);
    }
    if (of->count ? take_byte(in, '}') : take_byte(in, '{') && take_byte(in, '}')) return values;
fail:
    Py_DECREF(values);
    return NULL;
}

static PyObject *read_value(const form *of, input *in) {
    switch (of->kind) {
        case TEXT: return read_text(in);
        case INTEGER: return read_integer(in);
        case FLOAT: return read_float(in);
        case BOOLEAN: return read_boolean(in);
        case OPTIONAL: {
            place after = skip_word(in->at, in->end, "null", 4);
            if (after == NULL) return read_value(of->of, in);
            in->at = after;
            Py_INCREF(Py_None);
            return Py_None;
        }
        case LIST: return read_list(of, in);
        case MAPPING: return read_mapping(of, in);
        case VALUES: return read_values(of, in);
        case OBJECT: break; /* made by who knows how to make one */
    }
    return NULL;
}

#endif
