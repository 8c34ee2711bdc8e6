"""A file's last lines, from the last one backwards, in time that does not grow with the file.

Owns reading and its bounds.  What the lines mean belongs to each agent's reader.  A file that shrinks,
is replaced or deleted while it is read gives its earlier lines; nothing is raised after the opening.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Final

# One read.  The last hundred lines of most transcripts are in it.
BLOCK_BYTES: Final = 64 * 2**10
# The most that one look reads: a screenshot in a tool's result is 2 MB of one line.
MAX_TAIL_BYTES: Final = 8 * 2**20
MAX_LINE_BYTES: Final = 4 * 2**20
# The first line of a Codex rollout holds its instructions: 20 to 60 KB were seen.
MAX_HEAD_BYTES: Final = 2**20


def open_regular(path: str) -> int:
    """Return a descriptor of a regular file, opened for reading.

    Raises:
        OSError: it cannot be opened, or is a directory, a pipe or a device.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | getattr(os, "O_NOCTTY", 0))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(22, "not a regular file")
    return fd


def lines_backwards(fd: int, size: int) -> Iterator[bytes]:
    """Yield the lines before offset `size`, the last first, each without its line end.

    The first that is yielded is what stands behind the last line end, if anything: a line that is being
    written, or that was torn.  Lines over `MAX_LINE_BYTES` are left out.  After `MAX_TAIL_BYTES` it ends.
    """
    pieces: list[bytes] = []  # of the line whose beginning is not read yet, the last piece first
    length = 0
    at, least = size, max(0, size - MAX_TAIL_BYTES)
    while at > least:
        start = max(least, at - BLOCK_BYTES)
        block = _read_at(fd, start, at - start)
        at = start
        first, *whole = block.split(b"\n")
        if whole:
            yield from _joined([*pieces, whole.pop()], length)
            yield from (line for line in reversed(whole) if line)
            pieces, length = [], 0
        pieces.append(first)
        length += len(first)
        if length > MAX_LINE_BYTES:
            pieces = [b""]  # its bytes are not needed; its length is
    if at == 0:
        yield from _joined(pieces, length)


def _joined(pieces: list[bytes], length: int) -> Iterator[bytes]:
    line = b"".join(reversed(pieces))
    if line and length <= MAX_LINE_BYTES:
        yield line


def first_line(fd: int) -> bytes:
    """Return the file's first line, or as much of it as `MAX_HEAD_BYTES` hold."""
    found = _read_at(fd, 0, BLOCK_BYTES)
    if b"\n" not in found and len(found) == BLOCK_BYTES:
        found += _read_at(fd, BLOCK_BYTES, MAX_HEAD_BYTES - BLOCK_BYTES)
    return found.partition(b"\n")[0]


def _read_at(fd: int, offset: int, count: int) -> bytes:
    try:
        return os.pread(fd, count, offset)
    except OSError:  # an I/O error, a stale handle of a network file system
        return b""
