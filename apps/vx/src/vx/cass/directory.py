"""The store's directory: making it, its format, its temporary files, and listing it.

Owns where a file of the store is, the sweep of files that dead writers left, and opening a file that the
collector may have moved aside.  What the files contain is `blobs`' and `manifests`' to know.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from daemonry import open_regular
from vx import digests
from vx.cass import files, layout
from vx.cass.eviction import StoredFile
from vx.cass.layout import Kind
from vx.interfaces import Damage, NameInvalid, StoreTrouble

# How long a reader waits for a file that the collector has aside: it looks at one time and decides.
ASIDE_PATIENCE_S: Final = 2.0
_ASIDE_LOOK_S: Final = 0.001
# The collector's files in tmp/ begin so; their lock is gc.lock.
_ASIDE: Final = "gc-"

Found = TypeVar("Found")


class Absent(Exception):
    """A blob or manifest is not there; `damage` says whether this look found it damaged."""

    def __init__(self, name: str, damage: Damage | None = None) -> None:
        super().__init__(name)
        self.name = name
        self.damage = damage


class Directory:
    """The directory of one store, made where it does not exist.

    Args:
        path: the directory.

    Attributes:
        path: the same, absolute.
        generation: how often this object has made the directory again after somebody removed it.  What
            was known of files of an earlier generation holds no more.

    Raises:
        StoreTrouble: the directory cannot be used, or is another program's.
        StoreFull: there is no room to make it.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self.generation = 0
        with files.store_errors(self.path):
            self.make()
            self._check_format()
            self._sweep()

    def make(self) -> None:
        """Make the directory and its folders where they do not exist.

        Raises:
            OSError: it cannot be made.
        """
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        for name in layout.DIRECTORIES:
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{self.path}/{name}", 0o700)

    def _check_format(self) -> None:
        path = f"{self.path}/format"
        try:
            with open(open_regular(path), "rb") as file:
                written = file.read(64)
        except FileNotFoundError:
            written = b""
        if not written:  # new, or a power cut came before its bytes
            temporary = f"{self.path}/tmp/format-{secrets.token_hex(4)}"
            with open(temporary, "wb") as file:
                file.write(layout.FORMAT)
            os.rename(temporary, path)
        elif written != layout.FORMAT:
            named = written.decode("utf-8", "replace").strip()
            known = layout.FORMAT.decode().strip()
            raise StoreTrouble(
                path=self.path,
                reason=f"is a {named!r}, and this version knows {known!r}: remove it, or use another VX_HOME",
            )

    def _sweep(self) -> None:
        """Remove the files of dead writers and dead holders."""
        for folder in ("tmp", "holds"):
            for path in self.files(folder):
                if not os.path.basename(path).startswith(_ASIDE):
                    files.unlink_unlocked(path)
        left = [path for path in self.files("tmp") if os.path.basename(path).startswith(_ASIDE)]
        if left and not files.is_locked(f"{self.path}/gc.lock"):
            for path in left:
                files.unlink(path)

    # --- paths and listings -----------------------------------------------------------------------

    def path_of(self, kind: Kind, name: str) -> str:
        """Return where a blob or manifest is.

        Raises:
            NameInvalid: the name has not the form of a digest.
        """
        if not digests.is_digest(name):
            raise NameInvalid(
                name=name[: 2 * digests.DIGEST_CHARS],
                reason=f"a {kind} is named by {digests.DIGEST_CHARS} lower-case hexadecimal digits",
            )
        return layout.path_of(self.path, kind, name)

    def aside_of(self, name: str) -> str:
        """Return where the collector moves a file while it looks at its last use."""
        return f"{self.path}/tmp/{_ASIDE}{name}"

    def files(self, folder: str) -> list[str]:
        """Return the paths of the files in a folder; none where the folder does not exist.

        Raises:
            StoreTrouble: it cannot be read.
        """
        return [f"{self.path}/{folder}/{name}" for name in self._list(f"{self.path}/{folder}")]

    def names(self) -> Iterator[tuple[Kind, str]]:
        """Yield kind and name of each blob and manifest, in order.

        Raises:
            StoreTrouble: the store cannot be read.
        """
        for kind, folder in layout.FOLDERS.items():
            for prefix in sorted(self._list(f"{self.path}/{folder}")):
                for rest in sorted(self._list(f"{self.path}/{folder}/{prefix}")):
                    if digests.is_digest(prefix + rest):
                        yield kind, prefix + rest

    def entries(self) -> Iterator[StoredFile]:
        """Yield size and last use of each blob and manifest.

        Raises:
            OSError, StoreTrouble: the store cannot be read.
        """
        for kind, folder in layout.FOLDERS.items():
            for prefix in self._list(f"{self.path}/{folder}"):
                try:
                    with os.scandir(f"{self.path}/{folder}/{prefix}") as found:
                        for one in found:
                            if digests.is_digest(prefix + one.name):
                                status = one.stat(follow_symlinks=False)
                                yield StoredFile(status.st_atime_ns, status.st_size, kind, prefix + one.name)
                except (FileNotFoundError, NotADirectoryError):
                    continue

    def _list(self, path: str) -> list[str]:
        try:
            return os.listdir(path)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise files.store_error(path, error) from error

    # --- single files -----------------------------------------------------------------------------

    def open(self, path: str, name: str) -> int:
        """Open a blob's or manifest's file for reading, without noting a use.

        Raises:
            Absent: it is not there.
            StoreTrouble: it cannot be opened.
        """
        try:
            return self.settled(name, lambda: files.open_unnoted(path))
        except FileNotFoundError:
            raise Absent(name) from None
        except OSError as error:
            raise files.store_error(path, error) from error

    def settled(self, name: str, look: Callable[[], Found]) -> Found:
        """Return what `look` finds; wait first while the collector has the file aside.

        Raises:
            FileNotFoundError: it is not there.
        """
        deadline_s = time.monotonic() + ASIDE_PATIENCE_S
        while True:
            try:
                return look()
            except FileNotFoundError:
                if not os.path.lexists(self.aside_of(name)) or time.monotonic() > deadline_s:
                    break
            time.sleep(_ASIDE_LOOK_S)
        return look()  # the collector may have put it back between the two looks

    def locked_file(self, folder: str) -> tuple[int, str]:
        """Return a new file in a folder, locked for as long as it is open, and its path.

        Raises:
            OSError: it cannot be made.
        """
        while True:
            path = f"{self.path}/{folder}/{secrets.token_hex(8)}"
            fd = self._create(path)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                if os.fstat(fd).st_nlink:
                    return fd, path
            except BaseException:
                os.close(fd)
                files.unlink(path)
                raise
            os.close(fd)  # a sweep came between the two steps and took it for a dead writer's

    def _create(self, path: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:  # somebody has removed the store: make a new one
            self.generation += 1
            self.make()
            self._check_format()
            return os.open(path, flags, 0o600)
