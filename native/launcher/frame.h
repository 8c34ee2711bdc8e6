/* One call of a method that answers in several replies: sent, and its first reply read.
 *
 * Owns the exchange and the shape of a reply.  Whatever comes besides one plain reply goes to Python with the
 * connection (`go_on`), which continues as if it had sent the call (`daemonry.cli.native.continued`).
 */
#ifndef DAEMONRY_FRAME_H
#define DAEMONRY_FRAME_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "exchange.h"
#include "hand_over.h"
#include "limits.h"
#include "plain_json.h"
#include "printing.h"
#include "text.h"

enum {
    /* A call that a socket takes at once; a longer one is Python's. */
    MAX_CALL_BYTES = 1 << 16,
    /* A reply that is longer is Python's. */
    MAX_FIRST_REPLY_BYTES = 1 << 18,
    /* Python notices a daemon that hangs after ten seconds without a word. */
    PATIENCE_MS = 2000,
    MAX_FIELDS = 24,
};

/* A field of a reply: a string with escapes, or a value as `plain_json.h` has it. */
struct field {
    struct part key, value;
};

struct reply {
    struct field fields[MAX_FIELDS];
    int count;
};

static volatile sig_atomic_t was_interrupted;

static void note_interrupt(int number) {
    (void)number;
    was_interrupted = 1;
}

static bool catches; /* whether Ctrl-C is not ignored */

/* Have Ctrl-C be noted while a reply is waited for, and stay pending for Python at any other time. */
static void hold_interrupts(sigset_t *unblocked) {
    struct sigaction before, ours = {.sa_handler = note_interrupt};
    sigset_t interrupts;
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupts, unblocked);
    catches = sigaction(SIGINT, NULL, &before) == 0 && before.sa_handler != SIG_IGN;
    if (catches) sigaction(SIGINT, &ours, NULL);
}

static void end_interrupted(int number) {
    (void)number;
    _exit(INTERRUPTED);
}

/* The call was sent: Python goes on with the connection, and sends it no more. */
static _Noreturn void go_on(int fd, const struct bytes *came) {
    static char connection[16], early[16];
    size_t count = 0, done = 0;
    while (words[count]) count++;
    char **argv = calloc(count + 4, sizeof *argv);
    int file = memfd_create("came", 0);
    while (argv && file >= 0 && done < came->length) {
        ssize_t written = write(file, came->at + done, came->length - done);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) break;
        done += (size_t)written;
    }
    bool good = argv && file >= 0 && done == came->length && lseek(file, 0, SEEK_SET) == 0;
    if (!good || fcntl(fd, F_SETFD, 0) != 0) {
        fprintf(stderr, "daemonry: the call was sent, and its answer cannot be shown: %s\n", strerror(errno));
        _exit(UNKNOWN_OUTCOME);
    }
    snprintf(connection, sizeof connection, "%d", fd);
    snprintf(early, sizeof early, "%d", file);
    argv[1] = "_continued";
    argv[2] = connection;
    argv[3] = early;
    for (size_t i = 1; i < count; i++) argv[i + 3] = words[i];
    sigset_t interrupts;
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupts, NULL);
    if (was_interrupted) raise(SIGINT); /* blocked, and so Python's */
    become(argv);
}

/* Print all of a text and leave; of what cannot be written at all, and of Ctrl-C before that, Python says so. */
static _Noreturn void print_or_go_on(const struct bytes *out, const sigset_t *unblocked, int fd, const struct bytes *came) {
    struct sigaction ignored = {.sa_handler = SIG_IGN}, ours = {.sa_handler = end_interrupted}, before;
    sigaction(SIGPIPE, &ignored, &before);
    sigprocmask(SIG_SETMASK, unblocked, NULL);
    ssize_t count = was_interrupted ? -1 : 0;
    while (!was_interrupted && out->length) {
        count = write(STDOUT_FILENO, out->at, out->length);
        if (count >= 0 || errno != EINTR) break;
    }
    if (count < 0) {
        sigaction(SIGPIPE, &before, NULL);
        go_on(fd, came);
    }
    if (catches) sigaction(SIGINT, &ours, NULL);
    struct bytes rest = {out->at + count, out->length - (size_t)count, 0};
    print_and_leave(&rest);
}

