/* What `mcp-cli call` needs of a server's configuration, from the memory of it that `mcp_cli.config.cache` keeps.
 *
 * Owns finding the configuration (`mcp_cli.config.search`) and its memory, and the server's fingerprint with the
 * caller's variables (`passed`).  Where the memory is missing, old or not ours, the call is Python's.
 */
#ifndef DAEMONRY_MCP_CONFIG_H
#define DAEMONRY_MCP_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "hand_over.h"
#include "place.h"
#include "sha256.h"

enum { MAX_CACHE_BYTES = 1 << 18, MAX_CACHE_NAME_BYTES = 240, MAX_VARIABLES = 512 };

struct config_file {
    char path[MAX_PATH_BYTES], folder[MAX_PATH_BYTES];
    struct stat stat;
};

static bool is_config(struct config_file *found, const char *folder, const char *above, const char *name) {
    int path = snprintf(found->path, sizeof found->path, "%s/%s", above, name);
    int inside = snprintf(found->folder, sizeof found->folder, "%s", folder);
    if (path < 0 || inside < 0 || path >= MAX_PATH_BYTES || inside >= MAX_PATH_BYTES) hand_over();
    return stat(found->path, &found->stat) == 0;
}

/* A file that was named is there, or Python tells that it is not. */
static void find_named(struct config_file *found, const char *named, const char *here) {
    int length = *named == '/' ? snprintf(found->path, sizeof found->path, "%s", named)
                               : snprintf(found->path, sizeof found->path, "%s/%s", here, named);
    if (length < 0 || length >= MAX_PATH_BYTES || stat(found->path, &found->stat) != 0) hand_over();
    strcpy(found->folder, found->path);
    char *slash = strrchr(found->folder, '/');
    slash[slash == found->folder ? 1 : 0] = 0;
}

/* Write a variable's absolute path, without slashes behind it, and what follows; false where it has none. */
static bool directory_of(char path[MAX_PATH_BYTES], const char *variable, const char *behind) {
    int length;
    const char *base = directory_in(variable, &length);
    if (!base) return false;
    if (length == 0) hand_over(); /* it is the root */
    int written = snprintf(path, MAX_PATH_BYTES, "%.*s%s", length, base, behind);
    if (written < 0 || written >= MAX_PATH_BYTES) hand_over();
    return true;
}

/* mcp_cli.config.search.find */
static void find_config(struct config_file *found, const char *option) {
    char here[MAX_PATH_BYTES], home[MAX_PATH_BYTES], above[MAX_PATH_BYTES];
    const char *variable = getenv("MCP_CONFIG_PATH");
    const char *named = option ? option : variable && *variable ? variable : NULL;
    if (!getcwd(here, sizeof here) || *here != '/') hand_over();
    if (named) {
        find_named(found, named, here);
        return;
    }
    bool homed = directory_of(home, "HOME", "");
    if (!directory_of(above, "XDG_CONFIG_HOME", "") && !directory_of(above, "HOME", "/.config")) hand_over();
    const char *base = strcmp(here, "/") == 0 ? "" : here;
    if (is_config(found, here, base, "mcp_servers.toml") || is_config(found, here, base, "mcp_servers.json") ||
        is_config(found, here, base, ".mcp.json"))
        return;
    if (homed && (is_config(found, home, home, "mcp_servers.toml") || is_config(found, home, home, ".mcp_servers.toml")))
        return;
    const char *folder = homed ? home : above;
    if (is_config(found, folder, above, "mcp/mcp_servers.toml") || is_config(found, folder, above, "mcp/mcp_servers.json"))
        return;
    hand_over();
}

/* Read the memory of a configuration; Python makes it anew where there is none that can be used. */
static void read_cache(const struct config_file *found, struct bytes *into) {
    char path[MAX_PATH_BYTES];
    struct bytes name = {0};
    struct stat whose;
    add(&name, "", 0);
    for (const char *at = found->path; *at; at++) {
        if (*at == '%') add_text(&name, "%%");
        else if (*at == '/') add_text(&name, "%-");
        else add(&name, at, 1);
    }
    if (name.length >= MAX_CACHE_NAME_BYTES) hand_over();
    if (!directory_of(path, "XDG_CACHE_HOME", "/mcp-cli/config/") && !directory_of(path, "HOME", "/.cache/mcp-cli/config/"))
        hand_over();
    if (strlen(path) + name.length >= sizeof path) hand_over();
    strcat(path, name.at);
    free(name.at);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &whose) != 0 || !S_ISREG(whose.st_mode)) hand_over();
    if (whose.st_uid != geteuid() || (whose.st_mode & 022) || whose.st_size <= 0 || whose.st_size > MAX_CACHE_BYTES)
        hand_over();
    size_t size = (size_t)whose.st_size;
    char *text = malloc(size + 1);
    if (!text || read(fd, text, size) != (ssize_t)size || memchr(text, 0, size)) hand_over();
    close(fd);
    text[size] = 0;
    *into = (struct bytes){text, size, size + 1};
}

/* cache._stamp */
static void write_stamp(const struct config_file *found, const char *version, struct bytes *stamp) {
    char numbers[256];
    const struct stat *at = &found->stat;
    snprintf(numbers, sizeof numbers, "mcp-cli configuration 3 %s %ju %ju %jd %jd %jd ", version, (uintmax_t)at->st_dev,
             (uintmax_t)at->st_ino, (intmax_t)at->st_size,
             (intmax_t)at->st_mtim.tv_sec * 1000000000 + at->st_mtim.tv_nsec,
             (intmax_t)at->st_ctim.tv_sec * 1000000000 + at->st_ctim.tv_nsec);
    add_text(stamp, numbers);
    add_text(stamp, found->folder);
    add_text(stamp, "\n");
}

