/* The other machine that a command line means, in the plain case (`daemonry.cli.hosts.words`). */
#ifndef DAEMONRY_FAR_WORDS_H
#define DAEMONRY_FAR_WORDS_H

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hand_over.h"

enum { MAX_HOST_CHARS = 255 };

struct machine {
    const char *ssh, *remote;      /* $DAEMONRY_SSH and $DAEMONRY_REMOTE, or their defaults */
    char address[MAX_HOST_CHARS + 1]; /* [user@]host */
    char port[6];                  /* "0" for ssh's own choice */
};

/* Read [user@]host[:port] without anything that Python would have to check. */
static bool read_machine(const char *host, struct machine *machine) {
    static const char digits[] = "0123456789";
    const char *colon = strrchr(host, ':');
    size_t length = colon ? (size_t)(colon - host) : strlen(host);
    if (length == 0 || length > MAX_HOST_CHARS || !isalnum((unsigned char)*host)) return false;
    for (size_t i = 0; i < length; i++) {
        bool at_host = host[i] == '@' && i + 1 < length && isalnum((unsigned char)host[i + 1]);
        if (!isalnum((unsigned char)host[i]) && !strchr("-_.", host[i]) && !at_host) return false;
    }
    memcpy(machine->address, host, length);
    strcpy(machine->port, "0");
    if (!colon) return true;
    size_t count = strlen(colon + 1);
    if (count == 0 || count > 5 || strspn(colon + 1, digits) != count || colon[1] == '0') return false;
    strcpy(machine->port, colon + 1);
    return true;
}

static const char *variable_or(const char *name, const char *usual) {
    const char *value = getenv(name);
    return value && *value ? value : usual;
}

/* Take `--host HOST` out of the words; false where no other machine is meant, or an unusual one. */
static bool take_machine(int argc, char **argv, char **rest, int *count, struct machine *machine) {
    const char *host = getenv("DAEMONRY_HOST");
    bool told = false;
    *count = 0;
    if (argc > MAX_WORDS + 2) return false;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--host") == 0 && i > 0) {
            if (told || i + 1 == argc) return false;
            host = argv[++i];
            told = true;
        } else if (strncmp(argv[i], "--host=", 7) == 0 && i > 0) {
            if (told) return false;
            host = argv[i] + 7;
            told = true;
        } else {
            rest[(*count)++] = argv[i];
        }
    }
    rest[*count] = NULL;
    machine->ssh = variable_or("DAEMONRY_SSH", "ssh");
    machine->remote = variable_or("DAEMONRY_REMOTE", "daemonry");
    return host && *host && read_machine(host, machine);
}

#endif
