/* Waiting for a daemon that took STOP, as `daemonry.launch.stop` waits: gone means that its life lock is free. */
#ifndef DAEMONRY_STOPPING_H
#define DAEMONRY_STOPPING_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "exchange.h"
#include "limits.h"
#include "place.h"

/* Then Python goes on waiting; after a second it tells what the daemon is held up by. */
enum { QUIET_STOP_MS = 300 };

static bool is_free(const char *path) { /* lock.is_held */
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    struct stat found;
    if (fd < 0) return errno == ENOENT || errno == ENOTDIR;
    bool free_now = fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && flock(fd, LOCK_SH | LOCK_NB) == 0;
    close(fd);
    return free_now;
}

/* Whether the daemon was seen to be gone, and to have left nothing that is to be told. */
static bool is_gone(const struct place *place) {
    char path[MAX_PATH_BYTES + 16];
    long delay_ms = LOCK_RETRY_FIRST_MS;
    long long until_ms = now_ms() + QUIET_STOP_MS;
    snprintf(path, sizeof path, "%slock", place->files);
    while (!is_free(path)) {
        if (now_ms() >= until_ms) return false;
        struct timespec pause = {.tv_nsec = delay_ms * 1000000};
        nanosleep(&pause, NULL);
        delay_ms = 2 * delay_ms < LOCK_RETRY_MAX_MS ? 2 * delay_ms : LOCK_RETRY_MAX_MS;
    }
    /* crash_report.note_if_crashed */
    snprintf(path, sizeof path, "%scrash.note", place->files);
    if (access(path, F_OK) == 0) return false;
    snprintf(path, sizeof path, "%sjson", place->files);
    return access(path, F_OK) != 0 && errno == ENOENT;
}

#endif
