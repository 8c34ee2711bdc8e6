"""Reading a daemon's log: the last lines, those since a moment, those to come.

Owns finding lines over the rotated parts and showing them to people.  A line that is not JSON
(torn by a full disk, or written by hand) is shown with its controls escaped; NULs, which a power cut can
leave, are not text, and a line without an end is read in pieces.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, Final

from daemonry import clock, strict_json
from daemonry.errors import ArgumentInvalid, BadFrame
from daemonry.limits import FOLLOW_POLL_S, LOG_FILES_KEPT, MAX_LOG_LINE_BYTES, READ_BYTES
from daemonry.process.regular_file import open_regular
from daemonry.terminal_text import printable

# The time before a line of a service, with a blank behind it: see `home.service_log`.
STAMP_CHARS: Final = len("2026-01-31T12:00:00.123Z")
_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")
# Backwards, little is read first: mostly a screenful is asked for.
_FIRST_BLOCK_BYTES: Final = 4096
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_span(text: str) -> float:
    """Return the seconds that a span such as `90s`, `30m`, `1h`, `2d` or `1w` means.

    Raises:
        ArgumentInvalid: it is of another form.
    """
    digits, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        raise ArgumentInvalid("--since", f"{text!r} is not a span of time: try 90s, 30m, 1h, 2d")
    return float(int(digits) * _UNITS[unit])


# Chooses from the lines that are there.
Choice = Callable[[Iterable[str]], Iterable[str]]


def lines(path: str) -> Iterator[str]:
    """Yield the log's lines, the oldest first, over all its parts."""
    yield from _older_lines(path)
    yield from _lines_of(path)


class Last:
    """The choice of the last `count` lines; 0 means all."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self, found: Iterable[str]) -> Iterable[str]:
        """Return the chosen ones of these lines."""
        return deque(found, maxlen=self.count or None)


def last(count: int) -> Choice:
    """Return the choice of the last `count` lines; 0 means all."""
    return Last(count)


def backwards(path: str) -> Iterator[str]:
    """Yield the log's lines, the newest first, over all its parts, each part read when it is needed."""
    seen: set[tuple[int, int]] = set()
    for number in range(LOG_FILES_KEPT + 1):
        try:
            file = open(open_regular(f"{path}.{number}" if number else path), "rb")  # noqa: SIM115  # closed below
        except FileNotFoundError:
            continue
        with file:
            found = os.fstat(file.fileno())
            # Rotated since we opened it: this is the part before, under its new name.
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                yield from _backwards(file, found.st_size)


def tail(path: str, count: int) -> list[str]:
    """Return the log's last `count` lines, the oldest first; 0 means all."""
    return list(itertools.islice(backwards(path), count or None))[::-1]


def recent(path: str, span_s: float) -> Iterator[str]:
    """Yield the lines of the last `span_s` seconds, the oldest first; earlier parts are skipped."""
    start = start_of(span_s)
    parts = [path, *(f"{path}.{number}" for number in range(1, LOG_FILES_KEPT + 1))]
    wanted: list[str] = []
    for part in parts:
        first = _first_moment(part)
        if first is not None:
            wanted.append(part)
            if first < start:
                break
    found = (line for part in reversed(wanted) for line in _lines_of(part, _offset_before(part, start)))
    return iter(since(span_s)(found))


def start_of(span_s: float) -> str:
    """Return the moment `span_s` seconds ago, in the form of a line's time less its milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(max(0.0, time.time() - span_s)))


def moment_of(line: str) -> str:
    """Return a line's time as it is written there, or ""."""
    if _STAMP.match(line):
        return line[:STAMP_CHARS]
    moment = parsed(line).get("time")
    return moment if isinstance(moment, str) else ""


def since(span_s: float) -> Choice:
    """Return the choice of the lines of the last `span_s` seconds.

    A line without a time goes with the one before.
    """
    start = start_of(span_s)

    def choose(found: Iterable[str]) -> Iterator[str]:
        recent = False
        for line in found:
            moment = moment_of(line)
            recent = moment >= start if moment else recent
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


