/* The quick commands of `daemonry`, without starting Python.
 *
 *     daemonry status|ping|pause|resume|reload NAME [--json]
 *
 * Owns the plain case: a daemon of this user that runs on this machine and answers in plain words.  In
 * every other case it executes the Python command, which stands beside it as `daemonry-python`, with the
 * same words and environment, and before anything was sent.  An answer that is not plain is handed to the
 * Python command as it came (`daemonry.cli.native`), so that nothing is sent twice.
 *
 * What it prints is what `daemonry.cli.kit` prints, to the byte.  Where a line here follows a line there,
 * the name of that function stands beside it.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "plain_json.h"

/* As in daemonry/limits.py. */
enum { MAX_NAME_CHARS = 64, MAX_REPLY_BYTES = 1 << 20, MAX_RECORD_BYTES = 1 << 16, REQUEST_TIMEOUT_MS = 5000 };
enum { DONE = 0, FAILED = 1, READER_GONE = 141, INTERRUPTED = 130 };

extern char **environ;

static char **words; /* of this process, as they came */

/* --- handing over -------------------------------------------------------------------------------- */

static void beside(char *path, size_t size, const char *name) {
    ssize_t length = readlink("/proc/self/exe", path, size - 1);
    if (length < 0) length = 0;
    path[length] = 0;
    char *slash = strrchr(path, '/');
    size_t room = slash ? size - (size_t)(slash + 1 - path) : 0;
    if (!slash || strlen(name) >= room) {
        fprintf(stderr, "daemonry: cannot find the directory of this program\n");
        _exit(FAILED);
    }
    strcpy(slash + 1, name);
}

static _Noreturn void become(char **argv) {
    char path[4096];
    beside(path, sizeof path, "daemonry-python");
    argv[0] = path;
    execv(path, argv);
    fprintf(stderr, "daemonry: cannot execute %s: %s (run daemonry-native install again)\n", path, strerror(errno));
    _exit(FAILED);
}

/* Nothing was sent, or what was sent changes nothing: the Python command does all of it. */
static _Noreturn void hand_over(void) { become(words); }

/* --- bytes --------------------------------------------------------------------------------------- */

struct bytes {
    char *at;
    size_t length, room;
};

static void add(struct bytes *to, const char *from, size_t length) {
    if (to->length + length + 1 > to->room) {
        to->room = 2 * (to->length + length + 1);
        to->at = realloc(to->at, to->room);
        if (!to->at) _exit(FAILED);
    }
    memcpy(to->at + to->length, from, length);
    to->length += length;
    to->at[to->length] = 0;
}

static void add_text(struct bytes *to, const char *text) { add(to, text, strlen(text)); }

/* ASCII that a terminal shows: what `printable` returns as it is. */
static bool is_plain(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (text[i] < ' ' || text[i] > '~') return false;
    return true;
}

/* Read a file as `read_regular` does, of at most `most` bytes; false where it is missing or anything else. */
static bool read_file(const char *path, size_t most, struct bytes *into) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    struct stat found;
    if (fd < 0) return false;
    bool good = fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
    char piece[8192];
    ssize_t count = 0;
    while (good && (count = read(fd, piece, sizeof piece)) > 0) {
        add(into, piece, (size_t)count);
        good = into->length <= most;
    }
    close(fd);
    return good && count == 0 && into->length > 0;
}

/* --- what is printed ----------------------------------------------------------------------------- */

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

/* Print a status as `kit._say_status` does; return where it is not plain. */
static void print_status(const struct bytes *line, const char *name, bool json) {
    struct part keys[MAX_KEYS], values[MAX_KEYS];
    struct bytes out = {0};
    int count;
    if (!object(line->at, line->length, keys, values, &count)) return;
    if (json) {
        add(&out, line->at, line->length);
        add_text(&out, "\n");
        print_and_leave(&out);
    }
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
        bool is_number = values[i].kind == '0' || values[i].kind == '.';
        add_text(&out, "  ");
        if (is_key(&keys[i], "uptime_secs") && is_number) {
            if (*values[i].start == '-') return;
            add_text(&out, "uptime: ");
            add_span(&out, &values[i]);
        } else {
            add(&out, keys[i].start + 1, (size_t)(keys[i].end - keys[i].start) - 2);
            add_text(&out, ": ");
            if (!add_value(&out, &values[i])) return;
        }
        add_text(&out, "\n");
    }
    print_and_leave(&out);
}

