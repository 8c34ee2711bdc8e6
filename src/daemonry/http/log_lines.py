"""`/v1/logs`: the daemon's log, the lines that a client asks for and those to come.

Owns choosing lines by level and by text.  Text is looked for as it is: an expression from a client could
keep the daemon busy for as long as it likes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, Final, NamedTuple

from daemonry import strict_json
from daemonry.http.event_stream import framed
from daemonry.limits import FOLLOW_POLL_S, HTTP_HEARTBEAT_S
from daemonry.process import log_reader

# Stands for all services of a home.
EVERY: Final = "*"
LEVELS: Final = ("debug", "info", "warning", "error", "critical")


class Wanted(NamedTuple):
    """What lines a client wants.

    Attributes:
        lines: how many at most, the last ones; 0 for all.
        level: the least level.
        text: what a line has in it, in whatever case of letters.
        since_s: how old the oldest may be; None for any.
    """

    lines: int = 100
    level: str = "debug"
    text: str = ""
    since_s: float | None = None

    @property
    def choice(self) -> log_reader.Choice:
        """Return the choice among the lines that are there."""
        last = log_reader.last(self.lines)
        recent = log_reader.since(self.since_s) if self.since_s is not None else _all
        return lambda found: last(line for line in recent(found) if self.takes(line))

    def takes(self, line: str) -> bool:
        """Whether a line is wanted."""
        if self.text and self.text.casefold() not in line.casefold():
            return False
        if self.level == LEVELS[0]:
            return True
        level = log_reader.parsed(line).get("level")
        return level in LEVELS and LEVELS.index(str(level)) >= LEVELS.index(self.level)


def _all(found: Iterable[str]) -> Iterable[str]:
    return found


class ServedLog(NamedTuple):
    """A log.

    Attributes:
        path: its file.
        service: the service that writes it; "" for that of a daemon or a supervisor.
    """

    path: str
    service: str = ""


async def lines_there(sources: Sequence[ServedLog], wanted: Wanted) -> list[dict[str, Any]]:
    """Return the lines that are there, by time; read in a thread, for they may be many."""

    def read() -> list[dict[str, Any]]:
        found = [
            _fields(line, source, len(sources))
            for source in sources
            for line in wanted.choice(log_reader.lines(source.path))
        ]
        return _last(found, wanted) if len(sources) > 1 else found

    return await asyncio.to_thread(read)


async def as_they_come(sources: Sequence[ServedLog], wanted: Wanted) -> AsyncGenerator[str, None]:
    """Yield the lines that are there, and then each new one, as server-sent events."""
    followers = [(source, log_reader.Follower(source.path, wanted.choice)) for source in sources]

    def look() -> list[dict[str, Any]]:
        lines = [(source, line) for source, follower in followers for line in follower.lines()]
        found = [_fields(line, source, len(sources)) for source, line in lines if wanted.takes(line)]
        return sorted(found, key=_moment) if len(sources) > 1 else found

    try:
        found = await asyncio.to_thread(look)
        if len(sources) > 1:
            found = _last(found, wanted)
        quiet_s = 0.0
        while True:
            piece = "".join(framed("line", strict_json.encode(fields)) for fields in found)
            quiet_s = 0.0 if piece else quiet_s + FOLLOW_POLL_S
            if piece:
                yield piece
            elif quiet_s >= HTTP_HEARTBEAT_S:
                quiet_s = 0.0
                yield ": nothing new\n\n"
            await asyncio.sleep(FOLLOW_POLL_S)
            found = look()
    finally:
        for _, follower in followers:
            follower.close()


def _fields(line: str, source: ServedLog, of: int) -> dict[str, Any]:
    fields = log_reader.parsed(line, source.service)
    return {**fields, "service": source.service} if of > 1 else fields


def _last(found: list[dict[str, Any]], wanted: Wanted) -> list[dict[str, Any]]:
    """Return the last lines that are wanted, of several logs by time."""
    by_time = sorted(found, key=_moment)
    return by_time[-wanted.lines :] if wanted.lines else by_time


def _moment(fields: dict[str, Any]) -> str:
    return str(fields.get("time", ""))
