/* Bytes that grow, and files that are read into them. */
#ifndef DAEMONRY_BYTES_H
#define DAEMONRY_BYTES_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "limits.h"

struct bytes {
    char *at;
    size_t length, room;
};

static void add(struct bytes *to, const char *from, size_t length) {
    if (to->length + length + 1 > to->room) {
        to->room = 2 * (to->length + length + 1);
        to->at = realloc(to->at, to->room);
        if (!to->at) _exit(code_of_failure);
    }
    memcpy(to->at + to->length, from, length);
    to->length += length;
    to->at[to->length] = 0;
}

static void add_text(struct bytes *to, const char *text) { add(to, text, strlen(text)); }

/* ASCII that a terminal shows: what `printable` returns as it is. */
static bool is_plain(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (text[i] < ' ' || text[i] > '~') return false;
    return true;
}

/* Read a file as `read_regular` does, of at most `most` bytes; false where it is missing or anything else. */
static bool read_file(const char *path, size_t most, struct bytes *into) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    struct stat found;
    if (fd < 0) return false;
    bool good = fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
    char piece[8192];
    ssize_t count = 0;
    while (good && (count = read(fd, piece, sizeof piece)) > 0) {
        add(into, piece, (size_t)count);
        good = into->length <= most;
    }
    close(fd);
    return good && count == 0 && into->length > 0;
}

#endif