static _Noreturn void print_done(const char *name, const char *what, const char *note, bool json) { /* kit._done */
    struct bytes out = {0};
    if (json) {
        add_text(&out, "{\"ok\":true,\"name\":\"");
        add_text(&out, name);
        add_text(&out, "\",\"result\":\"");
        add_text(&out, what);
        if (*note) {
            add_text(&out, "\",\"note\":\"");
            add_text(&out, note);
        }
        add_text(&out, "\"}\n");
    } else {
        add_text(&out, name);
        add_text(&out, ": ");
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

/* --- the commands -------------------------------------------------------------------------------- */

static const struct verb { /* wire.text._TABLE */
    const char *verb, *line, *done, *so_already, *already;
    bool idempotent;
} VERBS[] = {
    {"status", "STATUS\n", "", "", "", true},
    {"ping", "PING\n", "answers", "", "", true},
    {"pause", "PAUSE\n", "paused", "ERR: Daemon already paused", "already paused", false},
    {"resume", "RESUME\n", "running", "ERR: Daemon is not paused", "not paused", false},
    {"reload", "RELOAD\n", "reloaded", "", "", false},
};

struct request {
    const struct verb *verb;
    const char *name;
    bool json;
};

static bool understand(int argc, char **argv, struct request *request) {
    if (argc != 3 && argc != 4) return false;
    for (size_t i = 0; i < sizeof VERBS / sizeof *VERBS; i++)
        if (strcmp(argv[1], VERBS[i].verb) == 0) request->verb = &VERBS[i];
    if (!request->verb) return false;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0 && !request->json)
            request->json = true;
        else if (!request->name)
            request->name = argv[i];
        else
            return false;
    }
    const char *name = request->name;
    if (!name || argc - 2 != 1 + request->json || strlen(name) > MAX_NAME_CHARS) return false;
    for (const char *at = name; *at; at++) { /* place.check_name, for ASCII */
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9');
        if (!letter && (at == name || !strchr("-_.", *at))) return false;
    }
    size_t length = strlen(name);
    return length > 0 && !(length >= 3 && strcmp(name + length - 3, ".py") == 0);
}

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

static void check_surroundings(const char *name) {
    char own[MAX_NAME_CHARS + 2];
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++)
        own[i] = isalnum((unsigned char)name[i]) ? (char)toupper((unsigned char)name[i]) : '_';
    own[length] = '_'; /* NAME_STATE, NAME_RUNTIME */
    for (char **variable = environ; *variable; variable++) {
        if (is_unusual(*variable)) hand_over();
        if (strncmp(*variable, own, length + 1) == 0) hand_over();
    }
    if (getuid() != geteuid() || getgid() != getegid()) hand_over();
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0) hand_over();
}

/* Write the beginning of the daemon's files: ~/.local/state/NAME/HOST/NAME. (place.Place.of) */
static void find_files(const char *name, char *path, size_t size) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME"), *relative = "";
    if (!state || *state != '/') {
        state = home;
        relative = "/.local/state";
    }
    if (!state || *state != '/') hand_over();
    size_t length = strlen(state);
    while (length && state[length - 1] == '/') length--;
    char host[33] = "";
    int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, host, 32) < 12) hand_over();
    close(fd);
    for (int i = 0; i < 32 && host[i]; i++)
        if (!isalnum((unsigned char)host[i]) && !(host[i] == '\n' && !host[i + 1])) hand_over();
    host[12] = 0;
    int written = snprintf(path, size, "%.*s%s/%s/%s/%s.", (int)length, state, relative, name, host, name);
    if (written < 0 || (size_t)written + 16 > size) hand_over();
}

