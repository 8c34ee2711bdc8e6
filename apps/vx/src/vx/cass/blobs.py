"""Blobs: content under its digest, read and hashed before anybody gets it.

Owns which files this process has verified: a blob is read again whenever its file is another or was written
to.  A blob that fails goes to `quarantine`.
"""

from __future__ import annotations

import errno
import os
import select
import stat
from collections.abc import Callable, Iterable
from typing import Final

from vx import digests
from vx.cass import files
from vx.cass.directory import Absent, Directory
from vx.cass.files import FileState
from vx.cass.new_file import NewFile
from vx.cass.quarantine import Quarantine
from vx.interfaces import BlobMissing, Missing

# A pipe through which nothing comes does not keep a thread for ever.
READ_TIMEOUT_S: Final = 30.0


class Blobs:
    """The blobs of one store.

    Args:
        directory: the store's.
        quarantine: where damaged ones go.
    """

    def __init__(self, directory: Directory, quarantine: Quarantine) -> None:
        self._directory = directory
        self._quarantine = quarantine
        # Blobs that were found whole: the directory's generation, and the state of the file.
        self._whole: dict[str, tuple[int, FileState]] = {}

    # --- putting ----------------------------------------------------------------------------------

    def put_bytes(self, data: bytes) -> str:
        """Store `data`; return its digest.

        Raises:
            StoreFull, StoreTrouble: nothing is stored.
        """
        pieces = iter((data, b""))
        return self.put_from(lambda: next(pieces))[0]

    def put_fd(self, fd: int) -> tuple[str, int]:
        """Store the content of a file, a pipe or a socket; return its digest and size.

        A file is read from its beginning and its position stays; others are read to their end.

        Raises:
            OSError: it cannot be read, or nothing came through it for `READ_TIMEOUT_S`.
            StoreFull, StoreTrouble: nothing is stored.
        """
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return self.put_from(lambda: _read_in_time(fd))
        offset = 0

        def read() -> bytes:
            nonlocal offset
            piece = os.pread(fd, digests.PIECE_BYTES, offset)
            offset += len(piece)
            return piece

        return self.put_from(read)

    def put_path(self, path: str) -> tuple[str, int]:
        """Store the content of the file at `path`; otherwise as `put_fd`."""
        fd = digests.open_file(path)
        try:
            return self.put_fd(fd)
        finally:
            os.close(fd)

    def put_from(self, read: Callable[[], bytes]) -> tuple[str, int]:
        """Store the pieces that `read` returns, until it returns b""; return their digest and size.

        Raises:
            StoreFull, StoreTrouble, or whatever `read` raises: nothing is stored.
        """
        with NewFile(self._directory) as new:
            digest, size = new.copy(read)
            if not self._has(digest):
                found = new.publish("blob", digest)
                self._whole[digest] = self._directory.generation, files.state_of(found)
        return digest, size

    def _has(self, digest: str) -> bool:
        try:
            self.require(digest)
        except Absent:
            return False
        return True

    # --- getting ----------------------------------------------------------------------------------

    def missing(self, wanted: Iterable[str]) -> Missing:
        """Return which of these blobs are not there; the others count as used now.

        Raises:
            NameInvalid: one has not the form of a digest.
            StoreTrouble: the store cannot be read.
        """
        gone: dict[str, None] = {}
        damaged = []
        for digest in dict.fromkeys(wanted):
            try:
                self.require(digest)
            except Absent as absent:
                gone[digest] = None
                if absent.damage is not None:
                    damaged.append(absent.damage)
        return Missing(list(gone), damaged)

    def open(self, digest: str) -> int:
        """Return a descriptor of a blob's file, open for reading, at its beginning.

        Raises:
            NameInvalid: it has not the form of a digest.
            BlobMissing: it is not there, or was found damaged.
            StoreTrouble: the store cannot be read.
        """
        return self.open_all([digest])[0]

    def open_all(self, wanted: Iterable[str]) -> list[int]:
        """Return a descriptor for each of these blobs: all, or none; otherwise as `open`."""
        fds: list[int] = []
        absent: list[Absent] = []
        try:
            for digest in wanted:
                try:
                    fds.append(self._open_whole(digest))
                except Absent as one:
                    absent.append(one)
            if absent:
                raise BlobMissing(
                    digests=[one.name for one in absent],
                    damaged=[one.damage for one in absent if one.damage is not None],
                )
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        return fds

    def read(self, digest: str) -> bytes:
        """Return a blob's content; otherwise as `open`."""
        fd = self.open(digest)
        with open(fd, "rb") as file:
            return file.read()

    def require(self, digest: str) -> os.stat_result:
        """Return the status of a blob's file, which is there and whole; it counts as used now.

        Raises:
            Absent: it is not there, or was found damaged.
            NameInvalid, StoreTrouble: as `open`.
        """
        path = self._directory.path_of("blob", digest)
        try:
            found = self._directory.settled(digest, lambda: os.stat(path, follow_symlinks=False))
        except FileNotFoundError:
            raise Absent(digest) from None
        except OSError as error:
            raise files.store_error(path, error) from error
        if not self._is_known_whole(digest, found):
            os.close(self._open_whole(digest))
        elif files.was_just_used(found):
            return found
        else:
            files.note_use(path, found)
        # The collector looks at the time of use after it has taken the name away, and puts it back for a
        # use that it sees.  One that came after its look finds the name gone here.
        try:
            self._directory.settled(digest, lambda: os.lstat(path))
        except FileNotFoundError:
            raise Absent(digest) from None
        return found

    # --- verifying --------------------------------------------------------------------------------

    def verify(self, digest: str) -> int:
        """Read a blob again, known or not; return its size.

        Raises:
            Absent: it is not there, or was found damaged.
            StoreTrouble: it cannot be read.
        """
        path = self._directory.path_of("blob", digest)
        fd = self._directory.open(path, digest)
        try:
            found = os.fstat(fd)
            self._read_whole(fd, digest, found)
        except OSError as error:
            raise files.store_error(path, error) from error
        finally:
            os.close(fd)
        return found.st_size

    def forget(self, digest: str) -> None:
        """Forget that a blob was found whole: its file is gone."""
        self._whole.pop(digest, None)

    def _is_known_whole(self, digest: str, found: os.stat_result) -> bool:
        return self._whole.get(digest) == (self._directory.generation, files.state_of(found))

    def _open_whole(self, digest: str) -> int:
        path = self._directory.path_of("blob", digest)
        fd = self._directory.open(path, digest)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise Absent(digest, self._quarantine.set_aside("blob", digest, found, "is not a file"))
            if not self._is_known_whole(digest, found):
                self._read_whole(fd, digest, found)
            if not files.was_just_used(found):
                files.note_use(fd, found)
        except BaseException as error:
            os.close(fd)
            if isinstance(error, OSError):
                raise files.store_error(path, error) from error
            raise
        return fd

    def _read_whole(self, fd: int, digest: str, found: os.stat_result) -> None:
        self.forget(digest)
        is_, size = digests.of_fd(fd)
        if is_ != digest:
            reason = f"has {size} bytes of another digest, {is_}" if size else "is empty"
            raise Absent(digest, self._quarantine.set_aside("blob", digest, found, reason))
        self._whole[digest] = self._directory.generation, files.state_of(found)


def _read_in_time(fd: int) -> bytes:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if not poll.poll(READ_TIMEOUT_S * 1000):
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
    return os.read(fd, digests.PIECE_BYTES)
