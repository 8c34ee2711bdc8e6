/* What this launcher and the Python beside it agree on.
 *
 * Owns reading the number of it, and the program's version, in the text of a package's file, to which
 * `daemonry-native install` makes a link beside the command.  An upgrade of a package changes that file: this
 * launcher then leaves everything to Python, before anything is sent.
 */
#ifndef DAEMONRY_AGREED_H
#define DAEMONRY_AGREED_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "hand_over.h"
#include "limits.h"

enum { MAX_AGREED_BYTES = 1 << 14, MAX_VERSION_CHARS = 32 };

/* Read the text at DIRECTORY/.PACKAGE-launcher, beside this program. */
static bool read_agreed(const char *package, char text[MAX_AGREED_BYTES]) {
    char path[4096];
    const char *own = own_name(path, sizeof path);
    size_t before = (size_t)(own - path), room = sizeof path - before;
    if (!*own) return false;
    int written = snprintf(path + before, room, ".%s-launcher", package);
    if (written < 0 || (size_t)written >= room) return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return false;
    ssize_t length = read(fd, text, MAX_AGREED_BYTES - 1);
    close(fd);
    text[length < 0 ? 0 : length] = 0;
    return length > 0;
}

/* Hand over where the package does not say that it knows this launcher. */
static void check_agreed(const char *package, int number, char version[MAX_VERSION_CHARS]) {
    char text[MAX_AGREED_BYTES], wanted[32];
    if (!read_agreed(package, text)) hand_over();
    snprintf(wanted, sizeof wanted, "\nLAUNCHER = %d\n", number);
    if (!strstr(text, wanted)) hand_over();
    if (!version) return;
    static const char start[] = "\n__version__ = \"";
    const char *at = strstr(text, start);
    if (!at) hand_over();
    at += sizeof start - 1;
    size_t length = strcspn(at, "\"");
    if (length == 0 || length >= MAX_VERSION_CHARS || !at[length] || !is_plain(at, length)) hand_over();
    if (memchr(at, '\\', length)) hand_over();
    memcpy(version, at, length);
    version[length] = 0;
}

#endif
