/* One line to a daemon, and the line that it answers. */
#ifndef DAEMONRY_EXCHANGE_H
#define DAEMONRY_EXCHANGE_H

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "hand_over.h"
#include "limits.h"

static long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static int connected(const struct sockaddr_un *address) {
    struct ucred whose;
    socklen_t size = sizeof whose;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) != 0) hand_over();
    /* unix_connect._check_whose */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &whose, &size) != 0) hand_over();
    if (whose.uid != geteuid() && whose.uid != 0) hand_over();
    return fd;
}

/* Read to the end of the line; return "reply", or "lost" or "late" where none came. */
static const char *read_line(int fd, long long until_ms, struct bytes *reply) {
    char piece[65536];
    for (;;) {
        long long left_ms = until_ms - now_ms();
        struct pollfd waited = {.fd = fd, .events = POLLIN};
        int ready = left_ms > 0 ? poll(&waited, 1, (int)left_ms) : 0;
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return "late";
        ssize_t count = recv(fd, piece, sizeof piece, MSG_DONTWAIT);
        if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (count <= 0) return "lost";
        add(reply, piece, (size_t)count);
        if (memchr(piece, '\n', (size_t)count)) return "reply";
        if (reply->length > MAX_REPLY_BYTES) return "reply"; /* without its end, which Python refuses */
    }
}

#endif
