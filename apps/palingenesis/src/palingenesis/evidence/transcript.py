"""What a reader finds in one session's record.

Owns the value that all readers return.  `facts` are for the judge, the rest is for a resume.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol

import msgspec

from palingenesis.agents.profile import Profile
from palingenesis.verdict.facts import Fact

# After the turn is decided, this many lines are searched for what a resume needs.
MAX_MORE_LINES: Final = 300
# Requests are counted over the last minute, and over so many lines at most.
MINUTE_S: Final = 60.0
MAX_MINUTE_LINES: Final = 1_000
# Of the last answer or summary, what a new session is given.
MAX_SUMMARY_CHARS: Final = 8_000


class Transcript(msgspec.Struct, frozen=True):
    """One session as its record shows it.

    Attributes:
        id: the agent's own id of it; "" if it was not found.
        cwd: where it works; "" if that is not known.
        facts: in the order in which they happened.
        version: the agent's version that wrote it; "" if not told.
        progress_at_s: when the model said or did something last; None if not found.
        permission: the permission mode that it had last; "" if not told.
        registers: whether sessions of its kind are in the agent's registry while they live.
        summary: the last summary or answer, bounded; foreign text.
        is_main: whether it is a session of its own, and not a sub-agent's.
        requests_at_s: when requests were sent to the model lately, where the record tells them.
        errors_at_s: the same of those that ended with an error, or broke off.
        at_s: when it changed last, where the record tells better than its file; else None.
        turn_began_s: when its last turn began, where the record tells that; else None.
    """

    id: str = ""
    cwd: str = ""
    facts: tuple[Fact, ...] = ()
    version: str = ""
    progress_at_s: float | None = None
    permission: str = ""
    registers: bool = False
    summary: str = ""
    is_main: bool = True
    requests_at_s: tuple[float, ...] = ()
    errors_at_s: tuple[float, ...] = ()
    at_s: float | None = None
    turn_began_s: float | None = None


class LastMinute:
    """The requests in the last minute of a record that is read backwards.

    Attributes:
        requests_at_s, errors_at_s: as in `Transcript`.
        is_over: whether earlier lines have nothing to add.
    """

    def __init__(self) -> None:
        self.requests_at_s: list[float] = []
        self.errors_at_s: list[float] = []
        self.is_over = False
        self._lines = 0
        self._last_at_s: float | None = None
        self._known: set[str] = set()

    def line(self, at_s: float) -> None:
        """Take note of a line's time."""
        self._lines += 1
        self._last_at_s = self._last_at_s or at_s
        self.is_over |= at_s < self._last_at_s - MINUTE_S or self._lines > MAX_MINUTE_LINES

    def request(self, at_s: float, name: str = "", *, failed: bool = False) -> None:
        """Take note of a request; those of one name are one."""
        if self.is_over or (name and name in self._known):
            return
        self._known.add(name)
        self.requests_at_s.append(at_s)
        if failed:
            self.errors_at_s.append(at_s)


class Reader(Protocol):
    """A function that reads one agent's lines.

    Args:
        backwards: the lines that are JSON objects, the last first.
        head: the first line, or an empty object.
        profile: the agent's table.
    """

    def __call__(
        self, backwards: Iterator[dict[str, Any]], head: dict[str, Any], profile: Profile
    ) -> Transcript:
        """Return what the lines tell."""
        ...
