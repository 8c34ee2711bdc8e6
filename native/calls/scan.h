/* One strict look at a message of JSON: the rules of `wire.varlink`, in a single pass.

`scan` says yes only to bytes that the codec in Python accepts: UTF-8, one value and nothing behind it, no nesting
beyond MOST_LEVELS, no key twice in an object, no control character or NUL in a string, no lone surrogate, integers of
64 bits, finite floats.  It says no to a few that the codec accepts and to which it takes no longer look: a key
that is written with an escape, and a float whose digits or exponent are so many that it might not be finite. */

#ifndef DAEMONRY_SCAN_H
#define DAEMONRY_SCAN_H

#include "text.h"

#include <stdlib.h>

/* limits.MAX_JSON_DEPTH. */
enum { MOST_LEVELS = 64 };
/* Up to here each key is compared with each other; beyond it they are sorted. */
enum { FEW_KEYS = 12 };
/* Floats of fewer digits, with an exponent below this, are below 1e308. */
enum { SURELY_FINITE = 150 };

typedef struct {
    place at;
    uint32_t length;
} key;

typedef struct {
    place end;
    key *keys; /* of all open objects, those of the innermost last */
    size_t count, room;
    key first[64];
} scanner;

static inline place skip_blanks(place at, place end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

static inline bool is_digit(place at, place end) { return at < end && *at >= '0' && *at <= '9'; }

/* Returns what follows a number; NULL where there is none.  Says whether it is a float, which may be one that
has to be looked at again (`doubtful`). */
static inline place skip_number(place at, place end, bool *is_float, bool *doubtful) {
    *is_float = *doubtful = false;
    if (at < end && *at == '-') at++;
    if (!is_digit(at, end)) return NULL;
    place digits = at;
    if (*at == '0') at++;
    else while (is_digit(at, end)) at++;
    ptrdiff_t count = at - digits;
    if (at < end && *at == '.') {
        *is_float = true;
        at++;
        if (!is_digit(at, end)) return NULL;
        while (is_digit(at, end)) at++;
    }
    int exponent = 0;
    if (at < end && (*at == 'e' || *at == 'E')) {
        *is_float = true;
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        if (!is_digit(at, end)) return NULL;
        for (; is_digit(at, end); at++) {
            if (exponent < 10000) exponent = exponent * 10 + (*at - '0');
        }
    }
    *doubtful = *is_float && (count >= SURELY_FINITE || exponent >= SURELY_FINITE);
    return at;
}

/* Whether the digits of an integer, with its sign, are those of one of [-2**63, 2**64). */
static inline bool fits_64_bits(place at, place end) {
    bool negative = *at == '-';
    if (negative) at++;
    if (end - at < 19) return true;
    uint64_t value = 0;
    for (; at < end; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    return !negative || value <= (uint64_t)1 << 63;
}

static int compare_keys(const void *one, const void *other) {
    const key *a = one, *b = other;
    if (a->length != b->length) return a->length < b->length ? -1 : 1;
    return memcmp(a->at, b->at, a->length);
}

static bool are_unique(key *keys, size_t count) {
    if (count <= FEW_KEYS) {
        for (size_t i = 1; i < count; i++) {
            for (size_t j = 0; j < i; j++) {
                if (compare_keys(keys + i, keys + j) == 0) return false;
            }
        }
        return true;
    }
    qsort(keys, count, sizeof(key), compare_keys);
    for (size_t i = 1; i < count; i++) {
        if (compare_keys(keys + i - 1, keys + i) == 0) return false;
    }
    return true;
}

static bool note_key(scanner *in, place at, size_t length) {
    if (length > UINT32_MAX) return false;
    if (in->count == in->room) {
        size_t room = in->room * 2;
        if (room > SIZE_MAX / sizeof(key)) return false;
        key *keys = realloc(in->keys == in->first ? NULL : in->keys, room * sizeof(key));
        if (keys == NULL) return false;
        if (in->keys == in->first) memcpy(keys, in->first, in->count * sizeof(key));
        in->keys = keys;
        in->room = room;
    }
    in->keys[in->count++] = (key){at, (uint32_t)length};
    return true;
}

static place scan_value(scanner *in, place at, int level);

static place scan_object(scanner *in, place at, int level) {
    size_t before = in->count;
    place end = in->end;
    at = skip_blanks(at + 1, end);
    if (at < end && *at == '}') return at + 1;
    for (;;) {
        int has;
        if (at >= end || *at != '"') return NULL;
        place quote = find_quote(at + 1, end, &has);
        if (quote == NULL || (has & HAS_ESCAPE)) return NULL;
        if (!note_key(in, at + 1, (size_t)(quote - at - 1))) return NULL;
        at = skip_blanks(quote + 1, end);
        if (at >= end || *at != ':') return NULL;
        at = scan_value(in, skip_blanks(at + 1, end), level);
        if (at == NULL) return NULL;
        at = skip_blanks(at, end);
        if (at >= end) return NULL;
        if (*at == '}') break;
        if (*at != ',') return NULL;
        at = skip_blanks(at + 1, end);
    }
    if (!are_unique(in->keys + before, in->count - before)) return NULL;
    in->count = before;
    return at + 1;
}

static place scan_array(scanner *in, place at, int level) {
    place end = in->end;
    at = skip_blanks(at + 1, end);
    if (at < end && *at == ']') return at + 1;
    for (;;) {
        at = scan_value(in, at, level);
        if (at == NULL) return NULL;
        at = skip_blanks(at, end);
        if (at >= end) return NULL;
        if (*at == ']') return at + 1;
        if (*at != ',') return NULL;
        at = skip_blanks(at + 1, end);
    }
}

static inline place skip_word(place at, place end, const char *word, size_t length) {
    return (size_t)(end - at) >= length && memcmp(at, word, length) == 0 ? at + length : NULL;
}

/* Returns what follows a value within `level` others; NULL where there is none within the rules. */
static place scan_value(scanner *in, place at, int level) {
    place end = in->end;
    if (at >= end) return NULL;
    switch (*at) {
        case '{': return level >= MOST_LEVELS ? NULL : scan_object(in, at, level + 1);
        case '[': return level >= MOST_LEVELS ? NULL : scan_array(in, at, level + 1);
        case '"': {
            int has;
            place quote = find_quote(at + 1, end, &has);
            return quote == NULL ? NULL : quote + 1;
        }
        case 't': return skip_word(at, end, "true", 4);
        case 'f': return skip_word(at, end, "false", 5);
        case 'n': return skip_word(at, end, "null", 4);
        default: {
            bool is_float, doubtful;
            place after = skip_number(at, end, &is_float, &doubtful);
            if (after == NULL || doubtful) return NULL;
            return is_float || fits_64_bits(at, after) ? after : NULL;
        }
    }
}

/* Whether [at, end) is JSON within the rules. */
static bool scan(place at, place end) {
    scanner in;
    in.end = end;
    in.keys = in.first;
    in.count = 0;
    in.room = sizeof in.first / sizeof in.first[0];
    at = scan_value(&in, skip_blanks(at, end), 0);
    bool whole = at != NULL && skip_blanks(at, end) == end;
    if (in.keys != in.first) free(in.keys);
    return whole;
}

#endif
