"""The text of a new configuration file: every key that does something, with its default.

Owns the words.  A test holds them against `settings`.
"""

from __future__ import annotations

from typing import Final

TEXT: Final = """\
# palingenesis: configuration.
#
# Each value is the default; remove the `#` before a key to change it.  Then:
#     palingenesis config validate     says whether the file can be used
#     palingenesis daemon reload       makes the daemon use it

[daemon]

# The lowest level that is logged: "debug", "info", "warning" or "error".
#log_level = "info"

# The socket's path; "" is palingenesis.sock in the runtime directory.  Counts at the next start.
#socket_path = ""

# HTTP: the page (`daemonry ui palingenesis`), /v1/... and the original's /api/v1/..., on the socket and
# on a port that asks for a token (palingenesis.http.token in the state directory).  Needs the extra
# `http`; the four keys count at the next start.
#http_enabled = false
#http_port = 7654
#http_bind = "127.0.0.1"
# Has to be true as well where http_bind is beyond this machine: the token is sent in the clear.
#http_beyond_loopback = false

[monitoring]

# Where the session files are (Markdown with YAML front matter), in directories below it too.
#session_dir = "~/.opencode"

# How long a file must be left alone before its change counts, in milliseconds (10 to 2000).
#debounce_ms = 100

# How often to look at all files as well, in seconds (0 to 86400); 0 is never.  For file systems
# that give no notice of changes, such as NFS.
#poll_interval_secs = 0

[resume]

# Whether stopped sessions are resumed; without it they are only seen.
#enabled = true

# A resumed run that writes nothing for so many seconds is ended, and a failed try (5 to 86400).
#silence_secs = 600

# Tries without progress, until a session is given up (1 to 100).
#max_retries = 10

# After a try without progress the next one waits so many seconds, twice as long after each further
# one, and at most the second number (1 to 86400).
#base_delay_secs = 30
#max_delay_secs = 300

# Whether times differ between sessions, by up to ten seconds, so that they do not begin at once.
#jitter = true

# Backups of the records of sessions whose context was full (0 to 1000).
#backup_count = 10

[holding]

# A session that sends more requests a minute than this is held (0 to 100000; 0 means no bound).
#requests_per_minute = 60

# A session is held of whose requests more than this a minute end with an error, or break off (as above).
#errors_per_minute = 5

# A session that fails so often with the same words is given up (0 to 100000; 0 means no bound).
#same_error_times = 5

# Runs that are begun for one session in 24 hours (0 to 100000; 0 means no bound).
#resumes_per_day = 0

# When no run is begun, as "22:00-07:00".
#quiet_hours = ""

[notices]

# Receivers of notices about stops that need you: addresses of apprise, such as "ntfy://topic".
#urls = []

# Hours without notices, as "22:00-07:00".
#quiet_hours = ""

# Notices within so many minutes are one message (0 to 1440).
#digest_minutes = 0

# Agents: the built-in tables are enough for Claude Code, Codex, opencode and Gemini CLI.  A table of
# your own changes single keys of one, or adds an agent, as here; see docs/palingenesis.md.
#
#     [agents.aider]
#     programs = ["aider"]
#     sessions = ["~/src/*/.aider.chat.history.md"]
#     signs = [{ pattern = "RateLimitError", reason = "rate limit" }]
"""
