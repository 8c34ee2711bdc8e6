/* Strings of JSON in UTF-8, looked at in wide steps: where one ends, and whether it is within the rules.

Owns no memory and knows nothing of Python.  Every function is given the end of the bytes and reads none from there on. */

#ifndef DAEMONRY_TEXT_H
#define DAEMONRY_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef const uint8_t *place;

/* What a string has in it. */
enum { HAS_ESCAPE = 1, HAS_HIGH = 2 };

/* Whether a byte does not stand in a string as it is, or is beyond ASCII if `high`. */
static inline bool is_special(uint8_t c, bool high) { return c < 0x20 || c == '"' || c == '\\' || (high && c >= 0x80); }

#ifdef __SSE2__ /* which every x86-64 has */
#include <emmintrin.h>

/* Says which of the next 16 bytes are special, the first in the lowest bit. */
static inline unsigned specials(place at, bool high) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes);
    __m128i marks = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
    __m128i found = _mm_or_si128(control, marks);
    return (unsigned)_mm_movemask_epi8(high ? _mm_or_si128(found, bytes) : found);
}

static inline place skip_plain(place at, place end, bool high) {
    for (; end - at >= 16; at += 16) {
        unsigned found = specials(at, high);
        if (found) return at + __builtin_ctz(found);
    }
    return at;
}
#else
enum { WIDE = 32 };

/* The loop of WIDE steps has no branch, so that compilers make vectors of it. */
static inline place skip_plain(place at, place end, bool high) {
    for (; end - at >= WIDE; at += WIDE) {
        uint8_t found = 0;
        for (int i = 0; i < WIDE; i++) found |= (uint8_t)is_special(at[i], high);
        if (found) break;
    }
    return at;
}
#endif

/* Returns the first byte of [at, end) that is a quote, a backslash, a control character or, if `high`, beyond
ASCII; `end` for none. */
static inline place first_special(place at, place end, bool high) {
    at = skip_plain(at, end, high);
    while (at < end && !is_special(*at, high)) at++;
    return at;
}

static inline bool is_tail(place at, place end, uint8_t least, uint8_t most) {
    return at < end && *at >= least && *at <= most;
}

/* Returns what follows one character of UTF-8 beyond ASCII; NULL where it is none: RFC 3629, section 4. */
static inline place skip_character(place at, place end) {
    uint8_t first = *at++;
    uint8_t least = 0x80, most = 0xBF;
    int tails;
    if (first >= 0xC2 && first <= 0xDF) {
        tails = 1;
    } else if (first >= 0xE0 && first <= 0xEF) {
        tails = 2;
        if (first == 0xE0) least = 0xA0;
        if (first == 0xED) most = 0x9F; /* surrogates */
    } else if (first >= 0xF0 && first <= 0xF4) {
        tails = 3;
        if (first == 0xF0) least = 0x90;
        if (first == 0xF4) most = 0x8F; /* beyond U+10FFFF */
    } else {
        return NULL;
    }
    if (!is_tail(at, end, least, most)) return NULL;
    at++;
    for (int i = 1; i < tails; i++, at++) {
        if (!is_tail(at, end, 0x80, 0xBF)) return NULL;
    }
    return at;
}

/* Returns the number of four hexadecimal digits; -1 where there are none. */
static inline int32_t hex4(place at, place end) {
    int32_t value = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        uint8_t c = at[i];
        int digit;
        if (c >= '0' && c <= '9') digit = c - '0';
        else if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
        else if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
        else return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* Reads one escape, at its backslash; returns what follows and sets the character, or NULL for one that is
none, a lone surrogate, or NUL, which no string of a frame holds. */
static inline place skip_escape(place at, place end, uint32_t *character) {
    if (end - at < 2) return NULL;
    switch (at[1]) {
        case '"': case '\\': case '/': *character = at[1]; return at + 2;
        case 'b': *character = '\b'; return at + 2;
        case 'f': *character = '\f'; return at + 2;
        case 'n': *character = '\n'; return at + 2;
        case 'r': *character = '\r'; return at + 2;
        case 't': *character = '\t'; return at + 2;
        case 'u': break;
        default: return NULL;
    }
    int32_t unit = hex4(at + 2, end);
    if (unit <= 0 || (unit >= 0xDC00 && unit <= 0xDFFF)) return NULL;
    at += 6;
    if (unit < 0xD800 || unit > 0xDBFF) {
        *character = (uint32_t)unit;
        return at;
    }
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u') return NULL;
    int32_t low = hex4(at + 2, end);
    if (low < 0xDC00 || low > 0xDFFF) return NULL;
    *character = 0x10000u + (((uint32_t)unit - 0xD800u) << 10) + ((uint32_t)low - 0xDC00u);
    return at + 6;
}

/* Reads the inside of a string, at what follows its opening quote; returns its closing quote, or NULL where
there is no string within the rules.  Sets what it has in it. */
static inline place find_quote(place at, place end, int *has) {
    uint32_t character;
    *has = 0;
    while ((at = first_special(at, end, true)) < end) {
        if (*at == '"') return at;
        if (*at == '\\') {
            *has |= HAS_ESCAPE;
            at = skip_escape(at, end, &character);
        } else if (*at >= 0x80) {
            *has |= HAS_HIGH;
            do at = skip_character(at, end); while (at != NULL && at < end && *at >= 0x80);
        } else {
            return NULL; /* a control character */
        }
        if (at == NULL) return NULL;
    }
    return NULL;
}

#endif
