/* Text as it goes into JSON and comes out of it: UTF-8, escapes, and the locale that Python would have.
 *
 * Owns no layout: what a message is made of is `frame.h`'s and its users'.
 */
#ifndef DAEMONRY_TEXT_H
#define DAEMONRY_TEXT_H

#include <langinfo.h>
#include <locale.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bytes.h"

/* How Python would read and write text here, and whether it would add LC_CTYPE=C.UTF-8 to its environment. */
enum locale_kind { IS_OTHER, IS_UTF8, IS_COERCED };

static const char *first_set(const char *const *names, int count) {
    for (int i = 0; i < count; i++) {
        const char *value = getenv(names[i]);
        if (value && *value) return value;
    }
    return "";
}

/* PEP 538 and 540, as far as they are certain. */
static enum locale_kind locale_kind(void) {
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    const char *all = getenv("LC_ALL"), *name = first_set(names, 3);
    bool is_c = !*name || strcmp(name, "C") == 0 || strcmp(name, "POSIX") == 0;
    if (is_c && all && *all) return IS_UTF8; /* the UTF-8 mode, without another variable */
    if (is_c) return setlocale(LC_CTYPE, "C.UTF-8") ? IS_COERCED : IS_OTHER;
    const char *found = setlocale(LC_CTYPE, "");
    if (!found || strcmp(found, "C") == 0 || strcmp(found, "POSIX") == 0) return IS_OTHER;
    return strcasecmp(nl_langinfo(CODESET), "UTF-8") == 0 ? IS_UTF8 : IS_OTHER;
}

/* Return the length of the character at `at`, which ends before `end`; 0 where it is not UTF-8. */
static size_t character(const unsigned char *at, const unsigned char *end) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (*at < 0x80) return 1;
    size_t length = *at >= 0xf0 && *at < 0xf8 ? 4 : *at >= 0xe0 ? 3 : *at >= 0xc0 ? 2 : 0;
    if (length == 0 || *at >= 0xf8 || (size_t)(end - at) < length) return 0;
    uint32_t point = (uint32_t)(*at & (0xff >> (length + 1)));
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
        point = point << 6 | (at[i] & 0x3f);
    }
    bool is_good = point >= least[length] && point <= 0x10ffff && !(point >= 0xd800 && point < 0xe000);
    return is_good ? length : 0;
}

/* Whether all of a text is UTF-8; tells the number of its characters. */
static bool is_utf8(const char *text, size_t length, size_t *characters) {
    const unsigned char *at = (const unsigned char *)text, *end = at + length;
    size_t count = 0;
    while (at < end) {
        size_t step = character(at, end);
        if (!step) return false;
        at += step;
        count++;
    }
    if (characters) *characters = count;
    return true;
}

/* Add a text, which is UTF-8, as a JSON string. */
static void add_json(struct bytes *out, const char *text) {
    add_text(out, "\"");
    for (const char *at = text; *at;) {
        size_t plain = 0;
        while (at[plain] && (unsigned char)at[plain] >= ' ' && at[plain] != '"' && at[plain] != '\\') plain++;
        add(out, at, plain);
        at += plain;
        if (!*at) break;
        char escaped[8];
        if ((unsigned char)*at < ' ')
            snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)(unsigned char)*at);
        else
            snprintf(escaped, sizeof escaped, "\\%c", *at);
        add_text(out, escaped);
        at++;
    }
    add_text(out, "\"");
}

static int hex_digit(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

static long four_digits(const char *at, const char *end) {
    long point = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0) return -1;
        point = point << 4 | digit;
    }
    return point;
}

static void add_point(struct bytes *out, long point) {
    char bytes[4];
    size_t length = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char marks[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length - 1; i > 0; i--) {
        bytes[i] = (char)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    bytes[0] = (char)(marks[length] | point);
    add(out, bytes, length);
}

/* Add what an escape stands for; `at` is behind its backslash.  Return where it ends; NULL for an odd one. */
static const char *add_escape(struct bytes *out, const char *at, const char *end) {
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (at >= end) return NULL;
    const char *name = *at ? strchr(names, *at) : NULL;
    if (name) {
        add(out, &meant[name - names], 1);
        return at + 1;
    }
    long point = *at == 'u' ? four_digits(at + 1, end) : -1;
    if (point <= 0) return NULL; /* NUL is Python's to refuse */
    at += 5;
    if (point >= 0xd800 && point < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
        long low = four_digits(at + 2, end);
        if (low < 0xdc00 || low >= 0xe000) return NULL;
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
        at += 6;
    }
    if (point >= 0xd800 && point < 0xe000) return NULL; /* half a pair */
    add_point(out, point);
    return at;
}

/* Read the JSON string at `at`; add its text where one is wanted.  Return where it ends; NULL for an odd one. */
static const char *string_of(const char *at, const char *end, struct bytes *out) {
    struct bytes ignored = {0};
    struct bytes *to = out ? out : &ignored;
    add(to, "", 0);
    const char *found = NULL;
    if (at < end && *at == '"') at++;
    else return NULL;
    for (;;) {
        const char *from = at;
        while (at < end && (unsigned char)*at >= ' ' && *at != '"' && *at != '\\') at++;
        if (at >= end || !is_utf8(from, (size_t)(at - from), NULL)) break;
        add(to, from, (size_t)(at - from));
        if (*at == '"') {
            found = at + 1;
            break;
        }
        if (*at != '\\') break; /* a control character */
        at = add_escape(to, at + 1, end);
        if (!at) break;
    }
    if (!out) free(ignored.at);
    return found;
}

/* Whether a terminal shows a text as it is: ASCII and line feeds.  All else is Python's to make safe. */
static bool is_plain_text(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++)
        if ((text[i] < ' ' || text[i] > '~') && text[i] != '\n') return false;
    return true;
}

#endif
