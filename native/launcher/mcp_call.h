/* `mcp-cli call` on the warm daemon, as `mcp_cli.cli.call` makes it.
 *
 * Owns its words (`mcp_cli.client.options`, `call.asked_of`), the request, and printing a result that is plain.
 */
#ifndef DAEMONRY_MCP_CALL_H
#define DAEMONRY_MCP_CALL_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agreed.h"
#include "bytes.h"
#include "frame.h"
#include "hand_over.h"
#include "mcp_config.h"
#include "place.h"
#include "text.h"

enum { MCP_LAUNCHER = 1, MAX_CALL_WORDS = 256 };

struct mcp_call {
    const char *server, *tool, *config, *given[MAX_CALL_WORDS];
    char *first; /* SERVER/TOOL, cut */
    int own, count; /* of the words behind `call`: before `--`, and all */
    bool json, raw, quiet, unchecked;
};

/* options.take, for the options that are known here. */
static void take_words(int argc, char **argv, struct mcp_call *call) {
    bool verb = false, behind = false;
    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
        if (!is_utf8(word, strlen(word), NULL) || call->count == MAX_CALL_WORDS) hand_over();
        if (!behind && strcmp(word, "--") == 0) {
            behind = true;
        } else if (behind || *word != '-') {
            if (behind && !verb) hand_over();
            if (!verb && strcmp(word, "call") != 0) hand_over();
            if (verb) call->given[call->count++] = word;
            call->own = behind ? call->own : call->count;
            verb = true;
        } else if (strcmp(word, "--json") == 0) {
            call->json = true;
        } else if (strcmp(word, "--raw") == 0) {
            call->raw = true;
        } else if (strcmp(word, "--quiet") == 0) {
            call->quiet = true;
        } else if (strcmp(word, "--no-check") == 0) {
            call->unchecked = true;
        } else if ((strcmp(word, "-c") == 0 || strcmp(word, "--config") == 0) && i + 1 < argc && *argv[i + 1]) {
            call->config = argv[++i];
        } else {
            hand_over();
        }
    }
    if (call->count == 0) hand_over();
    if (call->own == 0) call->own = call->count;
}

/* call.target_of; the words behind it are what is left of `given`. */
static int find_target(struct mcp_call *call) {
    const char *first = call->given[0], *slash = strchr(first, '/');
    if (slash) {
        call->first = strdup(first);
        if (!call->first || slash == first || !slash[1]) hand_over();
        call->first[slash - first] = 0;
        call->server = call->first;
        call->tool = slash + 1;
        return 1;
    }
    if (call->own < 2 || !*first || !*call->given[1]) hand_over();
    if (strchr("-{@", *call->given[1]) || strchr(call->given[1], '=')) hand_over();
    call->server = first;
    call->tool = call->given[1];
    return 2;
}

static bool is_json(const char *word) {
    while (*word && strchr("\t\n\v\f\r \x1c\x1d\x1e\x1f", *word)) word++;
    if ((unsigned char)*word >= 0x80) hand_over(); /* a blank, perhaps */
    return *word == '{' || *word == '[';
}

/* Add the arguments as call.asked_of reads them: none, a JSON text, or words. */
static void add_arguments(struct bytes *out, const struct mcp_call *call, int from) {
    int left = call->count - from;
    if (left == 0) {
        struct stat input;
        if (fstat(STDIN_FILENO, &input) != 0) hand_over();
        if (S_ISFIFO(input.st_mode) || S_ISREG(input.st_mode) || S_ISSOCK(input.st_mode)) hand_over();
        add_text(out, ",\"arguments\":\"{}\"");
        return;
    }
    const char *first = call->given[from];
    if (left == 1 && (strcmp(first, "-") == 0 || (*first == '@' && first[1]))) hand_over();
    if (left == 1 && is_json(first)) {
        add_text(out, ",\"arguments\":");
        add_json(out, first);
        return;
    }
    for (int i = from; i < call->count; i++) {
        add_text(out, i == from ? ",\"words\":[" : ",");
        add_json(out, call->given[i]);
    }
    add_text(out, "]");
}