static const char *const PASSED[] = {
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY", "http_proxy", "https_proxy", "all_proxy",
    "no_proxy", "ftp_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS", "NODE_USE_SYSTEM_CA", "NODE_USE_ENV_PROXY", "NODE_TLS_REJECT_UNAUTHORIZED",
    "GIT_SSL_CAINFO", "DENO_CERT", "DENO_TLS_CA_STORE", "NIX_SSL_CERT_FILE", "npm_config_registry",
    "npm_config_cafile", "npm_config_proxy", "npm_config_https_proxy", "npm_config_noproxy", "npm_config_strict_ssl",
    "npm_config_userconfig", "npm_config_cache", "GOPROXY", "GONOSUMDB", "GOPRIVATE", "GOFLAGS", "CARGO_HTTP_CAINFO",
    "BUN_CONFIG_REGISTRY",
};
static const char *const PASSED_STARTS[] = {"PIP_", "UV_", "NPM_CONFIG_"};
static const char *const NEVER_PASSED[] = {"UV_PUBLISH_", "UV_INTERNAL_", "UV_RUN_RECURSION_DEPTH"};

static bool starts_with_any(const char *variable, const char *const *starts, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strncmp(variable, starts[i], strlen(starts[i])) == 0) return true;
    return false;
}

/* passed.default */
static bool is_passed(const char *variable, size_t length) {
    for (size_t i = 0; i < sizeof PASSED / sizeof *PASSED; i++)
        if (strlen(PASSED[i]) == length && memcmp(PASSED[i], variable, length) == 0) return true;
    return starts_with_any(variable, PASSED_STARTS, sizeof PASSED_STARTS / sizeof *PASSED_STARTS) &&
           !starts_with_any(variable, NEVER_PASSED, sizeof NEVER_PASSED / sizeof *NEVER_PASSED);
}

/* By name; both end with `=`, which a name has not. */
static int by_name(const void *one, const void *other) {
    const char *a = *(const char *const *)one, *b = *(const char *const *)other;
    size_t a_length = (size_t)(strchr(a, '=') - a), b_length = (size_t)(strchr(b, '=') - b);
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : (a_length > b_length) - (a_length < b_length);
}

/* Add the caller's variables that a name with `*` stands for, sorted by name. */
static void add_matching(struct bytes *text, const char *name, size_t length) {
    const char *found[MAX_VARIABLES];
    size_t count = 0;
    bool usual = length == 1;
    for (char **variable = environ; *variable; variable++) {
        const char *equals = strchr(*variable, '=');
        if (!equals) continue;
        size_t size = (size_t)(equals - *variable);
        if (usual ? !is_passed(*variable, size) : size < length - 1 || memcmp(*variable, name, length - 1) != 0) continue;
        if (count == MAX_VARIABLES || !is_plain(*variable, size)) hand_over();
        found[count++] = *variable;
    }
    qsort(found, count, sizeof *found, by_name);
    for (size_t i = 0; i < count; i++) {
        if (i && by_name(&found[i - 1], &found[i]) == 0) hand_over(); /* twice: which counts is Python's to say */
        add(text, "", 1);
        add_text(text, found[i]);
    }
}

/* Add one variable as NAME=VALUE, or its name where it is not set. */
static void add_variable(struct bytes *text, const char *name, size_t length) {
    add(text, "", 1);
    for (char **variable = environ; *variable; variable++)
        if (strncmp(*variable, name, length) == 0 && (*variable)[length] == '=') {
            add_text(text, *variable);
            return;
        }
    add(text, name, length);
}

/* cache.with_environment, of NAME\tDIGITS\tSECONDS\tNAMES */
static void fingerprint_of(const char *digits, size_t length, const char *names, size_t size, char fingerprint[65]) {
    struct bytes text = {0};
    add(&text, digits, length);
    for (const char *at = names, *end = names + size; at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t name = (size_t)((comma ? comma : end) - at);
        if (name == 0) hand_over();
        if (at[name - 1] == '*') add_matching(&text, at, name);
        else add_variable(&text, at, name);
        at += name + (comma != NULL);
        if (comma && at == end) hand_over();
    }
    if (text.length == length) {
        memcpy(fingerprint, digits, length);
        fingerprint[length] = 0;
    } else {
        sha256_of(&text, fingerprint);
    }
    free(text.at);
}

/* cache.lookup */
static void find_fingerprint(const char *version, const char *option, const char *server, char fingerprint[65]) {
    struct config_file found;
    struct bytes text = {0}, stamp = {0};
    find_config(&found, option);
    read_cache(&found, &text);
    write_stamp(&found, version, &stamp);
    if (text.length < stamp.length || memcmp(text.at, stamp.at, stamp.length) != 0) hand_over();
    size_t named = strlen(server);
    for (const char *line = text.at + stamp.length; line;) {
        const char *end = strchr(line, '\n'), *stop = end ? end : text.at + text.length;
        if ((size_t)(stop - line) > named && memcmp(line, server, named) == 0 && line[named] == '\t') {
            const char *digits = line + named + 1, *seconds = memchr(digits, '\t', (size_t)(stop - digits));
            const char *names = seconds ? memchr(seconds + 1, '\t', (size_t)(stop - seconds - 1)) : NULL;
            if (!names || memchr(names + 1, '\t', (size_t)(stop - names - 1))) hand_over();
            size_t length = (size_t)(seconds - digits);
            if (length == 0 || length > 64 || !is_plain(digits, length)) hand_over();
            fingerprint_of(digits, length, names + 1, (size_t)(stop - names - 1), fingerprint);
            free(text.at);
            free(stamp.at);
            return;
        }
        line = end ? end + 1 : NULL;
    }
    hand_over();
}

#endif