static void find_socket(const char *files, struct sockaddr_un *address) {
    char path[4096 + 16];
    struct bytes record = {0};
    struct part keys[MAX_KEYS], values[MAX_KEYS];
    int count;
    snprintf(path, sizeof path, "%scrash.note", files);
    if (access(path, F_OK) == 0) hand_over(); /* kit.tell_crash */
    snprintf(path, sizeof path, "%sjson", files);
    if (!read_file(path, MAX_RECORD_BYTES, &record)) hand_over();
    if (record.at[record.length - 1] == '\n') record.at[--record.length] = 0;
    if (!object(record.at, record.length, keys, values, &count)) hand_over();
    int at = member(keys, count, "endpoint");
    if (at < 0 || values[at].kind != '"') hand_over();
    const char *endpoint = values[at].start + 1;
    size_t length = (size_t)(values[at].end - values[at].start) - 2;
    if (length < 6 || length - 5 >= sizeof address->sun_path - 8 || memcmp(endpoint, "unix:/", 6) != 0) hand_over();
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    for (size_t i = 5; i < length; i++) {
        if (!isalnum((unsigned char)endpoint[i]) && !strchr("/._-", endpoint[i])) hand_over();
        address->sun_path[i - 5] = endpoint[i];
    }
    free(record.at);
}

/* --- environment.drift --------------------------------------------------------------------------- */

static bool is_taken(const char *variable, size_t length, const struct part *patterns, int count) {
    for (int i = 0; i < count; i++) {
        const char *pattern = patterns[i].start + 1;
        size_t size = (size_t)(patterns[i].end - patterns[i].start) - 2;
        if (size && pattern[size - 1] == '*') {
            if (length >= size - 1 && memcmp(variable, pattern, size - 1) == 0) return true;
        } else if (length == size && memcmp(variable, pattern, size) == 0) {
            return true;
        }
    }
    return false;
}

struct sums {
    struct part names[MAX_KEYS], rests[MAX_KEYS], patterns[MAX_KEYS];
    int count, pattern_count, same;
};

/* Whether the daemon has this variable too, or takes no such variable. */
static bool has_variable(struct sums *sums, const char *variable) {
    const char *equals = strchr(variable, '=');
    if (!equals) return false;
    size_t length = (size_t)(equals - variable);
    if (!is_taken(variable, length, sums->patterns, sums->pattern_count)) return true;
    uint64_t rest = 0;
    for (const char *at = variable; *at; at++) rest = (rest << 8 | (unsigned char)*at) % 4294967291u;
    for (int i = 0; i < sums->count; i++) {
        const struct part *name = &sums->names[i];
        if ((size_t)(name->end - name->start) != length + 2 || memcmp(name->start + 1, variable, length) != 0) continue;
        sums->same++;
        return strtoull(sums->rests[i].start, NULL, 10) == rest;
    }
    return false;
}

/* The variable that Python adds to its own environment where no locale is set (PEP 538). */
static const char *coerced(void) {
    const char *language = getenv("LANG");
    bool is_c = !language || strcmp(language, "C") == 0 || strcmp(language, "POSIX") == 0;
    return is_c && !getenv("LC_ALL") && !getenv("LC_CTYPE") ? "LC_CTYPE=C.UTF-8" : NULL;
}

/* Whether the daemon has our variables; no where that cannot be told here. */
static bool has_our_environment(const char *files) {
    char path[4096 + 16];
    struct bytes text = {0};
    struct part keys[MAX_KEYS], values[MAX_KEYS];
    struct sums sums = {.same = 0};
    int count;
    snprintf(path, sizeof path, "%senv.json", files);
    if (!read_file(path, MAX_REPLY_BYTES, &text)) return access(path, F_OK) != 0 && errno == ENOENT;
    if (!object(text.at, text.length, keys, values, &count)) return false;
    int patterns = member(keys, count, "patterns"), rests = member(keys, count, "rests");
    if (patterns < 0 || rests < 0 || values[patterns].kind != '[' || values[rests].kind != '{') return false;
    members_end(values[patterns].start, 0, NULL, sums.patterns, &sums.pattern_count);
    members_end(values[rests].start, 0, sums.names, sums.rests, &sums.count);
    for (int i = 0; i < sums.pattern_count; i++)
        if (sums.patterns[i].kind != '"') return false;
    for (int i = 0; i < sums.count; i++)
        if (sums.rests[i].kind != '0') return false;
    for (char **variable = environ; *variable; variable++)
        if (!has_variable(&sums, *variable)) return false;
    if (coerced() && !has_variable(&sums, coerced())) return false;
    free(text.at);
    return sums.same == sums.count;
}

