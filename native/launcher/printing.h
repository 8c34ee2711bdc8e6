/* What `daemonry.cli.output` prints: states, values, lengths of time. */
#ifndef DAEMONRY_PRINTING_H
#define DAEMONRY_PRINTING_H

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "limits.h"
#include "plain_json.h"

static _Noreturn void print_and_leave(const struct bytes *out) {
    struct sigaction ignored = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignored, NULL);
    for (size_t done = 0; done < out->length;) {
        ssize_t count = write(STDOUT_FILENO, out->at + done, out->length - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == EPIPE) _exit(READER_GONE);
        if (count < 0) { /* output._unwritable */
            fprintf(stderr, "cannot write the output: %s\n", strerror(errno));
            _exit(FAILED);
        }
        done += (size_t)count;
    }
    _exit(DONE);
}

static bool wants_colour(void) { /* output.wants_colour */
    const char *none = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(none && *none) && !(terminal && strcmp(terminal, "dumb") == 0);
}

static void add_state(struct bytes *out, const char *state, size_t length) { /* output.state */
    static const struct { const char *state, *style; } styles[] = {
        {"running", "32"}, {"serving", "32"}, {"ready", "32"}, {"paused", "33"}, {"starting", "33"},
        {"draining", "33"}, {"waiting", "33"}, {"restarting", "33"}, {"stopping", "33"}, {"failed", "31"},
        {"done", "2"}, {"stopped", "2"},
    };
    const char *style = "1";
    for (size_t i = 0; i < sizeof styles / sizeof *styles; i++)
        if (strlen(styles[i].state) == length && memcmp(styles[i].state, state, length) == 0) style = styles[i].style;
    if (wants_colour()) {
        add_text(out, "\x1b[");
        add_text(out, style);
        add_text(out, "m");
        add(out, state, length);
        add_text(out, "\x1b[0m");
    } else {
        add(out, state, length);
    }
}

static bool add_value(struct bytes *out, const struct part *value) { /* output.value */
    struct part items[MAX_KEYS];
    int count;
    switch (value->kind) {
        case '"': add(out, value->start + 1, (size_t)(value->end - value->start) - 2); return true;
        case 't': add_text(out, "yes"); return true;
        case 'f': add_text(out, "no"); return true;
        case 'n': add_text(out, "-"); return true;
        case '[':
            members_end(value->start, 0, NULL, items, &count);
            for (int i = 0; i < count; i++) {
                if (i) add_text(out, ", ");
                if (!add_value(out, &items[i])) return false;
            }
            if (!count) add_text(out, "-");
            return true;
        default: add(out, value->start, (size_t)(value->end - value->start)); return true;
    }
}

static void add_span(struct bytes *out, const struct part *value) { /* output.span */
    static const struct { long long unit_s; const char *unit; long long lower_s; const char *lower; } units[] = {
        {86400, "d", 3600, "h"}, {3600, "h", 60, "m"}, {60, "m", 1, "s"},
    };
    long long whole = strtoll(value->start, NULL, 10);
    char text[64];
    snprintf(text, sizeof text, "%llds", whole);
    for (int i = 0; i < 3; i++)
        if (whole >= units[i].unit_s) {
            snprintf(text, sizeof text, "%lld%s %lld%s", whole / units[i].unit_s, units[i].unit,
                     whole % units[i].unit_s / units[i].lower_s, units[i].lower);
            break;
        }
    add_text(out, text);
}

#endif
