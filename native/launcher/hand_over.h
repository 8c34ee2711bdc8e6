/* Executing the Python command, which stands beside this program as NAME-python.
 *
 * Owns the two ways there: with the words as they came, where nothing was sent, or what was sent changes
 * nothing; and with the answer that came, where the command was sent and must not be sent again.
 */
#ifndef DAEMONRY_HAND_OVER_H
#define DAEMONRY_HAND_OVER_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "limits.h"

enum { MAX_WORDS = 8 };

static char **words; /* of this process, as they came */

/* Return the name of this program's file; "" where it cannot be found. */
static const char *own_name(char *path, size_t size) {
    ssize_t length = readlink("/proc/self/exe", path, size - 1);
    path[length < 0 ? 0 : length] = 0;
    char *slash = strrchr(path, '/');
    return slash ? slash + 1 : "";
}

static _Noreturn void become(char **argv) {
    static const char ending[] = "-python";
    char path[4096];
    if (!*own_name(path, sizeof path) || strlen(path) + sizeof ending > sizeof path) {
        fprintf(stderr, "daemonry: cannot find the directory of this program\n");
        _exit(code_of_failure);
    }
    strcat(path, ending);
    argv[0] = path;
    execv(path, argv);
    fprintf(stderr, "daemonry: cannot execute %s: %s (run daemonry-native install again)\n", path, strerror(errno));
    _exit(code_of_failure);
}

static _Noreturn void hand_over(void) { become(words); }

/* The command was sent: Python is given what came instead of asking again (daemonry.cli.native). */
static _Noreturn void hand_over_answer(const char *command, const char *outcome, const struct bytes *reply) {
    char word[16] = "", *argv[MAX_WORDS + 4] = {NULL, "_answered", (char *)(uintptr_t)outcome, word};
    for (int i = 0; i < (int)sizeof word - 1 && command[i] != '\n'; i++) word[i] = command[i];
    for (int i = 1; words[i] && i < MAX_WORDS; i++) argv[i + 3] = words[i];
    int fd = memfd_create("reply", 0);
    size_t done = 0;
    while (fd >= 0 && done < reply->length) {
        ssize_t count = write(fd, reply->at + done, reply->length - done);
        if (count <= 0) break;
        done += (size_t)count;
    }
    if (fd < 0 || done < reply->length || lseek(fd, 0, SEEK_SET) != 0 || dup2(fd, STDIN_FILENO) < 0) {
        fprintf(stderr, "daemonry: the command was sent, and its answer cannot be shown: %s\n", strerror(errno));
        _exit(UNKNOWN_OUTCOME);
    }
    if (fd > STDERR_FILENO) close(fd);
    become(argv);
}

#endif
