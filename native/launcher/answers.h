/* What is printed of a plain answer, as `daemonry.cli.kit` and `palingenesis.quick` print it, to the byte.
 *
 * Where a line here follows a line there, the name of that function stands beside it.  A function that
 * returns has printed nothing: the answer is not plain.
 */
#ifndef DAEMONRY_ANSWERS_H
#define DAEMONRY_ANSWERS_H

#include <stdbool.h>
#include <string.h>

#include "bytes.h"
#include "place.h"
#include "plain_json.h"
#include "printing.h"
#include "words.h"

static void add_part(struct bytes *out, const struct part *text) { /* without its quotes */
    add(out, text->start + 1, (size_t)(text->end - text->start) - 2);
}

static bool is_number(const struct part *value) { return value->kind == '0' || value->kind == '.'; }

/* kit._say_status */
static void print_status(const char *name, const struct part *keys, const struct part *values, int count) {
    struct bytes out = {0};
    int state = member(keys, count, "state");
    if (state >= 0 && values[state].kind != '"') return;
    add_text(&out, name);
    add_text(&out, ": ");
    if (state >= 0)
        add_state(&out, values[state].start + 1, (size_t)(values[state].end - values[state].start) - 2);
    else
        add_state(&out, "serving", 7);
    add_text(&out, "\n");
    for (int i = 0; i < count; i++) {
        if (i == state) continue;
        add_text(&out, "  ");
        if (is_key(&keys[i], "uptime_secs") && is_number(&values[i])) {
            if (*values[i].start == '-') return;
            add_text(&out, "uptime: ");
            add_span(&out, &values[i]);
        } else {
            add_part(&out, &keys[i]);
            add_text(&out, ": ");
            if (!add_value(&out, &values[i])) return;
        }
        add_text(&out, "\n");
    }
    print_and_leave(&out);
}

/* palingenesis.quick._say_status */
static void print_labelled(const char *pid, const struct part *keys, const struct part *values, int count) {
    static const struct { const char *key, *label; } labels[] = {
        {"current_session", "Current session"}, {"saves_count", "Saves"}, {"total_resumes", "Total resumes"},
    };
    struct bytes out = {0};
    int state = member(keys, count, "state"), uptime = member(keys, count, "uptime_secs");
    if (state < 0 || uptime < 0 || !*pid) return;
    if (!is_number(&values[uptime]) || *values[uptime].start == '-') return;
    add_text(&out, "State: ");
    if (!add_value(&out, &values[state])) return;
    add_text(&out, "\nPID: ");
    add_text(&out, pid);
    add_text(&out, "\nUptime: ");
    add_span(&out, &values[uptime]);
    for (int i = 0; i < count; i++) {
        if (i == state || i == uptime) continue;
        const char *label = NULL;
        for (size_t j = 0; j < sizeof labels / sizeof *labels; j++)
            if (is_key(&keys[i], labels[j].key)) label = labels[j].label;
        add_text(&out, "\n");
        if (label)
            add_text(&out, label);
        else
            add_part(&out, &keys[i]);
        add_text(&out, ": ");
        if (!add_value(&out, &values[i])) return;
    }
    add_text(&out, "\n");
    print_and_leave(&out);
}

/* Print a status; palingenesis puts the record's process id into it. */
static void print_fields(const struct request *request, const char *pid, const struct bytes *line) {
    struct part keys[MAX_KEYS], values[MAX_KEYS];
    struct bytes out = {0};
    int count;
    bool labelled = request->program->labelled;
    if (!object(line->at, line->length, keys, values, &count)) return;
    if (!request->json) {
        if (labelled)
            print_labelled(pid, keys, values, count);
        else
            print_status(request->name, keys, values, count);
        return;
    }
    add(&out, line->at, line->length);
    if (labelled) {
        if (member(keys, count, "pid") >= 0 || !count || !*pid) return;
        out.length--; /* the brace */
        add_text(&out, ",\"pid\":");
        add_text(&out, pid);
        add_text(&out, "}");
    }
    add_text(&out, "\n");
    print_and_leave(&out);
}

/* kit._done, palingenesis.quick._command */
static _Noreturn void print_done(const struct request *request, const char *what, const char *note) {
    struct bytes out = {0};
    bool bare = request->program->labelled && !strchr(request->verb->words, ' ');
    if (bare) note = "";
    if (request->json) {
        add_text(&out, "{\"ok\":true,\"name\":\"");
        add_text(&out, request->name);
        add_text(&out, "\",\"result\":\"");
        add_text(&out, what);
        if (*note) {
            add_text(&out, "\",\"note\":\"");
            add_text(&out, note);
        }
        add_text(&out, "\"}\n");
    } else {
        if (!bare) {
            add_text(&out, request->name);
            add_text(&out, ": ");
        }
        add_text(&out, what);
        add_text(&out, "\n");
        if (*note) {
            add_text(&out, "  ");
            add_text(&out, note);
            add_text(&out, "\n");
        }
    }
    print_and_leave(&out);
}

static bool is_verb(const struct request *request, const char *line) { return strcmp(request->verb->line, line) == 0; }

/* Print a reply that is plain. */
static void print_plain(const struct request *request, const char *pid, struct bytes *reply) {
    const struct verb *verb = request->verb;
    if (memchr(reply->at, '\n', reply->length) != reply->at + reply->length - 1) return;
    reply->at[--reply->length] = 0;
    const char *line = reply->at;
    if (!is_plain(line, reply->length)) {
    } else if (is_verb(request, "STATUS\n")) {
        print_fields(request, pid, reply);
    } else if (is_verb(request, "PING\n")) {
        if (strcmp(line, "PONG") == 0) print_done(request, verb->done, "");
    } else if (strcmp(line, "OK") == 0) {
        print_done(request, verb->done, "");
    } else if (*verb->so_already && strcmp(line, verb->so_already) == 0) {
        print_done(request, verb->already, "");
    } else if (strncmp(line, "OK: ", 4) == 0 && line[4] && !strpbrk(line, "\"\\")) {
        print_done(request, verb->done, line + 4);
    }
    reply->at[reply->length++] = '\n';
}

#endif
