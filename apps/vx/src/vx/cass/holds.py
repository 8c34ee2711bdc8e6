"""Holds: while a build has one, the collector removes nothing that the build has used.

A hold is a locked file in holds/; its time of writing is the hold's beginning.  The lock ends with the
process, so that a killed build holds nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from vx.cass import files
from vx.cass.directory import Directory


class Holds:
    """The holds on one store, of all processes.

    Args:
        directory: the store's.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    @contextlib.contextmanager
    def hold(self) -> Iterator[float]:
        """Protect whatever is used inside this block; gives the time of its beginning, in seconds since 1970.

        The hold ends with the process at the latest.

        Raises:
            StoreFull, StoreTrouble: its file cannot be written.
        """
        with files.store_errors(f"{self._directory.path}/holds"):
            fd, path = self._directory.locked_file("holds")
        try:
            yield os.fstat(fd).st_mtime
        finally:
            files.unlink(path)
            os.close(fd)

    def count(self) -> int:
        """Return how many holds there are."""
        return sum(files.is_locked(path) for path in self._directory.files("holds"))

    def since_ns(self) -> int | None:
        """Return when the oldest hold began; None where there is no hold."""
        oldest: int | None = None
        for path in self._directory.files("holds"):
            try:
                since_ns = os.stat(path).st_mtime_ns
            except FileNotFoundError:
                continue
            if not files.is_locked(path):
                continue
            oldest = since_ns if oldest is None else min(oldest, since_ns)
        return oldest
