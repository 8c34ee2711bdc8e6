/* `vx build`, asked of aether as `vx.cli.build` asks it, where the whole answer is that nothing had to be done.
 *
 * Owns its words, the request, and printing the event with which a build ends well.  A build that says or does
 * anything else is Python's, with the connection.
 */
#ifndef DAEMONRY_VX_BUILD_H
#define DAEMONRY_VX_BUILD_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agreed.h"
#include "bytes.h"
#include "frame.h"
#include "hand_over.h"
#include "place.h"
#include "text.h"

enum {
    VX_LAUNCHER = 1,
    MAX_VALUE_CHARS = 32 * 1024, /* build._MAX_VALUE_CHARS */
    MAX_SENT_VARIABLES = 1024,
};

struct vx_build {
    bool release, json, quiet;
};

/* build.parse */
static void take_build_words(int argc, char **argv, struct vx_build *asked) {
    if (argc < 2 || strcmp(argv[1], "build") != 0) hand_over();
    for (int i = 2; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--release") == 0 || strcmp(word, "-r") == 0) asked->release = true;
        else if (strcmp(word, "--json") == 0) asked->json = true;
        else if (strcmp(word, "--quiet") == 0 || strcmp(word, "-q") == 0) asked->quiet = true;
        else if (strcmp(word, "--no-spawn") != 0) hand_over(); /* which changes nothing where aether answers */
    }
}

/* Add NAME=VALUE as a member, if it can be sent. (build._can_be_sent) */
static void add_member(struct bytes *out, const char *variable, bool *is_first) {
    const char *equals = strchr(variable, '=');
    size_t length = strlen(variable), characters;
    if (!equals) return;
    if (equals == variable) hand_over();
    if (!is_utf8(variable, length, NULL)) return;
    is_utf8(equals + 1, strlen(equals + 1), &characters);
    if (characters > MAX_VALUE_CHARS) return;
    char *name = strndup(variable, (size_t)(equals - variable));
    if (!name) hand_over();
    if (!*is_first) add_text(out, ",");
    *is_first = false;
    add_json(out, name);
    add_text(out, ":");
    add_json(out, equals + 1);
    free(name);
}

/* Whether a variable of this name stood before: the first counts. */
static bool is_known(char **upto, const char *variable) {
    size_t length = strcspn(variable, "=") + 1;
    for (char **one = environ; one < upto; one++)
        if (strncmp(*one, variable, length) == 0) return true;
    return false;
}

static void add_environment(struct bytes *out, bool coerced) {
    bool is_first = true;
    add_text(out, "{");
    for (char **variable = environ; *variable; variable++) {
        if (variable - environ == MAX_SENT_VARIABLES) hand_over();
        bool replaced = coerced && strncmp(*variable, "LC_CTYPE=", 9) == 0;
        if (!replaced && !is_known(variable, *variable)) add_member(out, *variable, &is_first);
    }
    if (coerced) add_member(out, "LC_CTYPE=C.UTF-8", &is_first);
    add_text(out, "}");
}

/* build.parameters_of */
static void write_build(struct bytes *out, const struct vx_build *asked, const char *here, const char *version, bool coerced) {
    char number[16];
    mode_t mask = umask(022);
    umask(mask);
    add_text(out, "{\"method\":\"org.daemonry.vx.Aether.Build\",\"parameters\":{\"directory\":");
    add_json(out, here);
    add_text(out, ",\"version\":");
    add_json(out, version);
    add_text(out, ",\"environment\":");
    add_environment(out, coerced);
    snprintf(number, sizeof number, "%u", (unsigned)mask);
    add_text(out, ",\"umask\":");
    add_text(out, number);
    if (asked->release) add_text(out, ",\"release\":true");
    add_text(out, "},\"more\":true}");
    add(out, "", 1);
}

/* vx.home.endpoint */
static void find_aether(struct sockaddr_un *address) {
    char files[MAX_PATH_BYTES];
    int length = find_vx_files("aether", files, sizeof files);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (length < 0 || (size_t)length >= sizeof files || !is_plain_path(files)) hand_over();
    int written = snprintf(address->sun_path, sizeof address->sun_path, "%ssock", files);
    if (written < 0 || (size_t)written >= sizeof address->sun_path) hand_over();
}

/* The number of a field, which is left out where it is 0; -1 for anything else. */
static long long count_of(const struct reply *reply, const char *name) {
    const struct part *value = field_of(reply, name);
    if (!value) return 0;
    return value->kind == '0' && *value->start != '-' ? strtoll(value->start, NULL, 10) : -1;
}