/* ToolCall.parameters */
static void write_call(struct bytes *out, const struct mcp_call *call, int from, const char *fingerprint) {
    bool shown = !call->quiet && isatty(STDERR_FILENO);
    bool answers = shown && !call->json && !call->raw && isatty(STDIN_FILENO);
    add_text(out, "{\"method\":\"org.daemonry.mcp.Call\",\"parameters\":{\"server\":");
    add_json(out, call->server);
    add_text(out, ",\"fingerprint\":");
    add_json(out, fingerprint);
    add_text(out, ",\"tool\":");
    add_json(out, call->tool);
    add_text(out, shown ? ",\"logs\":true" : ",\"logs\":false");
    add_text(out, answers ? ",\"answers\":[\"elicitation/create\",\"sampling/createMessage\"]" : ",\"answers\":[]");
    add_arguments(out, call, from);
    if (call->unchecked) add_text(out, ",\"check\":false");
    add_text(out, "},\"more\":true}");
    add(out, "", 1);
}

/* Whether a directory is ours alone. (place._is_private) */
static bool is_private(const char *path) {
    struct stat found;
    return lstat(path, &found) == 0 && S_ISDIR(found.st_mode) && !(found.st_mode & 077) && found.st_uid == geteuid();
}

/* mcp_cli.client.connect.socket_path */
static void find_mcp_socket(struct sockaddr_un *address) {
    char base[MAX_PATH_BYTES];
    int length, written;
    const char *given = directory_in("XDG_RUNTIME_DIR", &length), *home = directory_in("HOME", &length);
    if (!home) hand_over();
    snprintf(base, sizeof base, "%s", given ? given : "");
    if (!given || !is_private(base)) {
        snprintf(base, sizeof base, "/run/user/%ju", (uintmax_t)geteuid());
        if (!is_private(base)) *base = 0;
    }
    for (size_t end = strlen(base); end && base[end - 1] == '/';) base[--end] = 0;
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    size_t room = sizeof address->sun_path - 8;
    if (*base)
        written = snprintf(address->sun_path, room, "%s/mcp-cli/daemon.sock", base);
    else
        written = snprintf(address->sun_path, room, "/tmp/mcp-cli-%ju/daemon.sock", (uintmax_t)geteuid());
    if (written < 0 || (size_t)written >= room || !is_plain_path(address->sun_path)) hand_over();
}

/* printer.tool_result, of a result that is plain; false for any other. */
static bool show_result(struct bytes *out, const struct mcp_call *call, const struct reply *reply) {
    bool terminal = isatty(STDOUT_FILENO), people = !call->json && !call->raw;
    const struct part *is_error = field_of(reply, "is_error");
    if (!field_is(reply, "kind", "\"done\"") || (is_error && is_error->kind != 'f')) return false;
    if (field_of(reply, "schema_error") && !field_is(reply, "schema_error", "\"\"")) return false;
    if (people && !field_is(reply, "plain", "true")) return false;
    if (!call->raw && call->json) add_text(out, "{\"outcome\":\"done\",\"is_error\":false,\"result\":");
    size_t before = out->length;
    if (!add_field(out, reply, people ? "text" : "result")) return false;
    if (terminal && !is_plain_text(out->at + before, out->length - before)) return false;
    if (people && terminal && (*out->at == '[' || *out->at == '{')) return false;
    if (!call->raw && call->json) add_text(out, "}");
    bool ended = people && (out->length == 0 || out->at[out->length - 1] == '\n');
    if (!ended) add_text(out, "\n");
    return true;
}

static _Noreturn void make_mcp_call(int argc, char **argv) {
    struct mcp_call call = {0};
    struct bytes request = {0}, out = {0};
    struct exchange made = {0};
    struct sockaddr_un address;
    char version[MAX_VERSION_CHARS], fingerprint[65];
    const char *off = getenv("MCP_NO_DAEMON");
    check_surroundings("mcp-cli");
    if ((off && *off) || locale_kind() == IS_OTHER) hand_over();
    take_words(argc, argv, &call);
    int from = find_target(&call);
    if (!is_plain(call.server, strlen(call.server))) hand_over();
    check_agreed("daemonry", LAUNCHER, NULL);
    check_agreed("mcp_cli", MCP_LAUNCHER, version);
    find_fingerprint(version, call.config, call.server, fingerprint);
    find_mcp_socket(&address);
    write_call(&request, &call, from, fingerprint);
    if (!is_replied(&made, &address, &request) || !show_result(&out, &call, &made.reply)) go_on(made.fd, &made.came);
    print_or_go_on(&out, &made.unblocked, made.fd, &made.came);
}

#endif