/* Read to the end of the first reply, and return its length; what is late, lost or long is Python's. */
static size_t read_reply(int fd, const sigset_t *unblocked, struct bytes *came) {
    char piece[65536];
    long long until_ms = now_ms() + PATIENCE_MS;
    for (;;) {
        long long left_ms = until_ms - now_ms();
        if (left_ms <= 0 || was_interrupted) go_on(fd, came);
        struct pollfd waited = {.fd = fd, .events = POLLIN};
        struct timespec left = {.tv_sec = left_ms / 1000, .tv_nsec = left_ms % 1000 * 1000000};
        int ready = ppoll(&waited, 1, &left, unblocked);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) go_on(fd, came);
        ssize_t count = recv(fd, piece, sizeof piece, MSG_DONTWAIT);
        if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (count <= 0) go_on(fd, came);
        size_t before = came->length;
        add(came, piece, (size_t)count);
        const char *end = memchr(came->at + before, 0, (size_t)count);
        if (end) return (size_t)(end - came->at);
        if (came->length > MAX_FIRST_REPLY_BYTES) go_on(fd, came);
    }
}

/* Send a call, which ends with its NUL; what is not sent whole never runs, and is Python's from the beginning. */
static void send_call(int fd, const struct bytes *call, const sigset_t *unblocked) {
    ssize_t sent = send(fd, call->at, call->length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent == (ssize_t)call->length) {
        code_of_failure = UNKNOWN_OUTCOME;
        return;
    }
    close(fd);
    struct sigaction usual = {.sa_handler = SIG_DFL};
    if (catches) sigaction(SIGINT, &usual, NULL); /* one that came meanwhile ends this, as it does while Python starts */
    sigprocmask(SIG_SETMASK, unblocked, NULL);
    hand_over();
}

/* Read one value of a reply. */
static const char *field_end(const char *at, const char *end, struct field *field) {
    if (at < end && *at == '"') {
        field->value = (struct part){'"', at, string_of(at, end, NULL)};
        return field->value.end;
    }
    return value_at(at, 1, &field->value) ? field->value.end : NULL;
}

static bool is_repeated(const struct reply *reply, const struct part *key) {
    size_t length = (size_t)(key->end - key->start);
    for (int i = 0; i < reply->count; i++) {
        const struct part *other = &reply->fields[i].key;
        if ((size_t)(other->end - other->start) == length && memcmp(other->start, key->start, length) == 0) return true;
    }
    return false;
}

/* Understand `{"parameters":{...},"continues":true}`, in this order, the last of them perhaps not there. */
static bool parameters_of(const char *text, size_t length, struct reply *reply) {
    static const char start[] = "{\"parameters\":{";
    const char *end = text + length, *at = text + sizeof start - 1;
    reply->count = 0;
    if (length < sizeof start || memcmp(text, start, sizeof start - 1) != 0) return false;
    for (;; at++) {
        if (reply->count == MAX_FIELDS) return false;
        struct field *field = &reply->fields[reply->count];
        const char *key_end = *at == '"' ? string_end(at) : NULL;
        if (!key_end || *key_end != ':') return false;
        field->key = (struct part){'"', at, key_end};
        if (is_repeated(reply, &field->key)) return false;
        at = field_end(key_end + 1, end, field);
        if (!at) return false;
        reply->count++;
        if (*at != ',') break;
    }
    static const char more[] = "},\"continues\":true}", last[] = "}}";
    size_t left = (size_t)(end - at);
    return (left == sizeof more - 1 && memcmp(at, more, left) == 0) ||
           (left == sizeof last - 1 && memcmp(at, last, left) == 0);
}

static const struct part *field_of(const struct reply *reply, const char *name) {
    for (int i = 0; i < reply->count; i++)
        if (is_key(&reply->fields[i].key, name)) return &reply->fields[i].value;
    return NULL;
}

/* Add the text of a string field; nothing for one that is not there.  False where it is no string. */
static bool add_field(struct bytes *out, const struct reply *reply, const char *name) {
    const struct part *value = field_of(reply, name);
    add(out, "", 0);
    return !value || (value->kind == '"' && string_of(value->start, value->end, out) == value->end);
}

static bool field_is(const struct reply *reply, const char *name, const char *json) {
    const struct part *value = field_of(reply, name);
    size_t length = strlen(json);
    return value && (size_t)(value->end - value->start) == length && memcmp(value->start, json, length) == 0;
}

/* A call, what came of it, and what its first reply says. */
struct exchange {
    int fd;
    sigset_t unblocked;
    struct bytes came;
    struct reply reply;
};

/* Send a call, which ends with its NUL; false where its first reply is Python's to understand. */
static bool is_replied(struct exchange *made, const struct sockaddr_un *address, const struct bytes *call) {
    if (call->length > MAX_CALL_BYTES) hand_over();
    made->fd = connected(address);
    hold_interrupts(&made->unblocked);
    send_call(made->fd, call, &made->unblocked);
    add(&made->came, "", 0);
    size_t length = read_reply(made->fd, &made->unblocked, &made->came);
    return parameters_of(made->came.at, length, &made->reply);
}

#endif
