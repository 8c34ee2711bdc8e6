"""cass as a service: the store's methods, called from other processes.

Owns threads for what blocks, the order to collect when the store has grown too large, and moving
blobs as bytes where descriptors cannot pass.  The files are `store`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from socket import socket
from typing import Any, Final, ParamSpec, TypeVar

from daemonry import Fd, Upgrade
from vx import digests
from vx.cass.eviction import KEPT_SHARE
from vx.cass.new_file import MAX_BLOB_BYTES
from vx.cass.reply_size import fitted
from vx.cass.store import Store
from vx.interfaces import (
    Blob,
    BlobMissing,
    Cass,
    Collected,
    Held,
    Lookup,
    Manifest,
    Missing,
    NameInvalid,
    RemoteBlob,
    RemoteLost,
    SharedState,
    StoreFull,
    StoreStats,
    StoreTrouble,
    Verified,
)
from vx.remote.failures import RemoteFailed, RemotePaused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vx.cass.shared import SharedCache  # gRPC: only where a remote is set

logger = logging.getLogger("vx.cass")

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")

# They wait for the disk more than they compute; hashing lets go of the interpreter's lock.
MAX_THREADS: Final = 8
# A connection that moves bytes and makes no progress for this long is closed.
BYTES_TIMEOUT_S: Final = 30.0
# After a collection that failed, or removed nothing because all is held, the next waits this long, or until
# a hold of this process ends.
COLLECT_AGAIN_S: Final = 30.0
# Calls of the shared cache at the same time: they wait for the network, and nothing here waits for them.
MAX_REMOTE_THREADS: Final = 16
# Of one lookup; a thread's turn costs as much as a key.
KEYS_OF_A_THREAD: Final = 4


class CassService(Cass):
    """The interface's implementation over a store.

    Args:
        store: the store that it serves.
        shared: the cache behind it; None for none.
    """

    def __init__(self, store: Store, shared: SharedCache | None = None) -> None:
        self._store = store
        self._shared = shared
        self._remote_threads = ThreadPoolExecutor(MAX_REMOTE_THREADS, thread_name_prefix="remote")
        self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="store")
        self._grown = asyncio.Event()
        self._let_go = asyncio.Event()
        self._size: int | None = None
        # Bytes put so far: what comes while the disk is looked at may not be in what the look finds.
        self._counted = 0
        self._holds = 0
        self._put = 0
        self._hits = 0
        self._misses = 0
        self._damaged = 0

    async def missing(self, digests: list[str]) -> Missing:
        """Return which blobs are not there."""
        found = await self._in_thread(self._store.blobs.missing, digests)
        self._damaged += len(found.damaged)
        return found

    async def arrived(self, file: Fd) -> bool:
        """Return True: it came."""
        file.close()
        return True

    async def put(self, files: list[Fd]) -> list[str]:
        """Keep the content of files."""
        stored = await self._in_thread(self._put_all, files)
        self._count(sum(size for _, size in stored), len(stored))
        return [digest for digest, _ in stored]

    async def get(self, digests: list[str]) -> list[Fd]:
        """Return the store's own files."""
        try:
            fds = await self._in_thread(self._store.blobs.open_all, digests)
        except BlobMissing as missing:
            if self._shared is None:
                raise
            await self._remotely(self._shared.blobs, missing.digests)
            fds = await self._in_thread(self._store.blobs.open_all, digests)
        return [Fd(fd) for fd in fds]

    async def put_manifests(self, manifests: dict[str, Manifest]) -> None:
        """Keep manifests."""
        await self._in_thread(self._store.manifests.put, manifests)
        if self._shared is not None:
            self._shared.later(manifests)

    async def get_manifests(self, keys: list[str]) -> Lookup:
        """Return the manifests that can be had."""
        lookup = await self._in_thread(self._store.look_up, keys)
        asked = set(keys)
        if self._shared is not None and (absent := asked - lookup.found.keys()):
            more = await self._look_up_shared(sorted(absent), kept=True)
            lookup = Lookup(lookup.found | more.found, lookup.damaged, lookup.contents | more.contents)
        lookup = fitted(lookup, asked)
        hits = len(asked & lookup.found.keys())
        self._hits += hits
        self._misses += len(asked) - hits - len(lookup.left)
        self._damaged += len(lookup.damaged)
        return lookup

    async def get_shared(self, keys: list[str]) -> Lookup:
        """Return the shared cache's manifests."""
        return fitted(await self._look_up_shared(keys, kept=False), keys)

    async def shared(self, since: int = 0) -> SharedState:
        """Return how the shared cache is."""
        if self._shared is None:
            return SharedState()
        failures = self._shared.server.failures
        return SharedState(self._shared.server.url, failures.count, failures.since(since), failures.skipped)

    async def push(self, digests: list[str]) -> list[RemoteBlob]:
        """Have the remote server keep blobs."""
        return await self._remotely_or_lost(lambda shared: shared.push(digests))

    async def pull(self, blobs: list[RemoteBlob]) -> list[str]:
        """Keep blobs of the remote server."""
        return await self._remotely_or_lost(lambda shared: shared.pull(blobs))

    async def hold(self) -> AsyncIterator[Held]:
        """Hold until the caller goes."""
        with self._store.holds.hold() as since_s:
            self._holds += 1
            try:
                yield Held(since_s)
                await asyncio.Event().wait()
            finally:
                self._holds -= 1
                self._let_go.set()

    async def verify(self) -> AsyncIterator[Verified]:
        """Read the whole store again."""
        steps = self._store.verify()
        while (step := await self._in_thread(partial(next, steps, None))) is not None:
            self._damaged += step.damaged is not None
            yield step

    async def gc(self, max_bytes: int | None = None, dry_run: bool = False) -> Collected:
        """Remove the least recently used."""
        if max_bytes is not None and max_bytes < 0:
            raise NameInvalid(name=str(max_bytes), reason="max_bytes cannot be negative")
        before = self._counted
        collected = await self._in_thread(partial(self._store.gc, max_bytes, dry_run=dry_run))
        if not dry_run:
            self._size = collected.kept_bytes + self._counted - before
        return collected

    async def stats(self) -> StoreStats:
        """Return the store in numbers."""
        return await self._in_thread(self._store.stats)

    async def send(self, digest: str) -> Upgrade[Blob]:
        """Send a blob's bytes behind the reply."""
        fd = await self._in_thread(self._store.blobs.open, digest)
        return Upgrade(Blob("", digest, os.fstat(fd).st_size), partial(_send, fd))

    async def receive(self, size: int) -> Upgrade[None]:
        """Take bytes behind the reply."""
        if not 0 <= size <= MAX_BLOB_BYTES:
            raise StoreFull(path=self._store.path, reason=f"a blob has at most {MAX_BLOB_BYTES} bytes")
        # Counted by the next look at the disk; the thread that takes them has no loop to tell.
        return Upgrade(None, partial(_receive, self._store, size))

    # --- the daemon's ----------------------------------------------------------------------------

    async def keep_bounded(self) -> None:
        """Collect whenever the store has grown beyond its bound."""
        while True:
            self._let_go.clear()
            try:
                if self._size is None:
                    before = self._counted
                    self._size = (await self.stats()).size + self._counted - before
                while self._size <= self._store.max_bytes:
                    await self._grown.wait()
                    self._grown.clear()
                collected = await self.gc(int(self._store.max_bytes * KEPT_SHARE))
            except (StoreFull, StoreTrouble) as error:
                logger.error("the store cannot be collected: %s: %s", error.path, error.reason)
            else:
                if collected.removed:
                    logger.info("collected %d, %d bytes", collected.removed, collected.removed_bytes)
                # Where nothing had to go, what was put meanwhile had been counted twice.
                if collected.removed or collected.kept_bytes <= self._store.max_bytes:
                    continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COLLECT_AGAIN_S):
                    await self._let_go.wait()

    def fields(self) -> dict[str, Any]:
        """Return the further fields of STATUS."""
        return {
            "store": self._store.path,
            "store_bytes": self._size,
            "store_max_bytes": self._store.max_bytes,
            "holds": self._holds,
            "blobs_put": self._put,
            "manifest_hits": self._hits,
            "manifest_misses": self._misses,
            "damaged_found": self._damaged,
            **(self._shared.fields() if self._shared is not None else {}),
        }

    def close(self) -> None:
        """Let the threads end after their present work."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._remote_threads.shutdown(wait=False, cancel_futures=True)
        if self._shared is not None:
            self._shared.close()

    async def _look_up_shared(self, keys: Sequence[str], *, kept: bool) -> Lookup:
        """Return the shared cache's manifests, a share of the keys by each thread."""
        if self._shared is None:
            return Lookup()
        look_up = partial(self._shared.look_up, kept=kept)
        parts = await asyncio.gather(
            *(
                self._remotely(look_up, keys[begin : begin + KEYS_OF_A_THREAD])
                for begin in range(0, len(keys), KEYS_OF_A_THREAD)
            )
        )
        found: dict[str, Manifest] = {}
        contents: dict[str, bytes] = {}
        for one in parts:
            found |= one.found
            contents |= one.contents
        return Lookup(found, [], contents)

    async def _remotely(
        self, function: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Value:
        assert self._shared is not None
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._remote_threads, partial(function, *args, **kwargs))
        finally:
            self._count(self._shared.take_fetched(), 0)

    async def _remotely_or_lost(self, call: Callable[[SharedCache], Value]) -> Value:
        if self._shared is None:
            raise RemoteLost(reason="no remote is set")
        try:
            return await self._remotely(call, self._shared)
        except RemotePaused as error:
            raise RemoteLost(reason="") from error
        except RemoteFailed as error:
            raise RemoteLost(reason=error.reason) from error

    async def _in_thread(
        self, function: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Value:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(function, *args, **kwargs))

    def _put_all(self, files: list[Fd]) -> list[tuple[str, int]]:
        stored = []
        for file in files:
            with file:
                try:
                    stored.append(self._store.blobs.put_fd(file.fileno()))
                except OSError as error:
                    reason = f"the descriptor that was passed cannot be read: {error.strerror}"
                    raise StoreTrouble(path=self._store.path, reason=reason) from error
        return stored

    def _count(self, size: int, blobs: int) -> None:
        self._put += blobs
        self._counted += size
        if self._size is not None:
            self._size += size
        self._grown.set()


def _send(fd: int, sock: socket, _early: bytes) -> None:
    with open(fd, "rb") as file, suppress(OSError):
        sock.settimeout(BYTES_TIMEOUT_S)
        sock.sendfile(file)


def _receive(store: Store, size: int, sock: socket, early: bytes) -> None:
    sock.settimeout(BYTES_TIMEOUT_S)
    left = size

    def read() -> bytes:
        nonlocal left, early
        if not left:
            return b""
        piece, early = (early or sock.recv(min(left, digests.PIECE_BYTES)))[:left], b""
        if not piece:
            raise ConnectionResetError("the sender went away")
        left -= len(piece)
        return piece

    with suppress(OSError, StoreFull, StoreTrouble):
        digest, _ = store.blobs.put_from(read)
        sock.sendall(f"{digest}\n".encode())