# Stands where lines are missing.
LOST: Final = "some lines are lost: the log was rotated away before they were read"


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
            if isinstance(choice, Last) and choice.count:
                return self._last(choice.count)
            there = self._pieces()
            chosen = list(choice(itertools.chain(_older_lines(self._path), there)))
            deque(there, maxlen=0)
            return chosen
        found = self._read()
        if not found and self._rotated():
            # The lines written between our read and the rename, then those of the newer parts.
            found = self._read() + self._last_of_part()
            assert self._file is not None
            newer, are_all = _parts_behind(self._path, self._file)
            found += [] if are_all else [LOST]
            for number, part in enumerate(newer):
                found += self._last_of_part() if number else []
                self.close()
                self._file = part
                found += self._read()
        return found

    def _last(self, count: int) -> list[str]:
        """Return the last lines that are finished, and go on behind them."""
        assert self._file is not None
        size = os.fstat(self._file.fileno()).st_size
        found = _backwards(self._file, size, self._hold)
        chosen = list(itertools.islice(found, count))
        if len(chosen) < count:
            older = itertools.chain.from_iterable(
                _reversed(f"{self._path}.{number}") for number in range(1, LOG_FILES_KEPT + 1)
            )
            chosen += itertools.islice(older, count - len(chosen))
        self._file.seek(size)
        return chosen[::-1]

    def _hold(self, unfinished: bytes) -> None:
        self._held = unfinished

    def close(self) -> None:
        """Close the file.  Twice is not an error."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> bool:
        self.close()
        try:
            # Bytes, because the file may end in the middle of a letter.
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


def _parts_behind(path: str, file: BinaryIO) -> tuple[list[BinaryIO], bool]:
    """Return the parts that are newer than one, open, the oldest first, and whether these are all."""
    ours = os.fstat(file.fileno())
    seen: set[tuple[int, int]] = set()
    newer: list[BinaryIO] = []
    for number in range(LOG_FILES_KEPT + 1):
        try:
            part = open(open_regular(f"{path}.{number}" if number else path), "rb")  # noqa: SIM115  # the caller's
        except FileNotFoundError:
            continue
        found = os.fstat(part.fileno())
        if (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino):
            part.close()
            return newer[::-1], True
        if (found.st_dev, found.st_ino) in seen:  # rotated since we opened it
            part.close()
            continue
        seen.add((found.st_dev, found.st_ino))
        newer.append(part)
    # Ours is not there: rotated away, or removed by somebody, and then the older ones were read.
    while len(newer) > 1 and os.fstat(newer[-1].fileno()).st_mtime_ns < ours.st_mtime_ns:
        newer.pop().close()
    return newer[::-1], len(newer) <= LOG_FILES_KEPT


def _older_lines(path: str) -> Iterator[str]:
    for number in range(LOG_FILES_KEPT, 0, -1):
        yield from _lines_of(f"{path}.{number}")


def _lines_of(part: str, offset: int = 0) -> Iterator[str]:
    try:
        with open(open_regular(part), "rb") as file:
            file.seek(offset)
            while piece := file.readline(MAX_LOG_LINE_BYTES):
                yield from _decoded(piece)
    except FileNotFoundError:
        return


def _reversed(part: str) -> Iterator[str]:
    try:
        with open(open_regular(part), "rb") as file:
            yield from _backwards(file, os.fstat(file.fileno()).st_size)
    except FileNotFoundError:
        return


def _backwards(file: BinaryIO, end: int, unfinished: Callable[[bytes], None] | None = None) -> Iterator[str]:
    """Yield the lines before the offset `end`, the newest first.

    Args:
        file: the file.
        end: where to begin.
        unfinished: given what stands behind the last line's end, which is then no line.
    """
    held, size = b"", _FIRST_BLOCK_BYTES
    is_last = True
    while end > 0:
        start = max(0, end - size)
        file.seek(start)
        held, *found = (file.read(end - start) + held).split(b"\n")
        end, size = start, min(2 * size, READ_BYTES)
        if found and is_last:
            is_last = False
            rest = found.pop()
            if unfinished is not None:
                unfinished(rest)
            elif rest:
                yield from _decoded(rest)
        for line in reversed(found):
            yield from _decoded(line)
        if len(held) >= MAX_LOG_LINE_BYTES:
            yield from _decoded(held)
            held = b""
    if held and is_last and unfinished is not None:
        unfinished(held)
    elif held or not is_last:
        yield from _decoded(held)


def _first_moment(part: str) -> str | None:
    """Return the time of a part's first line that has one; "" for none, None where there is no such part."""
    if not os.path.exists(part):
        return None
    return next(filter(None, map(moment_of, _lines_of(part))), "")


def _offset_before(part: str, start: str) -> int:
    """Return an offset in a part before its first line of the moment `start` or later."""
    try:
        with open(open_regular(part), "rb") as file:
            low, high = 0, os.fstat(file.fileno()).st_size
            while high - low > READ_BYTES:
                middle = (low + high) // 2
                file.seek(middle)
                file.readline(MAX_LOG_LINE_BYTES)
                line = file.readline(MAX_LOG_LINE_BYTES).decode("utf-8", "backslashreplace")
                if moment_of(line.rstrip("\r\n")) < start:
                    low = middle
                else:
                    high = middle
    except FileNotFoundError:
        return 0
    if low == 0:
        return 0
    with open(open_regular(part), "rb") as file:
        file.seek(low)
        return low + len(file.readline(MAX_LOG_LINE_BYTES))


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


def parsed(line: str, service: str = "") -> dict[str, Any]:
    """Return the fields of a line; one that is not JSON becomes its message.

    Args:
        line: the line.
        service: who wrote it, where it is not JSON but a time and a text, as a home stores output.
    """
    if _STAMP.match(line):
        text = line[STAMP_CHARS + 1 :]
        return {"time": line[:STAMP_CHARS], "level": "info", "logger": service, "message": text}
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
