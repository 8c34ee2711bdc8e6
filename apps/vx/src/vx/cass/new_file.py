"""A file of the store before it has its name: written elsewhere, locked, then renamed.

Owns the promise that a file has its name only when all of it is written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from blake3 import blake3

from vx.cass import files, layout
from vx.cass.directory import Directory
from vx.cass.layout import Kind
from vx.interfaces import StoreFull
from vx.reproducible import BLOB_TIME_S

# Larger than any object file; a pipe that never ends stops here.
MAX_BLOB_BYTES: Final = 4 << 30


class NewFile:
    """A file in tmp/, removed when the block ends unless it was published.

    Args:
        directory: the store's.

    Raises:
        StoreFull, StoreTrouble: it cannot be made.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._published = False
        with files.store_errors(f"{directory.path}/tmp"):
            self._fd, self._path = directory.locked_file("tmp")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._published:
            files.unlink(self._path)
        os.close(self._fd)

    def copy(self, read: Callable[[], bytes]) -> tuple[str, int]:
        """Write the pieces that `read` returns, until it returns b""; return their digest and size.

        Only errors of the store's own file become its errors: a source that cannot be read is the sender's.

        Raises:
            StoreFull, StoreTrouble, or whatever `read` raises.
        """
        hasher = blake3()
        size = 0
        while piece := read():
            size += len(piece)
            if size > MAX_BLOB_BYTES:
                raise StoreFull(
                    path=self._directory.path, reason=f"a blob has at most {MAX_BLOB_BYTES} bytes"
                )
            hasher.update(piece)
            rest = memoryview(piece)
            with files.store_errors(f"{self._directory.path}/tmp"):
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
        return hasher.hexdigest(), size

    def publish(self, kind: Kind, name: str) -> os.stat_result:
        """Give the file its name; return its state.

        Raises:
            StoreFull, StoreTrouble: it could not get it.
        """
        with files.store_errors(self._path):
            os.fchmod(self._fd, 0o444)
            os.utime(self._fd, ns=(time.time_ns(), BLOB_TIME_S * 1_000_000_000))
            found = os.fstat(self._fd)
            path = layout.path_of(self._directory.path, kind, name)
            try:
                os.rename(self._path, path)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
                os.rename(self._path, path)
        self._published = True
        return found
