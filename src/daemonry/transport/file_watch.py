"""Notices of changed directories (inotify(7)), so that nobody has to look at files by the clock.

Owns the descriptor and the watch.  What an entry's change means is the caller's to find out: a notice says
that something in the directory changed, not what.
"""

from __future__ import annotations

import os
import sys
from typing import Final

_IN_CLOEXEC: Final = os.O_CLOEXEC
_IN_NONBLOCK: Final = os.O_NONBLOCK
# IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF
_ENTRIES: Final = 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
_READ_BYTES: Final = 1 << 16


def watch_entries(directory: str) -> int | None:
    """Return a descriptor that can be read when entries of a directory come, go or are replaced.

    None where the system has no such notices, or has no room for another one.  Close it with `os.close`.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    libc = ctypes.CDLL(None)
    try:
        fd = libc.inotify_init1(_IN_CLOEXEC | _IN_NONBLOCK)
    except AttributeError:
        return None
    if fd < 0:
        return None
    if libc.inotify_add_watch(fd, os.fsencode(directory), _ENTRIES) < 0:
        os.close(fd)
        return None
    return int(fd)


def drain(fd: int) -> None:
    """Take the notices that are there."""
    try:
        while len(os.read(fd, _READ_BYTES)) > _READ_BYTES // 2:
            pass
    except BlockingIOError:
        pass
