"""Putting outputs where the user finds them.

Owns the copy: a clone of the store's file where the file system can (FICLONE), else its bytes; never a
hard link, for whoever changes an output (strip, patchelf) would change the store.  It appears whole,
with the caller's permissions, and its time is now.  What is there already and right is left alone.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from typing import Final

from vx.directories import make_dirs
from vx.keys.file_digests import FileDigests

# linux/fs.h: share another file's blocks until one of the two is written.
_FICLONE: Final = 0x40049409
_PIECE_BYTES: Final = 1 << 24


def is_placed(digests: FileDigests, path: str, digest: str, *, executable: bool) -> bool:
    """Whether a file has this content and may be run, if it should."""
    try:
        return digests.digest(path) == digest and (not executable or os.access(path, os.X_OK))
    except OSError:
        return False


def place(source: int, path: str, *, executable: bool, umask: int) -> None:
    """Put a copy of an open file at `path`.

    Args:
        source: the file; read from its beginning, its position stays.
        path: where; its directory is made.
        executable: whether it may be run.
        umask: the caller's.

    Raises:
        OSError: it cannot be put; what was there is as it was.
    """
    folder = os.path.dirname(path)
    make_dirs(folder, umask)
    aside = f"{folder}/.{os.path.basename(path)[:100]}.{secrets.token_hex(6)}"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            _fill(source, fd)
            os.fchmod(fd, (0o777 if executable else 0o666) & ~umask)
        finally:
            os.close(fd)
        os.rename(aside, path)
    except BaseException:
        os.unlink(aside)
        raise


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
