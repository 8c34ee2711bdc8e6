"""Every bound and default: its unit in the name, its reason beside it.

Owns numbers only.  Nothing here is read from the environment; what a user may change is an
argument somewhere, whose default is one of these.  A leaf, on the path of every quick command.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# --- text dialect -----------------------------------------------------------------------------

# A command is a word.  finger and ident stop at 512 and 1,000 bytes; SMTP at 512.
MAX_COMMAND_BYTES: Final = 1024
# What of a refused line is repeated to its sender, in characters.
MAX_ECHO_CHARS: Final = 100
# The part of an exception's text that its caller gets, in characters: some lines of a terminal.
MAX_ERROR_CHARS: Final = 500
# A STATUS line that a client accepts.  Ours are under 2 KiB; watchman's are under 64 KiB.
MAX_REPLY_BYTES: Final = 1 << 20
# The original server's five seconds for a whole request line.
FIRST_BYTE_TIMEOUT_S: Final = 5.0
# An empty line may stand before a call (JSON) or a request (RFC 9112, 2.2); a person's stands alone.
EMPTY_LINE_S: Final = 0.1
# How long the rest of a reply may wait for a client that does not read.
# For how long `breakpoint()` in a background daemon waits for somebody who attaches.
BREAKPOINT_WAIT_S: Final = 600.0
# How often a daemon looks whether its program is still there, and for how long it has to be gone: an
# upgrade in place takes it away and brings it back within seconds, a slow one within a minute.
PROGRAM_CHECK_S: Final = 5.0
PROGRAM_GONE_S: Final = 120.0
# Of a trace that a caller gets in development mode: its last characters, about 100 frames.
MAX_TRACE_CHARS: Final = 16_000
REPLY_TIMEOUT_S: Final = 5.0

# --- connections ------------------------------------------------------------------------------

# systemd's varlink server: 4,096.  The kernel cuts it to net.core.somaxconn.
LISTEN_BACKLOG: Final = 4096
# The share of RLIMIT_NOFILE that connections may use; systemd's rule.
CONNECTION_SHARE: Final = 0.75
MAX_CONNECTIONS: Final = 16384
# After accept() failed for want of descriptors or memory: first pause, longest pause.
ACCEPT_BACKOFF_S: Final = 0.1
ACCEPT_BACKOFF_MAX_S: Final = 1.0
# 64 KiB, and what stands around them, come in one piece; from 128 KiB on malloc maps pages for each read.
READ_BYTES: Final = 96 << 10
# Behind that, of a message that is longer: what a Unix socket holds by default comes in one piece.
LONG_READ_BYTES: Final = 256 << 10
# Calls without parameters are looked up by their whole frame; one that is longer takes too long to hash.
LOOKED_UP_BYTES: Final = 512
# Connections over TCP whose client has yet to prove that it knows the token, which takes a millisecond.
# sshd's MaxStartups drops some from 10 on and all from 100.
GATE_MOST: Final = 128
# A wrong token is answered that late: a mistake gets an answer, and a loop of them does not cost much.
WRONG_TOKEN_DELAY_S: Final = 1.0
# At most one line about wrong tokens in this time.
GATE_LOG_S: Final = 1.0
# Blocking handlers at the same time; asyncio's own pool has at most 32.
MAX_HANDLER_THREADS: Final = 32
# Connections of one client for calls at the same time, beside those of its streams; further calls wait.
MAX_CLIENT_CONNECTIONS: Final = 16
# Calls of a pipeline are sent in pieces of about this length: a socket takes some 200 KiB at a time.
PIPELINE_PIECE_BYTES: Final = 1 << 16
# Calls of one pipeline without a reply; some 50 MiB of objects.
PIPELINE_MOST_CALLS: Final = 1 << 17

# --- HTTP ---------------------------------------------------------------------------------------

# A request's line and headers; Apache and nginx take 8 KiB for one of them.
HTTP_HEADER_BYTES: Final = 1 << 14
# For all of a request's header to come, and for all of its body.
HTTP_REQUEST_S: Final = 10.0
HTTP_BODY_S: Final = 30.0
# A connection without a request; browsers keep theirs for minutes, and open another one when it is gone.
HTTP_IDLE_S: Final = 30.0
# Connections of the port at the same time.  One without a token makes room when one more comes.
HTTP_PORT_MOST: Final = 256
# How long a daemon that ends waits for a client to take the rest of its response.
HTTP_LAST_REPLY_S: Final = 1.0
# A comment is sent on a stream of events this often, so that both sides notice when the other is gone.
HTTP_HEARTBEAT_S: Final = 15.0
# Events that are kept for a client that does not keep up, or that comes again.
HTTP_EVENTS_KEPT: Final = 2048
# Before the first attempt to bind a port that is taken is repeated, and at most.
HTTP_BIND_RETRY_S: Final = 0.2
HTTP_BIND_RETRY_MAX_S: Final = 5.0
# How long a start waits to learn that the port is taken: the daemon is ready, and may be busy.
HTTP_TROUBLE_ASKED_S: Final = 1.0
# Lines of the log that one request may ask for.
HTTP_LOG_LINES: Final = 10_000

# --- connecting -------------------------------------------------------------------------------

CONNECT_TIMEOUT_S: Final = 5.0
# Between attempts while the backlog is full (EAGAIN): a busy daemon frees a place in well under
# a millisecond, a stopped one never does.
CONNECT_RETRY_FIRST_S: Final = 0.001
CONNECT_RETRY_MAX_S: Final = 0.05
# The original client allows five seconds for each of connect, write and read.
REQUEST_TIMEOUT_S: Final = 5.0
# How long a probe waits for an answer before it says "busy".
PROBE_TIMEOUT_S: Final = 1.0
# How many daemons are asked at the same time by one thread, each on a connection of its own.
ROLL_CALL_CONNECTIONS: Final = 64

# sockaddr_un.sun_path less the closing NUL: unix(7), and sys/un.h of the BSDs and macOS.
UNIX_PATH_MAX_LINUX: Final = 107
UNIX_PATH_MAX_OTHER: Final = 103

# --- lifecycle --------------------------------------------------------------------------------

# Bazel gives its server 60 s to start, buck2 90; a Python daemon that imports much needs 10.
START_TIMEOUT_S: Final = 60.0
# Work that has not ended this long after a stop was asked is left behind.
DRAIN_TIMEOUT_S: Final = 10.0
# The process is ended by the guardian this long after the drain should have been over.
DRAIN_GRACE_S: Final = 2.0
# What `stop` waits for the lock at least: the usual drain, its grace, and the exit.
STOP_TIMEOUT_S: Final = 20.0
# A hook that a command waits for (pause, resume, reload): less than the client's patience.
HOOK_TIMEOUT_S: Final = 4.0
# A probe of the life lock holds it for microseconds; a start retries over this long before it
# believes that the holder is a daemon.
LOCK_PROBE_PATIENCE_S: Final = 0.25
LOCK_RETRY_FIRST_S: Final = 0.002
LOCK_RETRY_MAX_S: Final = 0.05
# How long a service manager, whose socket was connected to, may take to begin to start the daemon.
MANAGER_START_PATIENCE_S: Final = 5.0
# A zygote ends when nobody has asked it for so long.  A script starts its daemons within seconds; gradle's
# daemon, which is asked by hand, waits for hours.
ZYGOTE_QUIET_S: Final = 60.0
# A warm zygote answers within milliseconds; one that does not is left, and the daemon is spawned.
ZYGOTE_PATIENCE_S: Final = 0.5
# One that was just spawned imports first what the daemon would import.
ZYGOTE_COLD_PATIENCE_S: Final = 10.0
# Zygotes of one user: each has an interpreter and an environment of its own.  Each takes some 20 MiB.
MAX_ZYGOTES: Final = 4
# A zygote drops connections beyond so many at once; those are spawned.
MAX_ZYGOTE_CONNECTIONS: Final = 64
# An environment and a start's words.  The kernel's usual send buffer takes about 200 KiB.
MAX_ZYGOTE_MESSAGE_BYTES: Final = 1 << 18
# Binding holds its directory's lock for microseconds; a holder that was stopped is waited for this long.
DIRECTORY_LOCK_TIMEOUT_S: Final = 5.0

# How often it is looked what a service takes, if it may not take all.
LIMITS_LOOK_S: Final = 2.0
# A socket that is held for a service stays that long after it was stopped: a restart closes none.
TRIGGER_LINGER_S: Final = 1.0

# How often the guardian looks whether clients wait on a loop that does not accept.
GUARDIAN_TICK_S: Final = 0.2
# How often the daemon looks whether its socket file is still there.
SOCKET_CHECK_S: Final = 1.0

# --- owned children ---------------------------------------------------------------------------

# Between SIGTERM and SIGKILL when the owner has died: with the watcher's or guard's own work, a second.
OWNED_GRACE_S: Final = 0.5
# The same when the owner asks for the end.  systemd allows 90 s, supervisord and docker 10.
OWNED_STOP_TIMEOUT_S: Final = 10.0

# --- homes ------------------------------------------------------------------------------------

# Services of one home: each is two processes or more, and takes three descriptors of usually 4,096 or more.
MAX_SERVICES: Final = 1000
# A line of a service's output that is longer is cut.
MAX_SERVICE_LINE_BYTES: Final = 1 << 16
# What a service's first process has left has this long between SIGTERM and SIGKILL.
SERVICE_SWEEP_S: Final = 0.2
# While those are ended that services have hidden, it is looked again for others this often, in
# seconds; and so many times after they were killed, as in `sweep`.
STRAY_LOOK_S: Final = 0.1
STRAY_ROUNDS_MAX: Final = 50
# A hook that runs longer is killed.
HOME_HOOK_TIMEOUT_S: Final = 30.0
# A service that does not show to be ready counts as ready when it has lived this long.  What is
# missing something at its start has ended by then; supervisord waits a second.
STARTED_AFTER_S: Final = 0.2
# Between looks whether a service is ready, where it cannot tell by itself: first, longest.
READY_RETRY_FIRST_S: Final = 0.02
READY_RETRY_MAX_S: Final = 0.5
# One attempt of such a look: a connection, a request, a command.
READY_ATTEMPT_S: Final = 5.0
# `up` waits this long for all services, `down` for their end, where nothing else is asked for.
HOME_UP_TIMEOUT_S: Final = 300.0
HOME_DOWN_TIMEOUT_S: Final = 120.0

# --- jobs -------------------------------------------------------------------------------------

# Defaults of `JobQueue`: as many as a person looks through, and an hour's work for a busy machine.
JOBS_AT_ONCE: Final = 4
JOBS_KEPT: Final = 1000
MOST_OPEN_JOBS: Final = 10_000
# A job's log keeps its beginning: the reason of a failure mostly stands there, or its last line is the error.
JOB_LOG_BYTES: Final = 1 << 20
# What goes through the table; big data goes into files, whose names are parameters and results.
JOB_PARAMETERS_BYTES: Final = 64 << 10
JOB_RESULT_BYTES: Final = 64 << 10
JOB_ERROR_CHARS: Final = 2000
JOB_MESSAGE_CHARS: Final = 200
JOB_KEY_CHARS: Final = 200
MOST_JOBS_LISTED: Final = 10_000
# How far a reader of all changes may fall back before it misses some: seconds of a busy queue.
JOB_CHANGES_KEPT: Final = 1000
# A task may say its progress as often as it likes; readers get it so often.
JOB_PROGRESS_S: Final = 0.05
# How often it is looked whether an old process, which an upgrade replaced, has ended with jobs of its own.
JOB_RUNNERS_CHECK_S: Final = 1.0
# How many jobs end between two looks for those that are kept no more.
JOBS_PRUNED_EVERY: Final = 50

# --- files ------------------------------------------------------------------------------------

MAX_RECORD_BYTES: Final = 1 << 16
# The most bytes in a daemon's other small files: how it was started, why that failed, the report of a crash.
MAX_STATE_FILE_BYTES: Final = 1 << 20
# A number for each variable: the kernel takes 2 MiB of them altogether, mostly values.
MAX_ENVIRONMENT_BYTES: Final = 1 << 20
MAX_CONFIG_BYTES: Final = 1 << 20
LOG_FILE_BYTES: Final = 5 << 20
LOG_FILES_KEPT: Final = 5
# As much of one line is read at a time.  What we write is shorter; a damaged log may have no line end at all.
MAX_LOG_LINE_BYTES: Final = 1 << 20
MAX_LOG_FIELD_CHARS: Final = 8192
CRASH_FILE_BYTES: Final = 1 << 20
# What of the crash file is shown to the next client.
CRASH_TAIL_BYTES: Final = 2048
# How far from the end the report of a fatal error is looked for: it has up to 100 calls of each thread.
CRASH_REPORT_BYTES: Final = 64 << 10
LOG_TAIL_LINES: Final = 20
# How often `logs --follow` looks for more.
FOLLOW_POLL_S: Final = 0.1

# Names become file names, environment variables and words of a table.
MAX_NAME_CHARS: Final = 64
# JSON nesting that is read: varlink's own tools stop between 64 and 2,048.
MAX_JSON_DEPTH: Final = 64
# The same for TOML: tables, dotted keys and arrays.  A dotted key of many parts takes tomllib quadratic time.
MAX_TOML_DEPTH: Final = 64
# Keys are names, and at times a path or a condition as Cargo has them; a message quotes them.
MAX_TOML_KEY_CHARS: Final = 1024