/* --- the exchange -------------------------------------------------------------------------------- */

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

/* The command was sent: Python is given what came instead of asking again (daemonry.cli.native). */
static _Noreturn void hand_over_answer(const struct request *request, const char *outcome, const struct bytes *reply) {
    char *argv[] = {NULL, "_answered", (char *)(uintptr_t)outcome, (char *)(uintptr_t)request->verb->verb,
                    (char *)(uintptr_t)request->name, request->json ? "--json" : NULL, NULL};
    int fd = memfd_create("reply", 0);
    size_t done = 0;
    while (fd >= 0 && done < reply->length) {
        ssize_t count = write(fd, reply->at + done, reply->length - done);
        if (count <= 0) break;
        done += (size_t)count;
    }
    if (fd < 0 || done < reply->length || lseek(fd, 0, SEEK_SET) != 0 || dup2(fd, STDIN_FILENO) < 0) {
        fprintf(stderr, "daemonry: the command was sent, and its answer cannot be shown: %s\n", strerror(errno));
        _exit(6); /* the outcome is not known */
    }
    if (fd > STDERR_FILENO) close(fd);
    become(argv);
}

/* Print a reply that is plain; return where it is not. */
static void print_plain(const struct request *request, struct bytes *reply) {
    const struct verb *verb = request->verb;
    if (memchr(reply->at, '\n', reply->length) != reply->at + reply->length - 1) return;
    reply->at[--reply->length] = 0;
    const char *line = reply->at;
    if (!is_plain(line, reply->length)) {
    } else if (strcmp(verb->verb, "status") == 0) {
        print_status(reply, request->name, request->json);
    } else if (strcmp(verb->verb, "ping") == 0) {
        if (strcmp(line, "PONG") == 0) print_done(request->name, verb->done, "", request->json);
    } else if (strcmp(line, "OK") == 0) {
        print_done(request->name, verb->done, "", request->json);
    } else if (*verb->so_already && strcmp(line, verb->so_already) == 0) {
        print_done(request->name, verb->already, "", request->json);
    } else if (strncmp(line, "OK: ", 4) == 0 && line[4] && !strpbrk(line, "\"\\")) {
        print_done(request->name, verb->done, line + 4, request->json);
    }
    reply->at[reply->length++] = '\n';
}

static void interrupted(int number) {
    (void)number;
    _exit(INTERRUPTED);
}

int main(int argc, char **argv) {
    struct request request = {0};
    struct sockaddr_un address;
    struct sigaction before, ours = {.sa_handler = interrupted};
    struct bytes reply = {0};
    char files[4096];
    words = argv;
    if (!understand(argc, argv, &request)) hand_over();
    check_surroundings(request.name);
    find_files(request.name, files, sizeof files);
    find_socket(files, &address);
    if (strcmp(request.verb->verb, "status") == 0 && !has_our_environment(files)) hand_over();
    long long until_ms = now_ms() + REQUEST_TIMEOUT_MS;
    int fd = connected(&address);
    if (sigaction(SIGINT, NULL, &before) == 0 && before.sa_handler == SIG_DFL) sigaction(SIGINT, &ours, NULL);
    const char *line = request.verb->line;
    if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0) hand_over(); /* nothing was sent */
    add(&reply, "", 0);
    const char *outcome = read_line(fd, until_ms, &reply);
    if (strcmp(outcome, "reply") == 0)
        print_plain(&request, &reply);
    else if (request.verb->idempotent && strcmp(outcome, "lost") == 0)
        hand_over(); /* asks once more, as client.text.request does */
    hand_over_answer(&request, outcome, &reply);
}
