"""The store in front of a shared cache: results that it lacks are looked for there, new ones go there later.

Owns moving manifests and blobs between the two, and the queue of those that wait to go up.  Whatever goes
wrong with the cache is noted in its failures, and is a miss here.  Blocks: for threads of its own.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

from vx.cass.store import Store
from vx.interfaces import (
    BlobMissing,
    KeyTaken,
    Lookup,
    Manifest,
    RemoteBlob,
    StoreFull,
    StoreTrouble,
    next_key,
)
from vx.remote import cache, server
from vx.remote.digest_functions import RemoteDigest
from vx.remote.digest_index import DigestIndex
from vx.remote.failures import RemoteFailed
from vx.remote.manifests import ManifestEntry
from vx.remote.server import BlobAbsent, BlobWrong, Server, Source
from vx.remote.settings import RemoteSettings

logger = logging.getLogger("vx.cass")

# Manifests that wait to go up; those of a first build of a large project.  More are left out, and told.
MAX_WAITING: Final = 20_000
# Files open for one upload at the same time.
_OPEN_AT_ONCE: Final = 64
# Of a result's small blobs together, in bytes: an object file of a short unit, and its list of files read.
MAX_INLINE_BYTES: Final = 16 << 10
# When the store ends, the queue may empty itself for this long.
DRAIN_S: Final = 2.0


class SharedCache:
    """The cache behind one store.

    Args:
        store: the store here.
        settings: where the cache is, and whether results go there.
        index_path: of the index of digests.
    """

    def __init__(self, store: Store, settings: RemoteSettings, index_path: str) -> None:
        self.server = Server(settings.storage, settings)
        self._store = store
        # A farm without a cache of ours has storage only for its jobs.
        self._is_cache = bool(settings.cache)
        self._uploads = settings.upload and self._is_cache
        self._index = DigestIndex(index_path)
        self._waiting: queue.Queue[tuple[str, Manifest] | None] = queue.Queue(MAX_WAITING)
        self._ending = False
        # One at a time of the threads that wait for the network: a file is a dozen calls of the system, and
        # after each of them all that would go on fight for the interpreter.
        self._writing = threading.Lock()
        self.hits = self.misses = self.fetched_bytes = self.sent = 0
        self._counted_bytes = 0
        self._sender = threading.Thread(target=self._send_all, name="uploads", daemon=True)
        self._sender.start()

    # --- down -------------------------------------------------------------------------------------

    def look_up(self, keys: Iterable[str], *, kept: bool = True) -> Lookup:
        """Return the manifests that the cache has of these; their blobs are here by then.

        Those that come along with them are kept by the store here in any case: none of them grows.

        Args:
            keys: which.
            kept: whether the store here keeps them under their keys, too.
        """
        found: dict[str, Manifest] = {}
        if self._is_cache:
            for key in keys:
                self.server.guarded(partial(self._fetch, key, found, kept=kept))
        return Lookup(found, [], self._store.contents(found.values()))

    def blobs(self, wanted: Iterable[str]) -> None:
        """Have the store keep those of these blobs that the cache has."""
        self.server.guarded(partial(self._fetch_known, list(wanted)))

    def pull(self, blobs: Iterable[RemoteBlob]) -> list[str]:
        """Have the store keep blobs of the server; return their digests here.

        Raises:
            RemoteFailed: one cannot be had.
        """
        wanted = [RemoteDigest(one.hash, one.size) for one in blobs]
        ours: dict[str, str] = {}
        self._checked(partial(self._pull, wanted, ours))
        return [ours[one.hash] for one in wanted]

    def _pull(self, wanted: list[RemoteDigest], ours: dict[str, str]) -> None:
        if self.server.capabilities().function.is_ours:
            known = {one.hash: one.hash for one in wanted}
        else:
            known = self._index.ours(one.hash for one in wanted)
        absent = set(self._store.blobs.missing(known.values()).digests)
        ours |= {theirs: digest for theirs, digest in known.items() if digest not in absent}
        learned: dict[str, RemoteDigest] = {}

        def keep(theirs: RemoteDigest, pieces: Iterator[bytes]) -> None:
            ours[theirs.hash] = self._keep(theirs, pieces)
            learned[ours[theirs.hash]] = theirs

        self.server.get((one for one in wanted if one.hash not in ours), keep)
        self._learn(learned)

    def _fetch(self, key: str, into: dict[str, Manifest], *, kept: bool) -> None:
        found = cache.get(self.server, key)
        if found is None:
            self.misses += 1
            return
        along = found.along
        self._fetch_long(found)
        if along is not None:
            try:
                self._fetch_long(along)
            except BlobAbsent:  # it is asked for by its own key
                along = None
        with self._writing:
            self._take(found)
            into[key] = self._kept(key, found.manifest) if kept else found.manifest
            self.hits += 1
            if along is not None:
                into[along.key] = self._take_along(along)

    def _fetch_long(self, found: ManifestEntry) -> None:
        """Have the store keep those blobs of a manifest that did not come with it."""
        absent = self._store.blobs.missing(one for one in found.theirs if one not in found.contents).digests
        ours = {found.theirs[digest]: digest for digest in absent}
        self.server.get(ours, lambda theirs, pieces: self._keep_as(ours[theirs], theirs, pieces))

    def _take(self, found: ManifestEntry) -> None:
        """Have the store keep the blobs of a manifest that came with it."""
        for digest in self._store.blobs.missing(found.contents).digests:
            self._keep_as(digest, found.theirs[digest], iter([found.contents[digest]]))
        self._learn(found.theirs)

    def _take_along(self, found: ManifestEntry) -> Manifest:
        there = self._store.manifests.get([found.key]).found.get(found.key)
        if there is not None:
            return there
        self._take(found)
        manifest = self._kept(found.key, found.manifest)
        self.hits += 1
        return manifest

    def _kept(self, key: str, manifest: Manifest) -> Manifest:
        try:
            self._store.manifests.put({key: manifest})
        except KeyTaken:  # made here meanwhile: that one counts
            return self._store.manifests.get([key]).found.get(key, manifest)
        except (StoreFull, StoreTrouble) as error:
            raise RemoteFailed(f"a result of it cannot be kept: {error.reason}") from error
        return manifest

    def _fetch_known(self, wanted: list[str]) -> None:
        if self.server.capabilities().function.is_ours:
            return  # its size would have to be known; the next lookup of its manifest fetches it
        theirs = {digest: ours for ours, digest in self._index.theirs(wanted).items()}
        self.server.get(theirs, lambda digest, pieces: self._keep_as(theirs[digest], digest, pieces))

    def _keep_as(self, ours: str, theirs: RemoteDigest, pieces: Iterator[bytes]) -> None:
        made = self._keep(theirs, pieces)
        if made != ours:
            raise BlobWrong(f"its entry calls {theirs.hash} by another content's name")

    def _keep(self, theirs: RemoteDigest, pieces: Iterator[bytes]) -> str:
        try:
            made, size = self._store.blobs.put_from(lambda: next(pieces, b""))
        except (StoreFull, StoreTrouble) as error:
            raise RemoteFailed(f"a blob of it cannot be kept: {error.reason}") from error
        self.fetched_bytes += size
        return made

    # --- up ---------------------------------------------------------------------------------------

    def later(self, manifests: Mapping[str, Manifest]) -> None:
        """Have manifests go up when there is time."""
        if not self._uploads:
            return
        for item in manifests.items():
            try:
                self._waiting.put_nowait(item)
            except queue.Full:
                self.server.failures.failed(
                    "results were left out: too many wait to go up", 0.0, counts=False
                )
                return

    def push(self, digests: Iterable[str]) -> list[RemoteBlob]:
        """Have the server keep blobs of the store; return their names there.

        Raises:
            RemoteFailed: it does not keep them, or they are not here.
        """
        wanted = list(digests)
        theirs: dict[str, RemoteDigest] = {}
        self._checked(partial(self._push, wanted, theirs))
        return [RemoteBlob(theirs[one].hash, theirs[one].size) for one in wanted]

    def _push(self, wanted: list[str], theirs: dict[str, RemoteDigest]) -> None:
        theirs |= self._names(wanted)
        ours = {digest: one for one, digest in theirs.items()}
        lacking = self.server.missing(ours)
        for begin in range(0, len(lacking), _OPEN_AT_ONCE):
            with ExitStack() as stack:
                self.server.put(
                    {one: self._source(ours[one], stack) for one in lacking[begin : begin + _OPEN_AT_ONCE]}
                )

    def _names(self, wanted: list[str]) -> dict[str, RemoteDigest]:
        """Return the names there of blobs; only those of whom none is known are read."""
        function = self.server.capabilities().function
        known = {} if function.is_ours else self._index.theirs(wanted)
        made: dict[str, RemoteDigest] = {}
        for digest in dict.fromkeys(wanted):
            if digest in known:
                continue
            with ExitStack() as stack:
                source = self._source(digest, stack)
                if function.is_ours:
                    known[digest] = RemoteDigest(digest, source.size)
                else:
                    made[digest] = RemoteDigest(_hashed(function.hasher(), source), source.size)
        self._learn(made)
        return known | made

    def _source(self, digest: str, stack: ExitStack) -> Source:
        try:
            fd = self._store.blobs.open(digest)
        except (BlobMissing, StoreTrouble):
            raise BlobAbsent(f"{digest} is not in the store any more") from None
        stack.callback(os.close, fd)
        return server.of_fd(fd)

    def _send_all(self) -> None:
        while (item := self._waiting.get()) is not None:
            try:
                self.server.guarded(partial(self._send, *item))
            except Exception:
                logger.exception("a result could not go to the shared cache")
            finally:
                self._waiting.task_done()

    def _send(self, key: str, manifest: Manifest) -> None:
        if not self.server.capabilities().may_update:
            self._uploads = False
            raise BlobAbsent("it takes no results from here")
        theirs: dict[str, RemoteDigest] = {}
        self._push([blob.digest for blob in manifest.blobs], theirs)
        contents = self._small(manifest, MAX_INLINE_BYTES)
        left = MAX_INLINE_BYTES - sum(map(len, contents.values()))
        cache.put(self.server, ManifestEntry(key, manifest, theirs, contents, self._along(manifest, left)))
        self.sent += 1

    def _along(self, listed: Manifest, most: int) -> ManifestEntry | None:
        """Return the manifest that goes along with this one; it has gone up by its own key before.

        Args:
            listed: the other.
            most: bytes of contents.
        """
        key = next_key(listed)
        manifest = self._store.manifests.get([key]).found.get(key) if key is not None else None
        if key is None or manifest is None or manifest.grows:
            return None
        theirs = self._names([blob.digest for blob in manifest.blobs])
        return ManifestEntry(key, manifest, theirs, self._small(manifest, most))

    def _small(self, manifest: Manifest, most: int) -> dict[str, bytes]:
        """Return the contents of a manifest's small blobs: lists of files, messages, short object files."""
        found: dict[str, bytes] = {}
        left = most
        for blob in manifest.blobs:
            if blob.size > left or blob.digest in found:
                continue
            with ExitStack() as stack:
                found[blob.digest] = self._source(blob.digest, stack).read(blob.size, 0)
            left -= blob.size
        return found

    def take_fetched(self) -> int:
        """Return how many bytes came since the last time."""
        fetched = self.fetched_bytes
        new, self._counted_bytes = fetched - self._counted_bytes, fetched
        return new

    # --- both -------------------------------------------------------------------------------------

    def fields(self) -> dict[str, Any]:
        """Return it in numbers."""
        return {
            "remote": self.server.url,
            "remote_hits": self.hits,
            "remote_misses": self.misses,
            "remote_fetched_bytes": self.fetched_bytes,
            "remote_sent": self.sent,
            "remote_waiting": self._waiting.unfinished_tasks,
            "remote_failures": self.server.failures.count,
        }

    def close(self) -> None:
        """Let what waits go up, for a short while, and end."""
        try:
            self._waiting.put(None, timeout=DRAIN_S)
        except queue.Full:
            pass
        self._sender.join(DRAIN_S)
        self.server.rpc.close()
        self._index.close()

    def _learn(self, found: Mapping[str, RemoteDigest]) -> None:
        if found and not self.server.capabilities().function.is_ours:
            self._index.learn(found)

    def _checked(self, call: Callable[[], object]) -> None:
        failed = self.server.guarded(call)
        if failed is not None:
            raise failed


def _hashed(hasher: Any, source: Source) -> str:
    offset = 0
    while piece := source.read(1 << 20, offset):
        hasher.update(piece)
        offset += len(piece)
    return str(hasher.hexdigest())
