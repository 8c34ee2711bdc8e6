"""Putting outputs where the user finds them.

Owns the copy: a clone of the store's file where the file system can (FICLONE), else its bytes; never a
hard link, for whoever changes an output (strip, patchelf) would change the store.  It appears whole,
with the caller's permissions, and its time is now.  A file that is right already is left alone.
No link below the project is followed (`vx.directories`).
"""

from __future__ import annotations

import fcntl
import functools
import os
from typing import Final

from vx import directories
from vx.file_digests import FileDigests

# linux/fs.h: share another file's blocks until one of the two is written.
_FICLONE: Final = 0x40049409
_PIECE_BYTES: Final = 1 << 24


def is_placed(digests: FileDigests, path: str, digest: str, *, executable: bool) -> bool:
    """Whether a file has this content and may be run, if it should."""
    try:
        return digests.digest(path) == digest and (not executable or os.access(path, os.X_OK))
    except OSError:
        return False


def place(source: int, base: str, inside: str, *, executable: bool, umask: int) -> None:
    """Put a copy of an open file at a path below a project.

    Args:
        source: the file; read from its beginning, its position stays.
        base: the project's directory.
        inside: where, relative to it; its directory is made.
        executable: whether it may be run.
        umask: the caller's.

    Raises:
        OSError: it cannot be put, or a link is in the way; an earlier file is as it was.
    """
    folder, name = os.path.split(inside)
    mode = (0o777 if executable else 0o666) & ~umask
    with directories.opened(base, folder, umask) as fd:
        try:
            directories.replace(fd, name, mode, functools.partial(_fill, source))
        except OSError as error:  # it names a file beside it, relative to its folder
            raise OSError(error.errno, error.strerror, f"{base}/{inside}") from error


def _fill(source: int, target: int) -> None:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        pass  # another file system, or one that cannot share
    else:
        return
    offset, size = 0, os.fstat(source).st_size
    while offset < size:
        try:
            copied = os.copy_file_range(source, target, min(_PIECE_BYTES, size - offset), offset, offset)
        except OSError:
            copied = 0
        if not copied:
            break
        offset += copied
    while piece := os.pread(source, 1 << 18, offset):
        offset += os.pwrite(target, piece, offset)
