/* What a dial told of a daemon on another machine, and the connection that ssh keeps (`daemonry.transport.ssh_note`).
 *
 * Owns finding the file and the control socket.  What does not count any more, or is of another version, is
 * Python's.
 */
#ifndef DAEMONRY_FAR_NOTE_H
#define DAEMONRY_FAR_NOTE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "far_words.h"
#include "limits.h"

enum { MAX_NOTE_BYTES = 1 << 13, NOTE_COUNTS_S = 60, NOTE_FIELDS = 10, ABOUT = 5, MAX_DIRECTORY_BYTES = 34 };

struct far_note {
    char directory[MAX_DIRECTORY_BYTES + 1]; /* of the control sockets */
    struct sockaddr_un master;
    struct bytes text; /* the fields point into it */
    const char *pid, *differs, *path; /* differs: names with commas between them; "-" for none */
};

static bool is_ours_alone(const char *path) { /* place._is_private, private_dir.ensure_private */
    struct stat found;
    return lstat(path, &found) == 0 && S_ISDIR(found.st_mode) && !(found.st_mode & 077) && found.st_uid == geteuid();
}

/* place.runtime_dir("daemonry"), and that it has room for a control socket's name (ssh._ControlPlace). */
static bool find_directory(char directory[MAX_DIRECTORY_BYTES + 1]) {
    char usual[32];
    const char *base = getenv("XDG_RUNTIME_DIR");
    int length = 0, written;
    if (base && *base == '/' && is_ours_alone(base)) {
        length = (int)strlen(base);
        while (length && base[length - 1] == '/') length--;
    } else {
        length = snprintf(usual, sizeof usual, "/run/user/%u", (unsigned)geteuid());
        base = usual;
    }
    if (base != usual || is_ours_alone(usual))
        written = snprintf(directory, MAX_DIRECTORY_BYTES + 1, "%.*s/daemonry", length, base);
    else
        written = snprintf(directory, MAX_DIRECTORY_BYTES + 1, "/tmp/daemonry-%u", (unsigned)geteuid());
    return written > 0 && written <= MAX_DIRECTORY_BYTES && is_ours_alone(directory);
}

/* Add a word to the number of a tag, which is that of all words with NUL between them (ssh_note.tag). */
static uint32_t tagged(uint32_t number, const char *word, bool first) {
    if (!first) number = (uint32_t)(((uint64_t)number << 8) % 16777213u);
    for (; *word; word++) number = (uint32_t)((((uint64_t)number << 8) | (unsigned char)*word) % 16777213u);
    return number;
}

static uint32_t tag_of(const char *const those[ABOUT]) {
    uint32_t number = 0;
    for (int i = 0; i < ABOUT; i++) number = tagged(number, those[i], i == 0);
    return number;
}

/* Return the fields of the file, which has NUL between them; false for another number. */
static bool split(const struct bytes *text, char *fields[NOTE_FIELDS]) {
    int count = 0;
    char *at = text->at, *end = text->at + text->length;
    while (at <= end) { /* `add` has put a NUL behind the last one */
        if (count == NOTE_FIELDS) return false;
        fields[count++] = at;
        at += strlen(at) + 1;
    }
    return count == NOTE_FIELDS;
}

static bool are_names(const char *text) { /* "?" where nobody has looked */
    if (strcmp(text, "-") == 0) return true;
    for (const char *at = text; *at; at++)
        if (!isalnum((unsigned char)*at) && *at != '_' && *at != ',') return false;
    return *text != 0;
}

/* Read `VERSION PID DIFFERS unix:/path`, in place: of the version that wrote the note. */
static bool read_told(struct far_note *note, const char *form, char *told) {
    char *pid = strchr(told, ' '), *differs = pid ? strchr(pid + 1, ' ') : NULL;
    char *place = differs ? strchr(differs + 1, ' ') : NULL;
    if (!place || strncmp(form, "2 ", 2) != 0) return false;
    *pid++ = *differs++ = *place++ = 0;
    if (strcmp(form + 2, told) != 0 || !are_names(differs) || strncmp(place, "unix:/", 6) != 0) return false;
    size_t digits = strlen(pid);
    if (!digits || digits > 10 || *pid == '0' || strspn(pid, "0123456789") != digits) return false;
    note->pid = pid;
    note->differs = differs;
    note->path = place + 5;
    return true;
}

/* Whether the control socket is still the one that the dial went through. */
static bool find_master(struct far_note *note, const char *name, const char *identity) {
    char own[64];
    struct stat found;
    memset(&note->master, 0, sizeof note->master);
    note->master.sun_family = AF_UNIX;
    int written = snprintf(note->master.sun_path, sizeof note->master.sun_path, "%s/%s", note->directory, name);
    if (written < 0 || (size_t)written >= sizeof note->master.sun_path || strchr(name, '/')) return false;
    if (lstat(note->master.sun_path, &found) != 0) return false;
    long long changed_ns = (long long)found.st_ctim.tv_sec * 1000000000 + found.st_ctim.tv_nsec;
    snprintf(own, sizeof own, "%llu:%lld", (unsigned long long)found.st_ino, changed_ns);
    return strcmp(own, identity) == 0;
}

/* Find what a dial told of a daemon, if it counts. */
static bool read_note(struct far_note *note, const struct machine *machine, const char *daemon) {
    const char *const about[ABOUT] = {machine->ssh, machine->address, machine->port, machine->remote, daemon};
    char *fields[NOTE_FIELDS], path[MAX_DIRECTORY_BYTES + 32];
    struct stat found;
    if (!find_directory(note->directory)) return false;
    snprintf(path, sizeof path, "%s/far-%06x", note->directory, (unsigned)tag_of(about));
    if (stat(path, &found) != 0) return false;
    double old_s = difftime(time(NULL), found.st_mtim.tv_sec);
    if (old_s < 0 || old_s >= NOTE_COUNTS_S || !read_file(path, MAX_NOTE_BYTES, &note->text)) return false;
    if (!split(&note->text, fields)) return false;
    char *form = fields[0], *master = fields[1], *identity = fields[2], *refusals = fields[3], *told = fields[4];
    for (int i = 0; i < ABOUT; i++)
        if (strcmp(fields[NOTE_FIELDS - ABOUT + i], about[i]) != 0) return false;
    return strcmp(refusals, "0") == 0 && find_master(note, master, identity) && read_told(note, form, told);
}

#endif
