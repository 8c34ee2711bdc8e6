/* `status` of a daemon on another machine, through the connection that ssh keeps (`daemonry.cli.hosts.through`).
 *
 *     daemonry --host HOST status NAME [--json]
 *
 * Owns the exchange with ssh's control socket (OpenSSH's PROTOCOL.mux; `daemonry.transport.ssh_mux`): it is asked
 * to listen at a path of ours, and passes one connection on to the daemon's socket there.  The question changes
 * nothing, so that whatever fails is Python's as it came: it asks again, or dials.
 */
#ifndef DAEMONRY_FAR_H
#define DAEMONRY_FAR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "answers.h"
#include "bytes.h"
#include "exchange.h"
#include "far_note.h"
#include "far_words.h"
#include "hand_over.h"
#include "limits.h"
#include "plain_json.h"
#include "words.h"

/* As in daemonry/transport/ssh_socket.py, and ssh_mux.py. */
enum { FAR_PATIENCE_MS = 1000, MAX_MUX_BYTES = 1 << 12 };
#define MUX_HELLO 0x00000001u
#define MUX_VERSION 4u
#define MUX_OPEN 0x10000006u
#define MUX_CLOSE 0x10000007u
#define MUX_OK 0x80000001u
#define MUX_LOCAL 1u
#define MUX_PATH 0xFFFFFFFEu
#define MUX_REQUEST 1u

static void add_number(struct bytes *to, uint32_t value) {
    const unsigned char four[4] = {(unsigned char)(value >> 24), (unsigned char)(value >> 16),
                                   (unsigned char)(value >> 8), (unsigned char)value};
    add(to, (const char *)four, sizeof four);
}

static uint32_t number_at(const char *at) {
    const unsigned char *four = (const unsigned char *)at;
    return (uint32_t)four[0] << 24 | (uint32_t)four[1] << 16 | (uint32_t)four[2] << 8 | four[3];
}

static void add_place(struct bytes *to, const char *path) {
    add_number(to, (uint32_t)strlen(path));
    add_text(to, path);
    add_number(to, MUX_PATH);
}

static bool send_packet(int fd, const struct bytes *content) {
    struct bytes packet = {0};
    add_number(&packet, (uint32_t)content->length);
    add(&packet, content->at, content->length);
    bool whole = send(fd, packet.at, packet.length, MSG_NOSIGNAL) == (ssize_t)packet.length;
    free(packet.at);
    return whole;
}

static bool read_exactly(int fd, char *into, size_t length, long long until_ms) {
    for (size_t done = 0; done < length;) {
        long long left_ms = until_ms - now_ms();
        struct pollfd waited = {.fd = fd, .events = POLLIN};
        int ready = left_ms > 0 ? poll(&waited, 1, (int)left_ms) : 0;
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return false;
        ssize_t count = recv(fd, into + done, length - done, MSG_DONTWAIT);
        if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (count <= 0) return false;
        done += (size_t)count;
    }
    return true;
}

/* Read a packet, and say whether it begins with these two numbers. */
static bool is_answered(int fd, uint32_t kind, uint32_t number, long long until_ms) {
    char head[4], content[MAX_MUX_BYTES];
    if (!read_exactly(fd, head, sizeof head, until_ms)) return false;
    size_t length = number_at(head);
    if (length < 8 || length > sizeof content || !read_exactly(fd, content, length, until_ms)) return false;
    return number_at(content) == kind && number_at(content + 4) == number;
}

static bool is_greeted(int fd, long long until_ms) {
    struct bytes hello = {0};
    add_number(&hello, MUX_HELLO);
    add_number(&hello, MUX_VERSION);
    return send_packet(fd, &hello) && is_answered(fd, MUX_HELLO, MUX_VERSION, until_ms);
}

static bool is_forwarded(int fd, uint32_t what, const char *here, const char *there, long long until_ms) {
    struct bytes request = {0};
    add_number(&request, what);
    add_number(&request, MUX_REQUEST);
    add_number(&request, MUX_LOCAL);
    add_place(&request, here);
    add_place(&request, there);
    return send_packet(fd, &request) && is_answered(fd, MUX_OK, MUX_REQUEST, until_ms);
}

