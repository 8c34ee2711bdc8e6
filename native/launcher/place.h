/* Where a daemon's files are, and what there makes a command unusual.
 *
 * Owns looking before anything is sent: variables, descriptors, the record, homes.  What is not plain is
 * handed over.
 */
#ifndef DAEMONRY_PLACE_H
#define DAEMONRY_PLACE_H

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bytes.h"
#include "hand_over.h"
#include "limits.h"
#include "plain_json.h"
#include "words.h"

enum { MAX_PATH_BYTES = 4096 };

/* A daemon's files, as far as its record tells. */
struct place {
    char files[MAX_PATH_BYTES]; /* DIRECTORY/NAME. */
    struct sockaddr_un address;
    char pid[24]; /* "" where the record has none */
};

/* Whether a variable may change what Python would do. */
static bool is_unusual(const char *variable) {
    static const char *const harmless[] = {
        "PYTHONDONTWRITEBYTECODE=", "PYTHONUNBUFFERED=", "PYTHONHASHSEED=",
        "DAEMONRY_SANDBOX=", /* marks the processes of a test */
    };
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (strncmp(variable, harmless[i], strlen(harmless[i])) == 0) return false;
    return strncmp(variable, "DAEMONRY_", 9) == 0 || strncmp(variable, "COVERAGE_", 9) == 0 ||
           strncmp(variable, "PYTHON", 6) == 0;
}

/* Look at the variables, those of a daemon's name too if there is one, and at the descriptors. */
static void check_surroundings(const char *name) {
    char own[MAX_NAME_CHARS + 2];
    size_t length = name ? strlen(name) : 0;
    for (size_t i = 0; i < length; i++)
        own[i] = isalnum((unsigned char)name[i]) ? (char)toupper((unsigned char)name[i]) : '_';
    own[length] = '_'; /* NAME_STATE, NAME_RUNTIME */
    for (char **variable = environ; *variable; variable++) {
        if (is_unusual(*variable)) hand_over();
        if (name && strncmp(*variable, own, length + 1) == 0) hand_over();
    }
    if (getuid() != geteuid() || getgid() != getegid()) hand_over();
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0) hand_over();
}

/* Read the first twelve digits of the machine's id. (place.host_id) */
static void find_host(char host[33]) {
    memset(host, 0, 33);
    int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, host, 32) < 12) hand_over();
    close(fd);
    for (int i = 0; i < 32 && host[i]; i++)
        if (!isalnum((unsigned char)host[i]) && !(host[i] == '\n' && !host[i + 1])) hand_over();
    host[12] = 0;
}

/* Return a variable's absolute path and its length without slashes behind it; NULL where it has none. */
static const char *directory_in(const char *variable, int *length) {
    const char *path = getenv(variable);
    if (!path || *path != '/' || strlen(path) >= MAX_PATH_BYTES) return NULL;
    *length = (int)strlen(path);
    while (*length && path[*length - 1] == '/') --*length;
    return path;
}

/* Whether a path has no character that means something in an endpoint, and none that needs an escape. */
static bool is_plain_path(const char *path) {
    for (const char *at = path; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr("/._-+ ", *at)) return false;
    return *path == '/';
}

/* Write the beginning of the files of a service of vx: $VX_HOME/NAME. (vx.home.place) */
static int find_vx_files(const char *name, char *path, size_t size) {
    int length;
    const char *given = getenv("VX_HOME"), *relative = "";
    if (getenv("VX_AETHER") || getenv("VX_CASS") || getenv("VX_RHEA")) hand_over();
    if (!given || !*given) {
        given = "HOME";
        relative = "/.vx";
    } else { /* os.path.abspath leaves it as it is */
        if (strstr(given, "//") || strstr(given, "/.") || given[strlen(given) - 1] == '/') hand_over();
        given = "VX_HOME";
    }
    const char *home = directory_in(given, &length);
    if (!home) hand_over();
    return snprintf(path, size, "%.*s%s/%s.", length, home, relative, name);
}

/* Write the beginning of the daemon's files: ~/.local/state/NAME/HOST/NAME. (place.Place.of) */
static void find_files(const struct request *request, char *path, size_t size) {
    char host[33];
    int length, written;
    const char *relative = "", *state = directory_in("XDG_STATE_HOME", &length);
    if (request->program->where == IN_VX_HOME) {
        written = find_vx_files(request->name, path, size);
    } else {
        if (!state) {
            state = directory_in("HOME", &length);
            relative = "/.local/state";
        }
        if (!state) hand_over();
        find_host(host);
        written = snprintf(path, size, "%.*s%s/%s/%s/%s.", length, state, relative, request->name, host, request->name);
    }
    if (written < 0 || (size_t)written + 16 > size) hand_over();
}

/* Read an endpoint that is a plain path of a socket. */
static void read_endpoint(const struct part *value, struct sockaddr_un *address) {
    if (value->kind != '"') hand_over();
    const char *endpoint = value->start + 1;
    size_t length = (size_t)(value->end - value->start) - 2;
    if (length < 6 || length - 5 >= sizeof address->sun_path - 8 || memcmp(endpoint, "unix:/", 6) != 0) hand_over();
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    for (size_t i = 5; i < length; i++) {
        if (!isalnum((unsigned char)endpoint[i]) && !strchr("/._-", endpoint[i])) hand_over();
        address->sun_path[i - 5] = endpoint[i];
    }
}

static void read_record(struct place *place) {
    char path[MAX_PATH_BYTES + 16];
    struct bytes record = {0};
    struct part keys[MAX_KEYS], values[MAX_KEYS];
    int count;
    snprintf(path, sizeof path, "%scrash.note", place->files);
    if (access(path, F_OK) == 0) hand_over(); /* kit.tell_crash */
    snprintf(path, sizeof path, "%sjson", place->files);
    if (!read_file(path, MAX_RECORD_BYTES, &record)) hand_over();
    if (record.at[record.length - 1] == '\n') record.at[--record.length] = 0;
    if (!object(record.at, record.length, keys, values, &count)) hand_over();
    int endpoint = member(keys, count, "endpoint"), pid = member(keys, count, "pid");
    if (endpoint < 0) hand_over();
    read_endpoint(&values[endpoint], &place->address);
    size_t digits = pid < 0 ? 0 : (size_t)(values[pid].end - values[pid].start);
    if (pid >= 0 && values[pid].kind == '0' && digits < sizeof place->pid)
        memcpy(place->pid, values[pid].start, digits);
    free(record.at);
}

/* Whether no home is known, which would stop its services itself. (homes.known) */
static bool has_no_homes(void) {
    char path[MAX_PATH_BYTES], host[33];
    int length;
    const char *home = directory_in("HOME", &length);
    if (!home) return false;
    find_host(host);
    int written = snprintf(path, sizeof path, "%.*s/.local/state/daemonry/%s", length, home, host);
    if (written < 0 || (size_t)written >= sizeof path) return false;
    DIR *list = opendir(path);
    if (!list) return errno == ENOENT;
    bool found = false;
    errno = 0;
    for (struct dirent *entry; !found && (entry = readdir(list));) found = strncmp(entry->d_name, "home-", 5) == 0;
    bool whole = found || errno == 0;
    closedir(list);
    return whole && !found;
}

#endif
