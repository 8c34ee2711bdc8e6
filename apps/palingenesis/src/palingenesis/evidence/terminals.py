"""The terminals that `palingenesis run` holds, as their files tell: `{state}/terminals/NAME.json`.

Owns the file's form, and reading it.  A terminal whose process lives accounts for the session in it, also
between two runs of its agent: nobody else resumes that session meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from daemonry import read_regular
from palingenesis import names_json
from palingenesis.evidence import processes

MAX_BYTES = 256 * 2**10
MAX_TERMINALS = 1_000


class Terminal(msgspec.Struct, frozen=True):
    """One terminal.

    Attributes:
        name: what its user calls it.
        agent: the profile of the program in it; "" for a program that is not an agent.
        argv: the words that it was begun with.
        cwd: where.
        pid, start: the process that holds it.
        began_s: since when.
        session: the id of the session in it; "" while that is not known.
        state: "running", "waiting" (for a try), or "ended".
        why: why it waits, or how it ended; for its user.
        at_s: when the next try is due, while it waits.
        attached: whether somebody looks at it.
        headless: whether there is no terminal: its output is passed on.
        status: how it ended, as wait(2) tells it.
        screen: its last screen, once it has ended; foreign text.
    """

    name: str
    agent: str
    argv: tuple[str, ...]
    cwd: str
    pid: int
    start: str
    began_s: float
    session: str = ""
    state: str = "running"
    why: str = ""
    at_s: float = 0.0
    attached: bool = False
    headless: bool = False
    status: int | None = None
    screen: str = ""

    @property
    def lives(self) -> bool:
        """Whether the process that holds it is there."""
        return bool(self.start) and processes.start_of(self.pid) == self.start


def directory(state_dir: str) -> str:
    """Return where the files of terminals are."""
    return os.path.join(state_dir, "terminals")


def read(path: str) -> Terminal | None:
    """Return what a terminal's file tells; None where that cannot be read."""
    try:
        return names_json.decode(read_regular(path, MAX_BYTES), Terminal)
    except (OSError, ValueError):
        return None


def all_of(state_dir: str) -> Iterator[Terminal]:
    """Yield the terminals that have a file, also those that have ended."""
    try:
        names = sorted(os.listdir(directory(state_dir)))
    except OSError:
        return
    for name in names[:MAX_TERMINALS]:
        if name.endswith(".json"):
            found = read(os.path.join(directory(state_dir), name))
            if found is not None:
                yield found


def living(state_dir: str) -> list[Terminal]:
    """Return the terminals whose processes are there."""
    return [one for one in all_of(state_dir) if one.state != "ended" and one.lives]