static int connected_to(const struct sockaddr_un *address) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

/* Ask through a path that is forwarded. */
static bool is_asked(const struct sockaddr_un *here, const char *line, long long until_ms, struct bytes *reply) {
    int fd = connected_to(here);
    if (fd < 0) return false;
    bool answered = send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line) &&
                    strcmp(read_line(fd, until_ms, reply), "reply") == 0;
    close(fd);
    return answered;
}

/* Have a line asked at the daemon's socket there; false where no answer came. */
static bool is_told(const struct far_note *note, const char *line, struct bytes *reply) {
    long long until_ms = now_ms() + FAR_PATIENCE_MS;
    struct sockaddr_un here = {.sun_family = AF_UNIX};
    snprintf(here.sun_path, sizeof here.sun_path, "%s/to-%ld-0", note->directory, (long)getpid());
    int master = connected_to(&note->master);
    if (master < 0) return false;
    bool told = false;
    if (is_greeted(master, until_ms) && is_forwarded(master, MUX_OPEN, here.sun_path, note->path, until_ms)) {
        told = is_asked(&here, line, until_ms, reply);
        unlink(here.sun_path);
        is_forwarded(master, MUX_CLOSE, here.sun_path, note->path, until_ms);
    }
    close(master);
    return told;
}

/* Add the variables that differ there to an answer, as kit._status does before it prints. */
static void add_differs(struct bytes *reply, const char *names) {
    static const char key[] = ",\"environment_differs\":[\"", between[] = "\",\"";
    if (strcmp(names, "-") == 0) return;
    reply->length -= 2; /* the brace, and the end of the line */
    add_text(reply, key);
    for (const char *at = names; *at; at++) {
        if (*at == ',')
            add_text(reply, between);
        else
            add(reply, at, 1);
    }
    add_text(reply, "\"]}\n");
}

/* Whether the process that the note tells of has answered, and not its successor. */
static bool is_by(const char *pid, struct bytes *reply) {
    struct part keys[MAX_KEYS], values[MAX_KEYS];
    int count;
    if (!reply->length || reply->at[reply->length - 1] != '\n') return false;
    reply->at[reply->length - 1] = 0;
    bool understood = object(reply->at, reply->length - 1, keys, values, &count);
    reply->at[reply->length - 1] = '\n';
    if (!understood || member(keys, count, "environment_differs") >= 0) return false;
    int at = member(keys, count, "pid");
    return at >= 0 && (size_t)(values[at].end - values[at].start) == strlen(pid) &&
           strncmp(values[at].start, pid, strlen(pid)) == 0;
}

/* Whether only variables are set that change nothing here, or that are looked at. */
static bool is_usual_for_far(void) {
    static const char *const known[] = {"DAEMONRY_SSH=", "DAEMONRY_REMOTE=", "DAEMONRY_HOST="};
    for (char **variable = environ; *variable; variable++) {
        bool looked_at = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            looked_at = looked_at || strncmp(*variable, known[i], strlen(known[i])) == 0;
        if (!looked_at && is_unusual(*variable)) return false;
    }
    return true;
}

/* Print the status that another machine's daemon tells, and leave; return where that is Python's. */
static void tell_far_status(int argc, char **argv) {
    struct request request = {0};
    struct machine machine;
    struct far_note note = {.pid = NULL};
    struct bytes reply = {0};
    char *rest[MAX_WORDS + 3];
    int count;
    if (!take_machine(argc, argv, rest, &count, &machine) || !understand(count, rest, &request)) return;
    if (request.program->daemon || !is_verb(&request, "STATUS\n") || !is_usual_for_far()) return;
    if (getuid() != geteuid() || getgid() != getegid()) return;
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0) return;
    check_agreed("daemonry", LAUNCHER, NULL);
    if (!read_note(&note, &machine, request.name)) return;
    add(&reply, "", 0);
    if (!is_told(&note, request.verb->line, &reply) || !is_by(note.pid, &reply)) return;
    add_differs(&reply, note.differs);
    print_plain(&request, "", &reply);
}

#endif
