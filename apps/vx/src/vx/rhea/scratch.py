"""Scratch directories: where jobs run.

Owns making them, putting inputs into them from descriptors, looking for outputs, and removing them;
also those of an earlier rhea that was killed.  All of it blocks.

A compiler's inputs are hard links to the store's files where both are on one file system: to make a
file costs fifteen times as much on ext4, and a compiler has hundreds of inputs and writes to none.
Other commands, which may write to their inputs, get copies (by reflink where there is that):
through a link they would write into the store, and into what another job is reading.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Iterable, Sequence
from typing import Final

from daemonry import open_regular
from vx.interfaces import Input
from vx.reproducible import BLOB_TIME_S
from vx.rhea.laid_out import LaidOut
from vx.rhea.sandbox import Trace

COPY_BYTES: Final = 1 << 20
# In the place of the root's path, in what a job made for others.
_MARK: Final = b"%{vx-root}"
# Sources that are made are text of a few megabytes at most.
_MAX_MARKED_BYTES: Final = 64 << 20
_FICLONE: Final = 0x40049409
_TIME_NS: Final = BLOB_TIME_S * 1_000_000_000
_NO_CLONE: Final = frozenset(
    (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM)
)


class OutputUnsound(Exception):
    """An output is there and cannot be kept; says why."""


class Scratches:
    """The scratch directories of one rhea, in a directory that is made if it is not there.

    Args:
        path: the directory.

    Raises:
        OSError: it cannot be used.
    """

    def __init__(self, path: str) -> None:
        self._above = path
        self._making = threading.Lock()
        self._lock, self.path = self._take_directory()
        self._clones = True
        self._links = True
        self._sweep()

    def make(self, folders: Iterable[str]) -> Scratch:
        """Return a new scratch directory with these folders in its root, those above first.

        Raises:
            OSError: it cannot be made; nothing is left.
        """
        self._have_directory()
        scratch = Scratch(f"{self.path}/{secrets.token_hex(6)}", self)
        try:
            for path in (scratch.path, scratch.root, scratch.tmp):
                os.mkdir(path, 0o700)
            for folder in folders:
                os.mkdir(f"{scratch.root}/{folder}", 0o755)
        except BaseException:
            scratch.remove()
            raise
        return scratch

    def close(self) -> None:
        """Remove all of them."""
        _remove_tree(self.path)
        os.close(self._lock)

    def link(self, source: int, path: str) -> bool:
        """Give an open file a name; False where that cannot be done."""
        if not self._links:
            return False
        try:
            # Without a directory Python calls link(2), which does not follow.
            os.link(f"/proc/self/fd/{source}", path, src_dir_fd=self._lock, follow_symlinks=True)
        except OSError as error:
            if error.errno == errno.EEXIST:
                raise
            # One file may have no more links; another file system, or no procfs, is so for all.
            self._links = error.errno == errno.EMLINK
            return False
        return True

    def copy(self, source: int, target: int) -> None:
        """Copy all of a file.

        Raises:
            OSError: it cannot be read, or there is no room.
        """
        if self._clones:
            try:
                fcntl.ioctl(target, _FICLONE, source)
            except OSError as error:
                if error.errno not in _NO_CLONE:
                    raise
                self._clones = False  # nor will the next one
            else:
                return
        offset = 0
        while sent := os.sendfile(target, source, offset, COPY_BYTES):
            offset += sent

    def _have_directory(self) -> None:
        """Make the directory again if somebody has removed it, as with all of a home while it is used."""
        with self._making:
            try:
                there = os.stat(self.path, follow_symlinks=False)
            except FileNotFoundError:
                there = None
            if there is None or not os.path.samestat(there, os.fstat(self._lock)):
                gone = self._lock
                self._lock, self.path = self._take_directory()
                os.close(gone)

    def _take_directory(self) -> tuple[int, str]:
        """Make a directory of this process's own: it is locked for as long as we live."""
        os.makedirs(self._above, mode=0o700, exist_ok=True)
        path = f"{self._above}/{os.getpid()}-{secrets.token_hex(4)}"
        os.mkdir(path, 0o700)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(fd, fcntl.LOCK_EX)
        return fd, path

    def _sweep(self) -> None:
        for name in os.listdir(self._above):
            path = f"{self._above}/{name}"
            try:
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except OSError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_tree(path)
            except BlockingIOError:
                pass  # ours, or that of one that is ending
            finally:
                os.close(fd)


