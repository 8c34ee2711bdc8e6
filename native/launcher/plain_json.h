/* JSON as Python would write it again, and no other.
 *
 * Owns reading it in place: no copy, no allocation.  What is anything else, an escape, a blank, a number in
 * another form, a key that comes twice, more than a few values, is refused; the launcher leaves it to Python.
 */
#ifndef DAEMONRY_PLAIN_JSON_H
#define DAEMONRY_PLAIN_JSON_H

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of one object or array, and of what is in one another; more is Python's. */
enum { MAX_KEYS = 64, MAX_DEPTH = 8 };

/* A value's place in a text.  Only JSON that Python would write in the same way is understood: plain
 * strings without escapes, no blanks, whole numbers of up to 15 digits, floats in their shortest form. */
struct part {
    char kind; /* one of { [ " 0 (whole) . (float) t f n */
    const char *start, *end;
};

static const char *string_end(const char *at) {
    for (at++; *at != '"'; at++)
        if (*at < ' ' || *at > '~' || *at == '\\') return NULL;
    return at + 1;
}

static bool is_shortest(const char *digits, size_t length) {
    char given[64], short_form[64];
    if (length >= 40) return false;
    memcpy(given, digits, length);
    given[length] = 0;
    double number = strtod(given, NULL);
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(short_form, sizeof short_form, "%.*g", precision, number);
        if (!strchr(short_form, 'e') && strtod(short_form, NULL) == number) break;
    }
    double size = number < 0 ? -number : number;
    if (size != 0 && (size < 1e-4 || size >= 1e16)) return false; /* Python writes an exponent */
    if (strchr(short_form, 'e')) return false;
    if (!strchr(short_form, '.')) strcat(short_form, ".0");
    return strcmp(short_form, given) == 0;
}

static const char *number_end(const char *at, char *kind) {
    const char *start = at;
    if (*at == '-') at++;
    const char *digits = at;
    while (isdigit((unsigned char)*at)) at++;
    size_t count = (size_t)(at - digits);
    if (count == 0 || (count > 1 && *digits == '0')) return NULL;
    if (*at == 'e' || *at == 'E') return NULL;
    if (*at != '.') {
        *kind = '0';
        return count > 15 || (*start == '-' && *digits == '0') ? NULL : at;
    }
    for (at++; isdigit((unsigned char)*at); at++) {}
    *kind = '.';
    return *at == 'e' || *at == 'E' || !is_shortest(start, (size_t)(at - start)) ? NULL : at;
}

static bool value_at(const char *at, int depth, struct part *found);

/* Read the members of an object or the items of an array; keys and values go where they are wanted. */
static const char *members_end(const char *at, int depth, struct part *keys, struct part *values, int *count) {
    struct part own_keys[MAX_KEYS], item;
    char close_mark = *at == '{' ? '}' : ']';
    bool keyed = *at == '{';
    if (!keys) keys = own_keys;
    *count = 0;
    if (at[1] == close_mark) return at + 2;
    do {
        at++;
        if (*count == MAX_KEYS) return NULL;
        if (keyed) {
            const char *end = *at == '"' ? string_end(at) : NULL;
            if (!end || *end != ':') return NULL;
            keys[*count] = (struct part){'"', at, end};
            for (int i = 0; i < *count; i++)
                if (keys[i].end - keys[i].start == end - at && memcmp(keys[i].start, at, (size_t)(end - at)) == 0)
                    return NULL; /* twice: an error, for Python to tell */
            at = end + 1;
        }
        if (!value_at(at, depth + 1, &item)) return NULL;
        if (values) values[*count] = item;
        at = item.end;
        ++*count;
    } while (*at == ',');
    return *at == close_mark ? at + 1 : NULL;
}

static bool value_at(const char *at, int depth, struct part *found) {
    static const char *const constants[] = {"true", "false", "null"};
    int count;
    found->kind = *at;
    found->start = at;
    found->end = NULL;
    if (depth > MAX_DEPTH) return false;
    if (*at == '"') {
        found->end = string_end(at);
    } else if (*at == '{' || *at == '[') {
        found->end = members_end(at, depth, NULL, NULL, &count);
    } else if (*at == '-' || isdigit((unsigned char)*at)) {
        found->end = number_end(at, &found->kind);
    } else {
        for (int i = 0; i < 3; i++)
            if (strncmp(at, constants[i], strlen(constants[i])) == 0) found->end = at + strlen(constants[i]);
    }
    return found->end != NULL;
}

static bool is_key(const struct part *key, const char *name) {
    size_t length = strlen(name);
    return (size_t)(key->end - key->start) == length + 2 && memcmp(key->start + 1, name, length) == 0;
}

/* Return where in `values` the member `name` is; -1 for nowhere. */
static int member(const struct part *keys, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (is_key(&keys[i], name)) return i;
    return -1;
}

/* Understand a text that is one object and nothing else. */
static bool object(const char *text, size_t length, struct part *keys, struct part *values, int *count) {
    if (length == 0 || text[0] != '{' || strlen(text) != length) return false;
    const char *end = members_end(text, 0, keys, values, count);
    return end && *end == 0;
}

#endif
