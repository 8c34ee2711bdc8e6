"""Reading files that a user named: whatever lies there, it is read to a bound and not waited for.

A link is followed, and a pipe that somebody writes to (`<(...)`) is read to its end.  A named pipe
without a writer reads as empty.
"""

from __future__ import annotations

import errno
import os


def read_given(path: str, most_bytes: int) -> bytes:
    """Return all that is at `path`.

    Raises:
        OSError: it cannot be read, or holds more than `most_bytes` (EFBIG).
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        os.set_blocking(fd, True)  # with a writer, its end comes
        pieces = []
        left = most_bytes + 1
        while left > 0 and (piece := os.read(fd, min(left, 1 << 16))):
            pieces.append(piece)
            left -= len(piece)
    finally:
        os.close(fd)
    if left <= 0:
        raise OSError(errno.EFBIG, f"holds more than {most_bytes} bytes", path)
    return b"".join(pieces)
