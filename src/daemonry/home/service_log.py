"""A service's log: its standard output and error, in one rotated file.

    2026-01-31T12:00:00.123Z listening on port 8080
    {"time": "2026-01-31T12:00:01.000Z", "level": "info", "logger": "daemonry.home", "message": "ready ..."}

Owns the way from the service's pipe to the file.  Its lines are moved as they came, with the time at
which they were read before each: they are not parsed, decoded or escaped until somebody reads them.
What happened to the service stands between them as JSON.  The supervisor is the one writer, so the file
can be rotated, and lines can be watched for.  Size and parts are `process.logs`'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable

from daemonry.limits import MAX_SERVICE_LINE_BYTES, READ_BYTES
from daemonry.process.logs import LogFile, moment

Watch = Callable[[str], None]


class ServiceLog:
    """The log of one service, over all its runs.

    Args:
        path: the file.
        most_bytes: how large the file may become.

    Attributes:
        watches: called with each line that the service writes.
    """

    def __init__(self, path: str, most_bytes: int) -> None:
        self.watches: list[Watch] = []
        self._file = LogFile(path, most_bytes)

    def take(self, lines: bytes) -> None:
        """Write lines of the service, each with its end."""
        stamp = moment(time.time()).encode() + b" "
        self._file.write_lines(stamp + lines[:-1].replace(b"\n", b"\n" + stamp) + b"\n")
        if self.watches:
            for watch in list(self.watches):
                by_line(watch)(lines)

    def event(self, message: str, level: int) -> None:
        """Write what happened to the service, between its own lines."""
        self._file.emit(logging.LogRecord("daemonry.home", level, "", 0, message, None, None))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def output_pipe() -> tuple[int, int]:
    """Return (reading end, writing end) of a pipe that its writers hold open in both directions.

    So they can write once more when the reader has been killed, and are not ended by SIGPIPE before they
    have cleaned up.  Where there is no procfs it is a plain pipe.
    """
    far, near = os.pipe()
    try:
        both = os.open(f"/proc/self/fd/{near}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return far, near
    os.close(near)
    return far, both


class Output:
    """Reads a pipe and hands on whole lines; a line that never ends is cut.

    Args:
        fd: the pipe's reading end; owned by this object.
        take: called with whole lines, each with its end.
        closed: called once, when nobody writes there any more.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fd: int,
        take: Callable[[bytes], None],
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        self._closed = closed
        self._loop = loop
        self._fd = fd
        self._take = take
        self._held = b""
        os.set_blocking(fd, False)
        loop.add_reader(fd, self._read)

    def finish(self) -> None:
        """Take the bytes that are still in the pipe, and close it.  Twice is not an error."""
        while self._fd >= 0 and self._read():
            pass
        self._close()

    def _read(self) -> bool:
        """Read once; whether there was something."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._close()
            return False
        end = data.rfind(b"\n") + 1
        if end:
            whole, self._held = self._held + data[:end], data[end:]
            self._take(cut(whole))
        else:
            self._held += data
        while len(self._held) > MAX_SERVICE_LINE_BYTES:
            self._take(self._held[:MAX_SERVICE_LINE_BYTES] + b"\n")
            self._held = self._held[MAX_SERVICE_LINE_BYTES:]
        return True

    def _close(self) -> None:
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1
        if self._held:
            self._take(cut(self._held + b"\n"))
            self._held = b""
        self._closed()


def cut(lines: bytes) -> bytes:
    """Return whole lines with the first cut if it is longer than a line may be; no other is, in one read."""
    most = MAX_SERVICE_LINE_BYTES
    first = lines.find(b"\n")
    if first <= most:
        return lines
    pieces = [lines[at : min(at + most, first)] for at in range(0, first, most)]
    return b"\n".join(pieces) + lines[first:]


def by_line(line: Watch) -> Callable[[bytes], None]:
    """Return a function that takes whole lines and calls `line` with the text of each."""

    def take(lines: bytes) -> None:
        for one in lines[:-1].split(b"\n"):
            line(one.removesuffix(b"\r").decode("utf-8", "backslashreplace"))

    return take
