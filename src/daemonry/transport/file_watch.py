"""Notices of changed directories and files (inotify(7)), so that nobody has to look at them by the clock.

Owns the descriptors and the watches.  What a change means is the caller's to find out: a notice says that
something happened, not what.  A system without such notices, or without room for another one, is the
caller's to deal with too: it looks by the clock there.  So is a disk that other machines write to, which the
kernel tells nothing about.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable
from typing import Any, Final

from daemonry.process.forks import not_for_children

_IN_CLOEXEC: Final = os.O_CLOEXEC
_IN_NONBLOCK: Final = os.O_NONBLOCK
_IN_MODIFY: Final = 0x2
_IN_ATTRIB: Final = 0x4
_IN_DELETE_SELF: Final = 0x400
_IN_MOVE_SELF: Final = 0x800
_IN_DONT_FOLLOW: Final = 0x02000000
# IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF
_ENTRIES: Final = 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
# A name fewer is a changed attribute, also when another file takes the name; an open file lives on
# without a name.
_ITSELF: Final = _IN_ATTRIB | _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_DONT_FOLLOW
_MOVED: Final = _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_DONT_FOLLOW
_EVENT: Final = struct.Struct("=iIII")
_READ_BYTES: Final = 1 << 16
# Of directories and links on the way to one file; the kernel follows 40 links.
_MOST_STEPS: Final = 256
# statfs(2): NFS, SMB, CIFS, SMB2, 9P, FUSE, Ceph, AFS, Coda, Lustre, OCFS2, GFS2.
_REMOTE: Final = frozenset(
    (
        *(0x6969, 0x517B, 0xFF534D42, 0xFE534D42, 0x01021997, 0x65735546),
        *(0x00C36400, 0x5346414F, 0x73757245, 0x0BD00BD0, 0x7461636F, 0x01161970),
    )
)
_STATFS_BYTES: Final = 256


def watch_entries(directory: str) -> int | None:
    """Return a descriptor that can be read when entries of a directory come, go or are replaced.

    None where the system has no such notices, or has no room for another one.  Close it with `os.close`.
    """
    libc = _libc()
    fd = _open(libc)
    if fd is None:
        return None
    if libc.inotify_add_watch(fd, os.fsencode(directory), _ENTRIES) < 0:
        os.close(fd)
        return None
    return fd


def drain(fd: int) -> bytes:
    """Take the notices that are there, and return them as the kernel gave them."""
    found: list[bytes] = []
    try:
        while len(data := os.read(fd, _READ_BYTES)) > _READ_BYTES // 2:
            found.append(data)
        found.append(data)
    except BlockingIOError:
        pass
    return b"".join(found)


class PathWatch:
    """Notices that paths may lead elsewhere than they did, and that a file was written to.

    Files are watched and not their directories, which may be everybody's.  A directory on the way, or a
    link, is watched for its own removal or renaming.  What comes where nothing was is not noticed.
    """

    def __init__(self) -> None:
        self._fd: int | None = None
        self._written = -1
        not_for_children(self)

    def fileno(self) -> int:
        """Return a descriptor that can be read when there is a notice; -1 for none."""
        return -1 if self._fd is None else self._fd

    def arm(self, paths: Iterable[str], written: str = "") -> set[str]:
        """Watch these paths as they are now and nothing else; return those that cannot be watched.

        Args:
            paths: absolute paths.
            written: a file whose writers are noticed, too, if it is there; "" for none.
        """
        self.close()
        wanted = set(paths)
        libc = _libc()
        self._fd = fd = _open(libc)
        if fd is None:
            return wanted | ({written} if written else set())
        unwatched = {path for path in wanted if not _watch_path(libc, fd, path)}
        if written:
            self._written = libc.inotify_add_watch(fd, os.fsencode(written), _IN_MODIFY | _IN_DONT_FOLLOW)
            if self._written < 0 and os.path.lexists(written):
                unwatched.add(written)
        return unwatched

    def take(self) -> tuple[bool, bool]:
        """Take the notices: whether a path may lead elsewhere, and whether the file was written to."""
        if self._fd is None:
            return False, False
        elsewhere = was_written = False
        data, at = drain(self._fd), 0
        while at + _EVENT.size <= len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            if watch == self._written and mask == _IN_MODIFY:
                was_written = True
            else:
                elsewhere = True
        return elsewhere, was_written

    def close(self) -> None:
        """Watch nothing.  Twice is not an error."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        self._written = -1

    def drop_in_child(self) -> None:
        """Close a forked child's copy; the watches are the parent's too."""
        self.close()


def _libc() -> Any:
    """Return the C library; None where it has no such notices."""
    if sys.platform != "linux":
        return None
    import ctypes

    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "inotify_init1") else None


def _open(libc: Any) -> int | None:
    if libc is None:
        return None
    fd = int(libc.inotify_init1(_IN_CLOEXEC | _IN_NONBLOCK))
    return None if fd < 0 else fd


def _watch_path(libc: Any, fd: int, path: str) -> bool:
    """Watch a file, and the way to it; whether all that can change it without a notice is elsewhere."""
    if _is_remote(libc, os.path.dirname(path)):
        return False
    if libc.inotify_add_watch(fd, os.fsencode(path), _ITSELF) < 0:
        return False
    # A directory that we cannot read is one that only its owner can move; the kernel refuses the watch.
    for step in _way_to(path):
        libc.inotify_add_watch(fd, os.fsencode(step), _MOVED | (_IN_ATTRIB if os.path.islink(step) else 0))
    return True


def _way_to(path: str) -> set[str]:
    """Return the directories and links through which a path leads, less itself."""
    found: set[str] = set()
    left = [path]
    while left and len(found) < _MOST_STEPS:
        step = left.pop()
        while step not in found:
            found.add(step)
            try:
                left.append(os.path.join(os.path.dirname(step), os.readlink(step)))
            except OSError:
                pass  # no link
            step = os.path.dirname(step) or "/"
    found.discard(path)
    return found


def _is_remote(libc: Any, directory: str) -> bool:
    import ctypes

    found = ctypes.create_string_buffer(_STATFS_BYTES)
    if libc.statfs(os.fsencode(directory), found) != 0:
        return False
    kind = struct.unpack_from("@l", found)[0] & 0xFFFFFFFF
    return kind in _REMOTE
