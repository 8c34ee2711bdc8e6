"""A service's log: what it writes to standard output and error, line by line, in one rotated file.

Owns the way from the service's pipe to the file.  The supervisor is the one writer, so the file can
be rotated, and lines can be watched for.  The form of the file is `process.logs`'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable

from daemonry.limits import LOG_TAIL_LINES, MAX_SERVICE_LINE_BYTES, READ_BYTES
from daemonry.process.logs import LogFile

Watch = Callable[[str], None]


class ServiceLog:
    """The log of one service, over all its runs.

    Args:
        path: the file.
        name: the service.
        most_bytes: how large the file may become.

    Attributes:
        tail: the last lines of the present run.
        watches: told each line that the service writes.
    """

    def __init__(self, path: str, name: str, most_bytes: int) -> None:
        self.tail: deque[str] = deque(maxlen=LOG_TAIL_LINES)
        self.watches: list[Watch] = []
        self._name = name
        self._file = LogFile(path, most_bytes)

    def line(self, line: str) -> None:
        """Write a line of the service."""
        self.tail.append(line)
        self._write(line, logging.INFO, self._name)
        for watch in list(self.watches):
            watch(line)

    def event(self, message: str, level: int) -> None:
        """Write what happened to the service, between its own lines."""
        self._write(message, level, "daemonry.home")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, message: str, level: int, logger: str) -> None:
        record = logging.LogRecord(logger, level, "", 0, message, None, None)
        self._file.emit(record)


class Output:
    """Reads a pipe and hands on its lines; a line that never ends is cut.

    Args:
        fd: the pipe's reading end; owned by this object.
        line: told each line, without its end.
        closed: told once that nobody writes there any more.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fd: int,
        line: Watch,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        self._closed = closed
        self._loop = loop
        self._fd = fd
        self._line = line
        self._held = b""
        os.set_blocking(fd, False)
        loop.add_reader(fd, self._read)

    def finish(self) -> None:
        """Take what is still in the pipe, and close it.  Twice is not an error."""
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
        *lines, self._held = (self._held + data).split(b"\n")
        while len(self._held) > MAX_SERVICE_LINE_BYTES:
            lines.append(self._held[:MAX_SERVICE_LINE_BYTES])
            self._held = self._held[MAX_SERVICE_LINE_BYTES:]
        for line in lines:
            self._line(_text(line))
        return True

    def _close(self) -> None:
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1
        if self._held:
            self._line(_text(self._held))
            self._held = b""
        self._closed()


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "backslashreplace")