/* build._summary */
static bool add_summary(struct bytes *out, const struct reply *reply) {
    char text[128];
    long long executed = count_of(reply, "executed"), total = count_of(reply, "total");
    long long passed = count_of(reply, "passed"), cached = count_of(reply, "cached"), ms = count_of(reply, "duration_ms");
    if (executed < 0 || total < 0 || passed != 0 || cached < 0 || ms < 0) return false; /* tests are Python's */
    size_t before = out->length;
    if (!add_field(out, reply, "title") || !is_plain(out->at + before, out->length - before)) return false;
    if (executed == 0)
        snprintf(text, sizeof text, ": cached, nothing to build (%lld action%s, %.2f s)\n", total, total == 1 ? "" : "s",
                 (double)ms / 1000);
    else
        snprintf(text, sizeof text, ": built in %.2f s (%lld executed, %lld cached)\n", (double)ms / 1000, executed, cached);
    add_text(out, text);
    return true;
}

/* The lines of the outputs, as paths below the present directory where they are. (build._relative) */
static bool add_outputs(struct bytes *out, const struct reply *reply, const char *here) {
    struct part paths[MAX_KEYS];
    const struct part *outputs = field_of(reply, "outputs");
    size_t above = strlen(here);
    int count = 0;
    if (!outputs) return true;
    if (outputs->kind != '[' || !members_end(outputs->start, 0, NULL, paths, &count)) return false;
    for (int i = 0; i < count; i++) {
        const char *path = paths[i].start + 1;
        size_t length = (size_t)(paths[i].end - paths[i].start) - 2;
        if (paths[i].kind != '"') return false;
        bool below = length > above && memcmp(path, here, above) == 0 && path[above] == '/';
        add_text(out, "  output: ");
        add(out, below ? path + above + 1 : path, below ? length - above - 1 : length);
        add_text(out, "\n");
    }
    return true;
}

/* A member of the object of `--json`, as the event has it or as its default is. */
static bool add_fact(struct bytes *out, const struct reply *reply, const char *name, const char *key, char kind) {
    const struct part *value = field_of(reply, name);
    if (value && value->kind != kind) return false;
    if (value && kind == '"' && !is_plain(value->start, (size_t)(value->end - value->start))) return false;
    if (value && kind == '"' && memchr(value->start, '\\', (size_t)(value->end - value->start))) return false;
    add_text(out, ",\"");
    add_text(out, key);
    add_text(out, "\":");
    if (value) add(out, value->start, (size_t)(value->end - value->start));
    else add_text(out, kind == '"' ? "\"\"" : kind == '[' ? "[]" : "0");
    return true;
}

/* build._fields */
static bool add_facts(struct bytes *out, const struct reply *reply) {
    static const struct { const char *name, *key; char kind; } facts[] = {
        {"title", "project", '"'}, {"total", "total", '0'}, {"cached", "cached", '0'}, {"executed", "executed", '0'},
        {"duration_ms", "duration_ms", '0'}, {"run", "run", '"'}, {"outputs", "outputs", '['},
        {"passed", "passed", '0'}, {"text", "error", '"'},
    };
    add_text(out, "{\"ok\":true");
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        if (!add_fact(out, reply, facts[i].name, facts[i].key, facts[i].kind)) return false;
    add_text(out, "}\n");
    return true;
}

/* build.finished, of a build that ended well; false for anything else. */
static bool show_build(struct bytes *out, const struct vx_build *asked, const struct reply *reply, const char *here) {
    add(out, "", 0);
    if (!field_is(reply, "kind", "\"finished\"") || !field_is(reply, "success", "true")) return false;
    if (asked->json) return add_facts(out, reply);
    return asked->quiet || (add_summary(out, reply) && add_outputs(out, reply, here));
}

static _Noreturn void ask_for_build(int argc, char **argv) {
    struct vx_build asked = {0};
    struct bytes request = {0}, out = {0};
    struct exchange made = {0};
    struct sockaddr_un address;
    char version[MAX_VERSION_CHARS], here[MAX_PATH_BYTES];
    take_build_words(argc, argv, &asked);
    check_surroundings(NULL); /* VX_HOME and its like are `find_vx_files`'s */
    enum locale_kind kind = locale_kind();
    if (kind == IS_OTHER || !getcwd(here, sizeof here) || *here != '/' || !is_plain(here, strlen(here))) hand_over();
    check_agreed("daemonry", LAUNCHER, NULL);
    check_agreed("vx", VX_LAUNCHER, version);
    find_aether(&address);
    write_build(&request, &asked, here, version, kind == IS_COERCED);
    if (!is_replied(&made, &address, &request) || !show_build(&out, &asked, &made.reply, here)) go_on(made.fd, &made.came);
    print_or_go_on(&out, &made.unblocked, made.fd, &made.came);
}

#endif
