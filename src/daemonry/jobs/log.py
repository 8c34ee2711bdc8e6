"""A job's log: what its task writes and its commands print, in one bounded file of its own.

Owns the bound and reading.  The file's first part is kept, what comes behind the bound is dropped.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable

from daemonry.limits import FOLLOW_POLL_S, MAX_LOG_LINE_BYTES, READ_BYTES
from daemonry.process.regular_file import open_regular


class JobLog:
    """The log of one job, to write to.  For any thread.

    Args:
        path: its file; a later attempt appends to it.
        most_bytes: how long it may become.
    """

    def __init__(self, path: str, most_bytes: int) -> None:
        self._fd = open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._left_bytes = max(0, most_bytes - os.fstat(self._fd).st_size)
        self._lock = threading.Lock()
        self._is_full = False

    def write(self, data: bytes) -> None:
        """Append what still fits; a full disk loses it, and no job fails by that."""
        with self._lock:
            if self._fd < 0 or self._is_full:
                return
            fitting = data[: self._left_bytes]
            self._left_bytes -= len(fitting)
            if len(fitting) < len(data):
                self._is_full = True
                fitting += b"\n(the log is full: the rest is dropped)\n"
            try:
                os.write(self._fd, fitting)
            except OSError:
                pass

    def close(self) -> None:
        """Close the file.  Twice is not an error."""
        with self._lock:
            fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


async def lines(path: str, goes_on: Callable[[], bool]) -> AsyncIterator[str]:
    """Yield the lines of a job's log, and those to come while `goes_on()` says so.

    A line that is too long comes in pieces.  No file has no lines.
    """
    rest, at = b"", 0
    while True:
        was_going_on = goes_on()  # asked first: the last lines are written before the end
        try:
            data = _read(path, at)
        except OSError:
            data = b""
        at += len(data)
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield _text(line)
        while len(rest) > MAX_LOG_LINE_BYTES:
            yield _text(rest[:MAX_LOG_LINE_BYTES])
            rest = rest[MAX_LOG_LINE_BYTES:]
        if not data:
            if not was_going_on:
                break
            await asyncio.sleep(FOLLOW_POLL_S)
    if rest:
        yield _text(rest)


def _read(path: str, at: int) -> bytes:
    fd = open_regular(path, os.O_RDONLY, 0)
    try:
        return os.pread(fd, READ_BYTES, at)
    finally:
        os.close(fd)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace").replace("\0", "")
