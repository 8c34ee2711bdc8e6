"""Directories that hold our sockets, locks and logs: made 0700, or checked before they are used.

Owns the rules of who may stand above our files.  A directory that exists is never changed: the
message names the `chmod` instead, because the path may have come from a user who meant another.
"""

from __future__ import annotations

import os
import stat

from daemonry.errors import UnsafePath

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def ensure_private(path: str) -> None:
    """Make `path` as a directory of ours alone, or check that it is one.

    Missing parents are made too, 0700.  The last part may not be a symbolic link: whoever could
    write its parent could point it elsewhere.

    Raises:
        UnsafePath: it cannot be made, or exists and is not a directory, not ours, or open to
            others.
    """
    found = _stat_or_make(path, os.O_NOFOLLOW)
    if found.st_uid != os.geteuid():
        raise UnsafePath(path, f"belongs to user {found.st_uid}, not to {os.geteuid()}")
    if found.st_mode & 0o077:
        raise UnsafePath(path, f"is open to others (mode {stat.S_IMODE(found.st_mode):04o}): chmod 700 it")


def ensure_unwritable_by_others(path: str) -> None:
    """Make `path` as a directory, or check that no other user can exchange what lies in it.

    The rule for a place that a user gave: it belongs to us or to root, and others cannot write
    there, or cannot remove files of others (the sticky bit of /tmp).  Links are followed.

    Raises:
        UnsafePath: it cannot be made, or the rule does not hold.
    """
    found = _stat_or_make(path, 0)
    if found.st_uid not in (os.geteuid(), 0):
        raise UnsafePath(path, f"belongs to user {found.st_uid}")
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        raise UnsafePath(path, f"can be written by others (mode {stat.S_IMODE(found.st_mode):04o})")


def ensure_ours(path: str) -> None:
    """Make `path` as a directory, or check that it is this user's and nobody else may write there.

    The rule for a directory that a program chose for its daemon: others may look into it (each file
    in it is 0600 anyway), and cannot put a file of theirs where one of ours is to be.

    Raises:
        UnsafePath: it cannot be made, or the rule does not hold.
    """
    found = _stat_or_make(path, 0)
    if found.st_uid != os.geteuid():
        raise UnsafePath(path, f"belongs to user {found.st_uid}, not to {os.geteuid()}")
    if found.st_mode & 0o022:
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        raise UnsafePath(path, f"can be written by others (mode {mode}): chmod go-w it")


def _stat_or_make(path: str, flags: int) -> os.stat_result:
    try:
        return _stat_directory(path, flags)
    except FileNotFoundError:
        _make(path)
    try:
        return _stat_directory(path, flags)
    except FileNotFoundError as error:  # a dangling link, or removed as soon as it was made
        raise UnsafePath(path, _reason(error)) from error


def _stat_directory(path: str, flags: int) -> os.stat_result:
    try:
        fd = os.open(path, _OPEN_DIRECTORY | flags)
    except FileNotFoundError:
        raise
    except NotADirectoryError:
        kind = "a symbolic link" if os.path.islink(path) else "not a directory"
        raise UnsafePath(path, f"is {kind}") from None
    except (OSError, ValueError) as error:
        raise UnsafePath(path, _reason(error)) from error
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _make(path: str) -> None:
    missing = [path]
    while not os.path.lexists(parent := os.path.dirname(missing[-1].rstrip("/"))) and parent:
        missing.append(parent)
    for directory in reversed(missing):
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            continue  # another process of ours was faster; it is checked like any other
        except OSError as error:
            raise UnsafePath(directory, f"cannot be made: {_reason(error)}") from error


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
