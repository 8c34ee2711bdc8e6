"""Locks that live as long as their holder: flock(2) on a file that is never removed.

Owns taking, handing over, and asking.  flock and not POSIX locks: those vanish when any
descriptor of the file is closed, and cannot be handed to a child.  The file is never removed: a
lock on a removed file excludes nobody.

A lock belongs to its open file.  A child that is given the descriptor holds the lock too, so a
starter passes its start lock on and no moment exists in which nobody holds it.  A child that was
forked without exec drops its copies, or it would keep a dead daemon alive.
"""

from __future__ import annotations

import errno
import fcntl
import os
from _thread import get_ident

from daemonry.backoff import delays
from daemonry.clock import Deadline
from daemonry.errors import UnsafePath
from daemonry.limits import LOCK_PROBE_PATIENCE_S, LOCK_RETRY_FIRST_S, LOCK_RETRY_MAX_S
from daemonry.process.regular_file import open_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

_GIVEN: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_held: set[Lock] = set()
# Descriptors that a thread is about to pass on.
_passed: dict[int, Sequence[int]] = {}


class Lock:
    """A lock that is held.

    Attributes:
        path: the locked file.
        fd: the descriptor that holds it; not inherited unless it is passed on.
    """

    __slots__ = ("fd", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path: str = path
        self.fd: int = fd
        _held.add(self)

    @classmethod
    def try_take(cls, path: str) -> Lock | None:
        """Take the lock at `path`, or return None when another holds it.

        Raises:
            UnsafePath: the file cannot be opened, or locks do not work there.
        """
        return cls._try(path, fcntl.LOCK_EX)

    @classmethod
    def try_share(cls, path: str) -> Lock | None:
        """Take the lock at `path` beside others who share it; None when one holder has it alone.

        Raises:
            UnsafePath: as `try_take`.
        """
        return cls._try(path, fcntl.LOCK_SH)

    @classmethod
    def _try(cls, path: str, kind: int) -> Lock | None:
        fd = _open(path)
        taken = False
        try:
            taken = _flock(path, fd, kind)
        finally:
            if not taken:
                os.close(fd)
        return cls(path, fd) if taken else None

    @classmethod
    def share_given(cls, path: str) -> Lock | None:
        """Share the lock of a user's own file, where no file of ours may be made yet.

        None where somebody has it alone, as with flock(1), or it cannot be locked.
        """
        try:
            fd = os.open(path, _GIVEN)
        except OSError:
            return None
        deadline = Deadline(LOCK_PROBE_PATIENCE_S)  # asking takes it alone for an instant
        taken = False
        try:
            for delay_s in delays(LOCK_RETRY_FIRST_S, LOCK_RETRY_MAX_S):
                taken = _flock(path, fd, fcntl.LOCK_SH)
                if taken or not deadline.sleep(delay_s):
                    break
        except UnsafePath:
            pass
        finally:
            if not taken:
                os.close(fd)
        return cls(path, fd) if taken else None

    @classmethod
    def take(cls, path: str, deadline: Deadline) -> Lock | None:
        """Take the lock at `path`, waiting for its holder until the deadline; None when it came.

        Raises:
            UnsafePath: as `try_take`.
        """
        for delay_s in delays(LOCK_RETRY_FIRST_S, LOCK_RETRY_MAX_S):
            lock = cls.try_take(path)
            if lock is not None or not deadline.sleep(delay_s):
                return lock
        raise AssertionError("delays() is endless")

    def file_is_there(self) -> bool:
        """Whether the path still leads to the locked file; a lock on a removed one excludes nobody."""
        try:
            there, ours = os.stat(self.path, follow_symlinks=False), os.fstat(self.fd)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def release(self) -> None:
        """Let go of the lock, also in processes that it was handed to.  Twice is not an error."""
        if self in _held:
            _held.discard(self)
            fcntl.flock(self.fd, fcntl.LOCK_UN)
            os.close(self.fd)

    def forget(self) -> None:
        """Close this process's descriptor; a process that it was handed to keeps the lock."""
        if self in _held:
            _held.discard(self)
            os.close(self.fd)


def is_held(path: str) -> bool | None:
    """Whether some process holds the lock at `path`; None when that is unknown.

    Asks for a shared lock and lets go at once, so two who ask do not disturb each other.
    """
    try:
        fd = open_regular(path, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):  # below a file there is nothing
        return False
    except OSError:
        return None
    try:
        return not _flock(path, fd, fcntl.LOCK_SH)
    except UnsafePath:
        return None
    finally:
        os.close(fd)


def is_given_shared(path: str) -> bool:
    """Whether some process shares the lock of a user's file; one that has it alone does not."""
    try:
        fd = os.open(path, _GIVEN)
    except OSError:
        return False
    try:
        return _flock(path, fd, fcntl.LOCK_SH) and not _flock(path, fd, fcntl.LOCK_EX)
    except UnsafePath:
        return False
    finally:
        os.close(fd)


def wait_released(path: str, deadline: Deadline) -> bool:
    """Wait until nobody holds the lock at `path`; False when the deadline came first."""
    for delay_s in delays(LOCK_RETRY_FIRST_S, LOCK_RETRY_MAX_S):
        if is_held(path) is False:
            return True
        if not deadline.sleep(delay_s):
            return is_held(path) is False
    raise AssertionError("delays() is endless")


def _open(path: str) -> int:
    try:
        return open_regular(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise UnsafePath(path, f"cannot be opened: {error.strerror}") from error


def _flock(path: str, fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise UnsafePath(path, f"cannot be locked: {error.strerror}") from error
    return True


class Passed:
    """Locks that this thread passes on to a program, in a `with` block.

    The interpreter starts a program without its own fork.  Where `subprocess` was replaced, as gevent does,
    it forks like any other: that child keeps the locks, and every child of another thread drops them.

    Args:
        fds: the descriptors that the program gets.
    """

    __slots__ = ("_fds",)

    def __init__(self, fds: Sequence[int]) -> None:
        self._fds = fds

    def __enter__(self) -> None:
        _passed[get_ident()] = self._fds

    def __exit__(self, *exc: object) -> None:
        _passed.pop(get_ident(), None)


def _drop_in_child() -> None:
    kept = _passed.get(get_ident(), ())
    for lock in list(_held):
        if lock.fd not in kept:
            lock.forget()


os.register_at_fork(after_in_child=_drop_in_child)