class Scratch:
    """One scratch directory.

    Attributes:
        path: the directory.
        root: where the job finds its inputs, and runs.
        tmp: its HOME and TMPDIR.
        trace: where its keeper notes its look-ups; out of the job's reach.
        laid_out: the files that a job was given to write to.
    """

    def __init__(self, path: str, owner: Scratches) -> None:
        self.path = path
        self.root = f"{path}/root"
        self.tmp = f"{path}/tmp"
        self.trace = f"{path}/trace"
        self.laid_out = LaidOut(self.root)
        self._owner = owner

    def put(
        self, inputs: Sequence[Input], fds: Sequence[int], *, may_write: bool, writable: bool = False
    ) -> None:
        """Put inputs into the root, each from its descriptor.

        Args:
            inputs: their names there.
            fds: the store's files; read-only, with the store's time.
            may_write: whether the job may write to them, and so gets its own.
            writable: whether their modes are those of a user's files, and `laid_out` tells what it wrote.

        Raises:
            OSError: there is no room.
        """
        for one, fd in zip(inputs, fds, strict=True):
            path = f"{self.root}/{one.path}"
            if not (one.marked and self._put_marked(path, fd)):
                mode = (0o555 if one.executable else 0o444) | (0o200 if writable else 0)
                self._put_one(fd, path, mode, is_own=may_write or one.executable)
            if writable:
                self.laid_out.add(one)

    def open_outputs(self, names: Iterable[str]) -> tuple[dict[str, int], list[str]]:
        """Return descriptors of the outputs that are there, and the names of those that are not.

        Raises:
            OutputUnsound: one is not a file.
            OSError: one cannot be read.
        """
        found: dict[str, int] = {}
        absent = []
        try:
            for name in names:
                path = f"{self.root}/{name}"
                try:
                    # Not followed: a link could name any file of ours.
                    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
                except FileNotFoundError:
                    absent.append(name)
                    continue
                except OSError as error:
                    if error.errno != errno.ELOOP:
                        raise
                    raise OutputUnsound(f"the output {name!r} is a symbolic link") from None
                found[name] = fd
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise OutputUnsound(f"the output {name!r} is not a file")
        except BaseException:
            for fd in found.values():
                os.close(fd)
            raise
        return found, absent

    def files_below(self, folder: str) -> list[str]:
        """Return the files below a folder of the root, as relative paths, sorted."""
        above = f"{self.root}/{folder}"
        return sorted(
            os.path.relpath(os.path.join(directory, name), self.root)
            for directory, _, names in os.walk(above)
            for name in names
        )

    def read_text(self, name: str, max_bytes: int) -> str:
        """Return a file of the root as text, "" where there is none."""
        try:
            fd = os.open(f"{self.root}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return ""
        with open(fd, "rb") as file:
            return file.read(max_bytes).decode("utf-8", "surrogateescape")

    def mark(self, folder: str) -> None:
        """Put a mark in the place of the root's path in all text below a folder of the root."""
        for name in self.files_below(folder):
            path = f"{self.root}/{name}"
            found = os.lstat(path)
            if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_MARKED_BYTES:
                continue
            with open(open_regular(path), "rb") as file:
                data = file.read(_MAX_MARKED_BYTES)
            if self.root.encode() in data and b"\0" not in data:
                # Another file: the one that is there may be a link to somebody else's, or read-only.
                os.unlink(path)
                with open(path, "xb") as file:
                    file.write(data.replace(self.root.encode(), _MARK))

    def _put_one(self, fd: int, path: str, mode: int, *, is_own: bool) -> None:
        if not is_own and self._owner.link(fd, path):
            return
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            self._owner.copy(fd, target)
            os.fchmod(target, mode)
            # One time for all: a command that keeps times keeps the same ones everywhere.
            os.utime(target, ns=(_TIME_NS, _TIME_NS))
        finally:
            os.close(target)

    def _put_marked(self, path: str, source: int) -> bool:
        """Put a file with the root's path in the place of its marks; False where it has none."""
        if os.fstat(source).st_size > _MAX_MARKED_BYTES:
            return False
        data = os.pread(source, _MAX_MARKED_BYTES, 0)
        if _MARK not in data or b"\0" in data:
            return False
        with open(path, "xb") as file:
            file.write(data.replace(_MARK, self.root.encode()))
            os.fchmod(file.fileno(), 0o444)
        os.utime(path, ns=(_TIME_NS, _TIME_NS))
        return True

    def traced(self) -> Trace | None:
        """Return what the job looked for; None where that is not known."""
        try:
            with open(open_regular(self.trace), encoding="ascii") as file:
                return Trace(*json.load(file))
        except OSError:
            return None

    def remove(self) -> None:
        """Remove the directory and all in it.  Twice is not an error."""
        _remove_tree(self.path)


def _remove_tree(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if not os.path.lexists(path):
        return
    for directory, _, _ in os.walk(path):  # a command took away our right to remove
        with contextlib.suppress(OSError):
            os.chmod(directory, 0o700)
    shutil.rmtree(path, ignore_errors=True)
