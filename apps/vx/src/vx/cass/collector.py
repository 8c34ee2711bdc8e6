"""The collector: removes the least recently used when the store is too large.

Owns removing.  Which go is decided by `eviction`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from daemonry import open_regular
from vx.cass import eviction, files, layout
from vx.cass.blobs import Blobs
from vx.cass.directory import Directory
from vx.cass.eviction import StoredFile
from vx.cass.holds import Holds
from vx.cass.quarantine import MAX_QUARANTINED, Quarantine
from vx.interfaces import Collected


class Collector:
    """Collects one store; two at the same time take turns, in one process or in two.

    Args:
        directory: the store's.
        quarantine: its damaged files, of which it keeps the last few.
        holds: the builds whose blobs stay.
        blobs: this process's knowledge of the blobs.
    """

    def __init__(self, directory: Directory, quarantine: Quarantine, holds: Holds, blobs: Blobs) -> None:
        self._directory = directory
        self._quarantine = quarantine
        self._holds = holds
        self._blobs = blobs

    def collect(self, max_bytes: int, *, dry_run: bool = False) -> Collected:
        """Remove the least recently used until at most `max_bytes` are left; no file that a hold protects.

        Args:
            max_bytes: what may be left.
            dry_run: report only; nothing is removed.

        Raises:
            StoreTrouble: the store cannot be read or written.
        """
        with files.store_errors(self._directory.path), self._lock():
            entries = list(self._directory.entries())
            choice = eviction.choose(entries, max_bytes, self._holds.since_ns())
            gone = [one for one in choice.victims if dry_run or self._remove(one)]
            if not dry_run:
                self._quarantine.thin(0 if max_bytes == 0 else MAX_QUARANTINED)
        removed_bytes = sum(one.size for one in gone)
        kept_bytes = sum(one.size for one in entries) - removed_bytes
        held = choice.held + len(choice.victims) - len(gone)
        return Collected(len(gone), removed_bytes, kept_bytes, held)

    def _remove(self, victim: StoredFile) -> bool:
        """Remove one; False where it was used or held meanwhile."""
        path = layout.path_of(self._directory.path, victim.kind, victim.name)
        aside = self._directory.aside_of(victim.name)
        try:
            os.rename(path, aside)
        except FileNotFoundError:
            return False
        # Out of reach first, then the look: a use or a hold that this does not see came later, and
        # sees that the name is gone (see `Blobs.require`).
        used_ns = os.stat(aside, follow_symlinks=False).st_atime_ns
        wanted = used_ns != victim.used_ns or eviction.is_held(used_ns, self._holds.since_ns())
        if wanted:
            with contextlib.suppress(FileExistsError):  # somebody has put it again meanwhile
                os.link(aside, path)
        elif victim.kind == "blob":
            self._blobs.forget(victim.name)
        files.unlink(aside)
        return not wanted

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        self._directory.make()
        fd = open_regular(f"{self._directory.path}/gc.lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
