"""System calls on single files of the store, and the errors that they become.

Owns opening without noting a use, noting a use, locks as signs of life, and the translation of OSError
into `StoreFull` and `StoreTrouble`.  Which files there are is `directory`'s to know.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from typing import Any, Final

from daemonry import open_regular
from vx.cass import eviction
from vx.interfaces import StoreFull, StoreTrouble

_NO_ROOM: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NOATIME: Final = getattr(os, "O_NOATIME", 0)

# Two states of a file differ in one of these: inode, size, time of the last write.
FileState = tuple[int, int, int]


def state_of(found: os.stat_result) -> FileState:
    """Return the state that `found` describes."""
    return found.st_ino, found.st_size, found.st_mtime_ns


# --- errors ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def store_errors(path: str) -> Iterator[None]:
    """Turn OSErrors about the store's own files into `StoreFull` and `StoreTrouble`."""
    try:
        yield
    except OSError as error:
        raise store_error(error.filename or path, error) from error


def store_error(path: Any, error: OSError) -> StoreFull | StoreTrouble:
    """Return the store's error for an OSError about one of its files."""
    reason = error.strerror or str(error)
    kind = StoreFull if error.errno in _NO_ROOM else StoreTrouble
    return kind(path=os.fsdecode(path), reason=reason)


# --- uses -----------------------------------------------------------------------------------------


def open_unnoted(path: str) -> int:
    """Open a file for reading; the kernel does not note that as a use."""
    try:
        return os.open(path, _READ | _NOATIME)
    except PermissionError:  # only a file's owner may use O_NOATIME
        return os.open(path, _READ)


def was_just_used(found: os.stat_result) -> bool:
    """Whether the noted use is recent enough to stand for one now."""
    # A time in the future, of a clock that was set back, is written again.
    return 0 <= time.time_ns() - found.st_atime_ns < eviction.USE_STEP_S * 1_000_000_000


def note_use(file: int | str, found: os.stat_result) -> None:
    """Write the present time as the file's last use."""
    # The kernel's own record of the last access is off on most systems, or a day coarse.
    with contextlib.suppress(OSError):  # a store that can only be read still serves
        os.utime(file, ns=(time.time_ns(), found.st_mtime_ns))


# --- locks ----------------------------------------------------------------------------------------


def is_locked(path: str) -> bool:
    """Whether some process holds a lock on the file; False where there is no file."""
    try:
        fd = open_regular(path)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def unlink(path: str) -> None:
    """Remove a file; whatever prevents it is ignored."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def unlink_unlocked(path: str) -> None:
    """Remove a file unless some process holds a lock on it."""
    try:
        fd = open_regular(path)
    except OSError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unlink(path)
    except BlockingIOError:
        pass  # its writer lives
    finally:
        os.close(fd)
