"""The store on the disk: its parts put together, and the questions about the whole of it.

The parts and their promises:

    blobs       verified    nobody gets a blob, or the answer that it is there, before this process has
                            read and hashed it; again whenever its file is another, or was written to.
                            What fails goes to `quarantine`.
    manifests   once        a key stands for the same blobs for as long as those are there.
    new_file    whole       a file has its name only when all of it is written: it is written elsewhere,
                            locked, and renamed.  A writer that is killed leaves a file in tmp/ without a
                            lock, which the next `Directory` removes.
    holds       kept        the collector removes nothing that was used while a hold is held.
    directory   shared      any number of processes and threads may use one store at the same time.

Nothing is flushed to the disk (fsync).  A cache whose last minute is gone after a power cut costs
a rebuild; a flush costs milliseconds for each of thousands of files; and a file that a power cut
left empty or torn fails its verification like any other, so it can cost time and never truth.

Usable without the daemon.  All of it blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Final

from vx.cass import files
from vx.cass.blobs import Blobs
from vx.cass.collector import Collector
from vx.cass.directory import Absent, Directory
from vx.cass.holds import Holds
from vx.cass.manifests import Manifests
from vx.cass.quarantine import Quarantine
from vx.interfaces import BlobMissing, Collected, Lookup, Manifest, StoreStats, Verified, next_key

# ccache's default is 5 GiB, sccache's 10, Bazel's disk cache has none.
MAX_STORE_BYTES: Final = 10 << 30
# A check of the whole store reports its progress each time it has read this many files.
VERIFY_STEP: Final = 256
# Of all lists that come with one lookup, in bytes; longer ones are read by their descriptors.
MAX_CONTENTS_BYTES: Final = 512 << 10


class Store:
    """A store in a directory of its own, which is made where it does not exist.

    Args:
        path: the directory.
        max_bytes: the size to which `gc` reduces it by default.

    Attributes:
        path: the directory, absolute.
        max_bytes: as given.
        blobs, manifests, holds: its parts.

    Raises:
        StoreTrouble: the directory cannot be used, or is another program's.
        StoreFull: there is no room to make it.
    """

    def __init__(self, path: str, max_bytes: int = MAX_STORE_BYTES) -> None:
        self.max_bytes = max_bytes
        self._directory = Directory(path)
        self.path = self._directory.path
        quarantine = Quarantine(self._directory)
        self.blobs = Blobs(self._directory, quarantine)
        self.manifests = Manifests(self._directory, quarantine, self.blobs)
        self.holds = Holds(self._directory)
        self._collector = Collector(self._directory, quarantine, self.holds, self.blobs)

    def look_up(self, keys: Collection[str]) -> Lookup:
        """Return the manifests of these keys, those that come along with them, and the lists among them.

        Raises:
            NameInvalid: a key has not the form.
            StoreTrouble: the store cannot be read.
        """
        asked = self.manifests.get(keys)
        more = [key for one in asked.found.values() if (key := next_key(one)) is not None]
        along = self.manifests.get(more) if more else Lookup()
        found = asked.found | along.found
        return Lookup(found, asked.damaged + along.damaged, self.contents(found.values()))

    def contents(self, manifests: Iterable[Manifest]) -> dict[str, bytes]:
        """Return the contents of lists by their digests, as far as they are short and there.

        Raises:
            StoreTrouble: the store cannot be read.
        """
        found: dict[str, bytes] = {}
        left = MAX_CONTENTS_BYTES
        for blob in (blob for one in manifests if one.grows for blob in one.blobs):
            if blob.size <= left and blob.digest not in found:
                with suppress(BlobMissing):
                    found[blob.digest] = self.blobs.read(blob.digest)
                    left -= blob.size
        return found

    def gc(self, max_bytes: int | None = None, *, dry_run: bool = False) -> Collected:
        """Remove the least recently used until at most `max_bytes` are left, or the store's own bound.

        Raises:
            StoreTrouble: the store cannot be read or written.
        """
        return self._collector.collect(self.max_bytes if max_bytes is None else max_bytes, dry_run=dry_run)

    def verify(self) -> Iterator[Verified]:
        """Read everything again; yield each damage, which is set aside, and the progress.

        Raises:
            StoreTrouble: the store cannot be read.
        """
        blobs = manifests = size = 0
        for kind, name in self._directory.names():
            damage = None
            try:
                size += (self.blobs if kind == "blob" else self.manifests).verify(name)
            except Absent as absent:
                damage = absent.damage
                if damage is None:
                    continue  # removed meanwhile
            blobs += kind == "blob"
            manifests += kind == "manifest"
            if damage is not None or (blobs + manifests) % VERIFY_STEP == 0:
                yield Verified(blobs, manifests, size, damage)
        yield Verified(blobs, manifests, size, done=True)

    def stats(self) -> StoreStats:
        """Return the store in numbers; reads all of its directories.

        Raises:
            StoreTrouble: they cannot be read.
        """
        with files.store_errors(self.path):
            entries = list(self._directory.entries())
            return StoreStats(
                path=self.path,
                blobs=sum(one.kind == "blob" for one in entries),
                manifests=sum(one.kind == "manifest" for one in entries),
                size=sum(one.size for one in entries),
                max_size=self.max_bytes,
                holds=self.holds.count(),
                quarantined=len(self._directory.files("quarantine")),
            )
