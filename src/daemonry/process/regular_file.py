"""Opening files of ours: at once, and only regular ones.

Owns the way in which everything in a state or runtime directory is opened.  What lies at a path of
ours can be anything: a FIFO, whose opening waits for its other end for ever, a device, a socket, a
symbolic link that leads elsewhere, a directory.  None of them is read, written or waited for; the
error names the kind of file, and is an OSError like that of a file that cannot be opened.

Paths that a user gave (a configuration) are opened by their readers: links are followed there.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Of st_mode (inode(7)); `import stat` would cost the quick commands more than the opening.
_KIND: Final = 0o170000
_REGULAR: Final = 0o100000
_KINDS: Final = {
    0o010000: "a FIFO",
    0o020000: "a device",
    0o040000: "a directory",
    0o060000: "a device",
    0o120000: "a symbolic link",
    0o140000: "a socket",
}


class NotRegular(OSError):
    """What lies at a path is not a regular file; it was neither read nor changed.

    `errno` is EINVAL, `strerror` names the kind of file, and `filename` is the path.
    """

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def open_regular(path: str, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
    """Open the regular file at `path`, without ever waiting, and return a descriptor that is not inherited.

    Args:
        path: the file.
        flags: as of open(2).  With O_TRUNC, other files than regular ones are still left alone.
        mode: the permissions of a file that is made, less the umask.

    Raises:
        NotRegular: something else lies there.
        OSError: as open(2).
    """
    safe = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags & ~os.O_TRUNC | safe, mode)
    except OSError as error:
        # ELOOP: a link; EISDIR; ENXIO: a socket, or a FIFO that nobody reads; ENODEV: a device.
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.EOPNOTSUPP):
            raise
        mode = os.stat(path, follow_symlinks=False).st_mode
        raise (_not_regular(path, mode) if mode & _KIND != _REGULAR else error) from None
    try:
        found = os.fstat(fd).st_mode
        if found & _KIND != _REGULAR:
            raise _not_regular(path, found)
        if flags & os.O_ACCMODE:
            os.set_blocking(fd, True)  # a child may get it
        if flags & os.O_TRUNC:
            os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_regular(path: str, most_bytes: int) -> bytes:
    """Return all that the regular file at `path` holds.

    Raises:
        NotRegular: something else lies there.
        OSError: it cannot be read, or holds more than `most_bytes` (EFBIG).
    """
    fd = open_regular(path)
    try:
        data = os.read(fd, most_bytes + 1)
        while 0 < len(data) <= most_bytes and (more := os.read(fd, most_bytes + 1 - len(data))):
            data += more
    finally:
        os.close(fd)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"holds more than {most_bytes} bytes", path)
    return data


def is_regular(path: str) -> bool:
    """Whether a regular file lies at `path`; a link to one does not count."""
    try:
        return os.stat(path, follow_symlinks=False).st_mode & _KIND == _REGULAR
    except OSError:
        return False


def _not_regular(path: str, mode: int) -> NotRegular:
    kind = _KINDS.get(mode & _KIND, "something else")
    return NotRegular(errno.EINVAL, f"is {kind} and not a regular file", path)
