"""BLAKE3 digests: their form, and hashing of bytes and files.

A digest is 64 lower-case hexadecimal digits.  BLAKE3, because hashing is most of what a build does
that changed nothing: it takes a fraction of SHA-256's time where the processor has vectors and no
SHA instructions, and is not slower elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from blake3 import blake3

DIGEST_CHARS: Final = 64
# Large enough that reading costs few calls, small enough to stay in the second-level cache.
PIECE_BYTES: Final = 1 << 18

_HEX = frozenset("0123456789abcdef")


def is_digest(text: str) -> bool:
    """Whether `text` has the form of a digest."""
    return len(text) == DIGEST_CHARS and _HEX.issuperset(text)


def of_bytes(data: bytes) -> str:
    """Return the digest of `data`."""
    return blake3(data).hexdigest()


def of_fd(fd: int) -> tuple[str, int]:
    """Return the digest and the size of a file, read from its beginning; its position stays.

    Raises:
        OSError: it cannot be read.
    """
    hasher = blake3()
    offset = 0
    while piece := os.pread(fd, PIECE_BYTES, offset):
        hasher.update(piece)
        offset += len(piece)
    return hasher.hexdigest(), offset


def open_file(path: str) -> int:
    """Return a descriptor of the regular file at `path`, open for reading; a link is followed.

    Raises:
        OSError: it cannot be opened; or a FIFO, device or directory is there, and is not waited for.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "is not a regular file", path)
    return fd


def of_path(path: str) -> tuple[str, int]:
    """Return the digest and the size of the file at `path`.

    Raises:
        OSError: it cannot be read.
    """
    fd = open_file(path)
    try:
        return of_fd(fd)
    finally:
        os.close(fd)
