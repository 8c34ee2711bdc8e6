/* Whether a daemon was started with our variables (`daemonry.process.environment.drift`). */
#ifndef DAEMONRY_DRIFT_H
#define DAEMONRY_DRIFT_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "limits.h"
#include "plain_json.h"

static bool is_taken(const char *variable, size_t length, const struct part *patterns, int count) {
    for (int i = 0; i < count; i++) {
        const char *pattern = patterns[i].start + 1;
        size_t size = (size_t)(patterns[i].end - patterns[i].start) - 2;
        if (size && pattern[size - 1] == '*') {
            if (length >= size - 1 && memcmp(variable, pattern, size - 1) == 0) return true;
        } else if (length == size && memcmp(variable, pattern, size) == 0) {
            return true;
        }
    }
    return false;
}

struct sums {
    struct part names[MAX_KEYS], rests[MAX_KEYS], patterns[MAX_KEYS];
    int count, pattern_count, same;
};

/* Whether the daemon has this variable too, or takes no such variable. */
static bool has_variable(struct sums *sums, const char *variable) {
    const char *equals = strchr(variable, '=');
    if (!equals) return false;
    size_t length = (size_t)(equals - variable);
    if (!is_taken(variable, length, sums->patterns, sums->pattern_count)) return true;
    uint64_t rest = 0;
    for (const char *at = variable; *at; at++) rest = (rest << 8 | (unsigned char)*at) % 4294967291u;
    for (int i = 0; i < sums->count; i++) {
        const struct part *name = &sums->names[i];
        if ((size_t)(name->end - name->start) != length + 2 || memcmp(name->start + 1, variable, length) != 0) continue;
        sums->same++;
        return strtoull(sums->rests[i].start, NULL, 10) == rest;
    }
    return false;
}

/* The variable that Python adds to its own environment where no locale is set (PEP 538). */
static const char *coerced(void) {
    const char *language = getenv("LANG");
    bool is_c = !language || strcmp(language, "C") == 0 || strcmp(language, "POSIX") == 0;
    return is_c && !getenv("LC_ALL") && !getenv("LC_CTYPE") ? "LC_CTYPE=C.UTF-8" : NULL;
}

/* Whether the daemon has our variables; no where that cannot be told here. */
static bool has_our_environment(const char *files) {
    char path[4096 + 16];
    struct bytes text = {0};
    struct part keys[MAX_KEYS], values[MAX_KEYS];
    struct sums sums = {.same = 0};
    int count;
    snprintf(path, sizeof path, "%senv.json", files);
    if (!read_file(path, MAX_REPLY_BYTES, &text)) return access(path, F_OK) != 0 && errno == ENOENT;
    if (!object(text.at, text.length, keys, values, &count)) return false;
    int patterns = member(keys, count, "patterns"), rests = member(keys, count, "rests");
    if (patterns < 0 || rests < 0 || values[patterns].kind != '[' || values[rests].kind != '{') return false;
    members_end(values[patterns].start, 0, NULL, sums.patterns, &sums.pattern_count);
    members_end(values[rests].start, 0, sums.names, sums.rests, &sums.count);
    for (int i = 0; i < sums.pattern_count; i++)
        if (sums.patterns[i].kind != '"') return false;
    for (int i = 0; i < sums.count; i++)
        if (sums.rests[i].kind != '0') return false;
    for (char **variable = environ; *variable; variable++)
        if (!has_variable(&sums, *variable)) return false;
    if (coerced() && !has_variable(&sums, coerced())) return false;
    free(text.at);
    return sums.same == sums.count;
}

#endif
