"""Directories in a user's project, made by a daemon, and never left by a link.

Owns their permissions, for the caller's umask counts and not the daemon's own; and the way down: each level
is opened without following a symbolic link.  A project may be anybody's, and a link in it, `.vx/build` to
`~/bin`, would have outputs replace files there.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


@contextmanager
def opened(base: str, inside: str, umask: int | None = None) -> Iterator[int]:
    """Open a directory below another one, level by level.

    Args:
        base: where links are followed: the project; absolute.
        inside: the way from there, `.vx/runs`.
        umask: the caller's, to make the levels that are not there; None to make none.

    Raises:
        OSError: it cannot be opened or made, or a level is a symbolic link.
    """
    fd = os.open(base, _FLAGS & ~os.O_NOFOLLOW)
    path = base
    try:
        for name in inside.split("/"):
            path = f"{path}/{name}"
            below = _enter(fd, name, path, umask)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def _enter(above: int, name: str, path: str, umask: int | None) -> int:
    made = False
    if umask is not None:
        try:
            os.mkdir(name, dir_fd=above)
            made = True
        except FileExistsError:
            pass
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
    try:
        fd = os.open(name, _FLAGS, dir_fd=above)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and _is_link(above, name):
            raise OSError(errno.ELOOP, "is a symbolic link, which is not followed: remove it", path) from None
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from None
    if made and umask is not None:
        os.fchmod(fd, 0o777 & ~umask)
    return fd


def _is_link(above: int, name: str) -> bool:
    try:
        os.readlink(name, dir_fd=above)
    except OSError:
        return False
    return True


def replace(folder: int, name: str, mode: int, fill: Callable[[int], None]) -> None:
    """Put a file into an open directory, whole or not at all; it replaces the one of its name.

    Args:
        folder: the directory.
        name: the file's.
        mode: its permissions.
        fill: writes its content to a descriptor.

    Raises:
        OSError: it cannot be written; an earlier file is as it was.
    """
    aside = f".{name[:100]}.{secrets.token_hex(6)}.tmp"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        try:
            fill(fd)
            os.fchmod(fd, mode)
        finally:
            os.close(fd)
        os.rename(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(aside, dir_fd=folder)
        raise
