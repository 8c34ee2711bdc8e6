"""The command that an agent runs at an event, and the directory where it leaves the event.

Owns both.  The command is a shell script: it starts in a few milliseconds, needs no Python of any
environment, and still ends with 0 when palingenesis is gone.  It hands an event over by a file, with the
daemon or without: a socket would make the agent wait for a daemon that is stuck, and lose the event where
there is none.  The daemon has the directory under watch.
"""

from __future__ import annotations

import os
import shlex
from typing import Final

from daemonry import open_regular, write_atomically

# A Stop carries the last answer; prompts are bounded by their model's context.
MAX_EVENT_BYTES: Final = 256 * 2**10
# Events that wait for a daemon; further ones are dropped: the transcripts tell their ends too.
MAX_EVENTS: Final = 500

# How long an event may take to be written.  Only a whole one is a JSON object, so one that is not is read
# again until then, and the script needs no `mv`.
WRITING_S: Final = 10.0

# One program and the shell, as each costs the agent milliseconds.  `ulimit -f` counts in 512 bytes; once
# it is met, the rest is read all the same: an agent may report a hook that does not read to the end.
_SCRIPT: Final = f"""\
#!/bin/sh
# Keeps what an agent tells at an event until palingenesis takes it in.  It prints nothing and ends with 0,
# whatever happens.  Made by `palingenesis hooks install`, and of no use after `palingenesis hooks remove`.
exec 2>/dev/null
umask 077
agent=$1 spool=${{0%/*}}/spool
set -- "$spool"/*
[ $# -lt {MAX_EVENTS} ] || exec cat >/dev/null
trap '' XFSZ
ulimit -f {MAX_EVENT_BYTES // 512}
cat >"$spool/$agent.$PPID.$$" || cat >/dev/null
exit 0
"""


def directory(state_dir: str) -> str:
    """Return where script, events and backups are."""
    return os.path.join(state_dir, "hooks")


def spool(state_dir: str) -> str:
    """Return where events wait."""
    return os.path.join(directory(state_dir), "spool")


def command(state_dir: str, agent: str) -> str:
    """Return the command line that an agent's settings get."""
    return f"{shlex.quote(os.path.join(directory(state_dir), 'hook'))} {agent}"


def write(state_dir: str) -> None:
    """Make the script and its directory.

    Raises:
        OSError: that is not possible.
    """
    os.makedirs(spool(state_dir), mode=0o700, exist_ok=True)
    path = os.path.join(directory(state_dir), "hook")
    write_atomically(path, _SCRIPT.encode(), mode=0o700)


def waiting(state_dir: str) -> list[tuple[str, str, float]]:
    """Return the events that wait, as path, agent and the instant at which each came, the oldest first."""
    found: list[tuple[str, str, float]] = []
    try:
        with os.scandir(spool(state_dir)) as entries:
            for entry in entries:
                if entry.name.startswith(".") or len(found) >= 2 * MAX_EVENTS:
                    continue
                at_s = entry.stat(follow_symlinks=False).st_mtime
                found.append((entry.path, entry.name.partition(".")[0], at_s))
    except OSError:
        pass
    return sorted(found, key=lambda one: one[2])


def read(path: str) -> bytes:
    """Return an event as the agent told it; nothing where it cannot be read."""
    try:
        with open(open_regular(path), "rb") as file:
            return file.read(MAX_EVENT_BYTES)
    except OSError:
        return b""
