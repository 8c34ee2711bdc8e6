"""Reading a daemon's log: the last lines, those since a moment, those to come.

Owns finding lines over the rotated parts and showing them to people.  A line that is no JSON
(torn by a full disk, or written by hand) is shown with its controls escaped; NULs, which a power cut can
leave, are no text, and a line without an end is read in pieces.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from daemonry import clock, strict_json
from daemonry.errors import ArgumentInvalid, BadFrame
from daemonry.limits import FOLLOW_POLL_S, LOG_FILES_KEPT, MAX_LOG_LINE_BYTES
from daemonry.process.regular_file import open_regular
from daemonry.terminal_text import printable

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_span(text: str) -> float:
    """Return the seconds that a span such as `90s`, `30m`, `1h`, `2d` or `1w` means.

    Raises:
        ArgumentInvalid: it is none.
    """
    digits, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        raise ArgumentInvalid("--since", f"{text!r} is no span of time: try 90s, 30m, 1h, 2d")
    return float(int(digits) * _UNITS[unit])


# Chooses from the lines that are there.
Choice = Callable[[Iterable[str]], Iterable[str]]


def lines(path: str) -> Iterator[str]:
    """Yield the log's lines, the oldest first, over all its parts."""
    yield from _older_lines(path)
    yield from _lines_of(path)


def last(count: int) -> Choice:
    """Return the choice of the last `count` lines; 0 means all."""
    return lambda found: deque(found, maxlen=count or None)


def since(span_s: float) -> Choice:
    """Return the choice of the lines of the last `span_s` seconds.

    A line without a time goes with the one before.
    """
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(max(0.0, time.time() - span_s)))

    def choose(found: Iterable[str]) -> Iterator[str]:
        recent = False
        for line in found:
            moment = parsed(line).get("time")
            recent = moment >= start if isinstance(moment, str) else recent
            if recent:
                yield line

    return choose


def both(first: Choice, then: Choice) -> Choice:
    """Return the choice of what `then` takes of what `first` takes."""
    return lambda found: then(first(found))


def follow(path: str, choice: Choice = lambda found: ()) -> Iterator[str]:
    """Yield lines as they are written, over rotations, without end.

    Args:
        path: the log file; waited for if it is not there.
        choice: what to yield first of the lines that are there already; none by default.
    """
    follower = Follower(path, choice)
    try:
        while True:
            found = follower.lines()
            yield from found
            if not found:
                clock.sleep(FOLLOW_POLL_S)
    finally:
        follower.close()


class Follower:
    """Reads a log as it is written; `lines` never waits.

    Args:
        path: the log file; it need not be there yet.
        choice: what the first `lines` gives of those that are there already; none by default.
    """

    def __init__(self, path: str, choice: Choice = lambda found: ()) -> None:
        self._path = path
        self._choice: Choice | None = choice
        self._file: BinaryIO | None = None
        self._held = b""

    def lines(self) -> list[str]:
        """Return the lines that were finished since the last look."""
        if self._file is None and not self._open():
            return []
        if self._choice is not None:
            choice, self._choice = self._choice, None
            there = self._pieces()
            chosen = list(choice(itertools.chain(_older_lines(self._path), there)))
            deque(there, maxlen=0)
            return chosen
        found = self._read()
        if not found and self._rotated():
            # What was written between our read and the rename, then what is in the new part.
            found = self._read() + self._last_of_part()
            found += self._read() if self._open() else []
        return found

    def close(self) -> None:
        """Close the file.  Twice is not an error."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> bool:
        self.close()
        try:
            # Bytes, because what is there may end in the middle of a letter.
            self._file = open(open_regular(self._path), "rb")  # noqa: SIM115  # closed by `close`
        except FileNotFoundError:
            return False
        return True

    def _read(self) -> list[str]:
        return list(self._pieces())

    def _pieces(self) -> Iterator[str]:
        assert self._file is not None
        while piece := self._file.readline(MAX_LOG_LINE_BYTES):
            self._held += piece
            if piece.endswith(b"\n") or len(self._held) >= MAX_LOG_LINE_BYTES:
                held, self._held = self._held, b""
                yield from _decoded(held)

    def _last_of_part(self) -> list[str]:
        """Return what stands behind the last line's end in a part that grows no more."""
        held, self._held = self._held, b""
        return list(_decoded(held)) if held else []

    def _rotated(self) -> bool:
        assert self._file is not None
        return _was_rotated(self._path, self._file.fileno())


def _older_lines(path: str) -> Iterator[str]:
    for number in range(LOG_FILES_KEPT, 0, -1):
        yield from _lines_of(f"{path}.{number}")


def _lines_of(part: str) -> Iterator[str]:
    try:
        with open(open_regular(part), "rb") as file:
            while piece := file.readline(MAX_LOG_LINE_BYTES):
                yield from _decoded(piece)
    except FileNotFoundError:
        return


def _decoded(piece: bytes) -> Iterator[str]:
    """Yield the text of a line, or of a piece of one; nothing where only NULs stand."""
    text = piece.rstrip(b"\r\n").strip(b"\0")
    if text or not piece.startswith(b"\0"):
        yield text.decode("utf-8", "backslashreplace")


def _was_rotated(path: str, fd: int) -> bool:
    try:
        now = os.stat(path)
    except FileNotFoundError:
        return False
    ours = os.fstat(fd)
    return (now.st_dev, now.st_ino) != (ours.st_dev, ours.st_ino)


def parsed(line: str) -> dict[str, Any]:
    """Return the fields of a line; one that is no JSON becomes its message."""
    try:
        return strict_json.decode_object(line)
    except BadFrame:
        return {"message": line}


def as_text(fields: dict[str, Any]) -> str:
    """Return a line's fields for people: time, level, message, the rest as `name=value`."""
    known = ("time", "level", "logger", "message", "trace")
    rest = [f"{name}={value}" for name, value in fields.items() if name not in known]
    moment = str(fields.get("time", "")).replace("T", " ").removesuffix("Z")
    parts = [moment, str(fields.get("level", "")).upper(), str(fields.get("message", "")), *rest]
    text = " ".join(printable(part) for part in parts if part)
    trace = str(fields.get("trace", ""))
    return "\n".join([text, *("    " + printable(line) for line in trace.splitlines())])
