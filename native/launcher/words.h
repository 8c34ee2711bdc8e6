/* The words of a command line that are understood here, and what each program says about them.
 *
 * Owns the table of programs.  A program is known by the name of this executable; its words for the same
 * commands, and what it prints when they are done, are the program's own.
 */
#ifndef DAEMONRY_WORDS_H
#define DAEMONRY_WORDS_H

#include <stdbool.h>
#include <string.h>

#include "hand_over.h"
#include "limits.h"

struct verb { /* daemonry.wire.text._TABLE */
    const char *words, *line, *done, *so_already, *already;
    bool idempotent;
};

enum { MOST_VERBS = 6 };

/* As the packages of the programs have it. */
enum { PROGRAM_LAUNCHER = 1 };

enum where { OF_A_NAME, IN_VX_HOME };

struct program {
    const char *command, *daemon; /* NULL: a word names the daemon */
    const char *package; /* whose file says that it knows this launcher's copy of its words; NULL for none besides */
    enum where where;
    bool labelled; /* whether status, pause and resume are said as palingenesis says them */
    struct verb verbs[MOST_VERBS];
};

#define PAUSED "ERR: Daemon already paused"
#define NOT_PAUSED "ERR: Daemon is not paused"
#define USUAL_VERBS                                                                  \
    {                                                                                \
        {"status", "STATUS\n", "", "", "", true},                                    \
        {"ping", "PING\n", "answers", "", "", true},                                 \
        {"pause", "PAUSE\n", "paused", PAUSED, "already paused", false},             \
        {"resume", "RESUME\n", "running", NOT_PAUSED, "not paused", false},          \
        {"reload", "RELOAD\n", "reloaded", "", "", false},                           \
        {"stop", "STOP\n", "stopped", "", "", false},                                \
    }

static const struct program PROGRAMS[] = {
    {"daemonry", NULL, NULL, OF_A_NAME, false, USUAL_VERBS},
    {"vx-aether", "aether", "vx", IN_VX_HOME, false, USUAL_VERBS},
    {"vx-cass", "cass", "vx", IN_VX_HOME, false, USUAL_VERBS},
    {"vx-rhea", "rhea", "vx", IN_VX_HOME, false, USUAL_VERBS},
    {"palingenesis", "palingenesis", "palingenesis", OF_A_NAME, true, /* palingenesis.cli, palingenesis.quick */
     {
         {"status", "STATUS\n", "", "", "", true},
         {"daemon status", "STATUS\n", "", "", "", true},
         {"pause", "PAUSE\n", "Monitoring paused", PAUSED, "Already paused", false},
         {"resume", "RESUME\n", "Monitoring resumed", NOT_PAUSED, "Already monitoring", false},
         {"daemon reload", "RELOAD\n", "reloaded", "", "", false},
         {"daemon stop", "STOP\n", "stopped", "", "", false},
     }},
};

struct request {
    const struct program *program;
    const struct verb *verb;
    const char *name;
    bool json;
};

static bool is_name(const char *name) { /* place.check_name, for ASCII */
    size_t length = strlen(name);
    for (const char *at = name; *at; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9');
        if (!letter && (at == name || !strchr("-_.", *at))) return false;
    }
    return length > 0 && length <= MAX_NAME_CHARS && !(length >= 3 && strcmp(name + length - 3, ".py") == 0);
}

/* Whether this word of this many is the next one of a verb. */
static bool follows(const char *verb, const char *said, const char *word) {
    size_t before = strlen(said), length = strlen(word);
    const char *at = verb + before + (before > 0);
    return strncmp(verb, said, before) == 0 && (before == 0 || verb[before] == ' ') && strncmp(at, word, length) == 0 &&
           (at[length] == 0 || at[length] == ' ');
}

/* Take words as a verb's as long as they are; return the verb where it is whole. */
static const struct verb *verb_of(const struct program *program, char said[64], const char *word) {
    for (int i = 0; i < MOST_VERBS; i++) {
        const char *verb = program->verbs[i].words;
        if (strlen(word) > 32 || !follows(verb, said, word)) continue;
        if (*said) strcat(said, " ");
        strcat(said, word);
        break;
    }
    for (int i = 0; i < MOST_VERBS; i++)
        if (strcmp(program->verbs[i].words, said) == 0) return &program->verbs[i];
    return NULL;
}

static bool understand(int argc, char **argv, struct request *request) {
    char path[4096], said[64] = "";
    const char *own = own_name(path, sizeof path);
    for (size_t i = 0; i < sizeof PROGRAMS / sizeof *PROGRAMS; i++)
        if (strcmp(PROGRAMS[i].command, own) == 0) request->program = &PROGRAMS[i];
    if (!request->program || argc < 2 || argc > MAX_WORDS) return false;
    request->name = request->program->daemon;
    bool named = request->name != NULL;
    for (int i = 1; i < argc; i++) {
        size_t before = strlen(said);
        if (strcmp(argv[i], "--json") == 0 && !request->json && (i > 1 || request->program->labelled)) {
            request->json = true;
        } else if (!request->verb) {
            request->verb = verb_of(request->program, said, argv[i]);
            if (strlen(said) == before) return false;
        } else if (!named) {
            request->name = argv[i];
            named = true;
        } else {
            return false;
        }
    }
    return request->verb && named && is_name(request->name);
}

#endif
