/* Bounds and exit codes, as Python has them. */
#ifndef DAEMONRY_LIMITS_H
#define DAEMONRY_LIMITS_H

/* As in daemonry/cli/native/__init__.py. */
enum { LAUNCHER = 2 };

/* As in daemonry/limits.py. */
enum {
    MAX_NAME_CHARS = 64,
    MAX_REPLY_BYTES = 1 << 20,
    MAX_RECORD_BYTES = 1 << 16,
    REQUEST_TIMEOUT_MS = 5000,
    LOCK_RETRY_FIRST_MS = 2,
    LOCK_RETRY_MAX_MS = 50,
};

/* As in daemonry/cli/output.py; 128 and a signal's number, as a shell has it. */
enum { DONE = 0, FAILED = 1, UNKNOWN_OUTCOME = 6, INTERRUPTED = 130, READER_GONE = 141 };

extern char **environ;

/* What this ends with where it cannot go on: UNKNOWN_OUTCOME as soon as something was sent that may run. */
static int code_of_failure = FAILED;

#endif
