"""Asking cass, for programs that live long: aether and rhea.

Owns connections to the store, cutting requests into pieces of one message each, trying again after a
restart of the store, and moving blobs as bytes where descriptors do not arrive: over TCP, and through a Unix
socket that ssh forwards.

Every method of the store can be done twice, so a call whose answer was lost is made once more, on a
new connection.  When that fails too the store is gone: `StoreGone` says where it should have been.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from socket import socket
from typing import Any, Final, TypeVar, cast

from daemonry import AsyncClient, Endpoint, Fd, errors
from daemonry.backoff import delays
from vx import digests
from vx.interfaces import (
    MAX_FDS,
    Blob,
    BlobMissing,
    Cass,
    Collected,
    Damage,
    Held,
    Lookup,
    Manifest,
    Missing,
    RemoteBlob,
    SharedState,
    StoreStats,
    Verified,
)

Value = TypeVar("Value")

# A put may hash gigabytes, and a first lookup after a restart reads all that it finds.
CALL_TIMEOUT_S: Final = 120.0
CONNECT_TIMEOUT_S: Final = 5.0
# Bytes that move and make no progress for this long are given up.
BYTES_TIMEOUT_S: Final = 30.0
# Between two looks whether the store has room.
_ROOM_FIRST_S: Final = 0.02
_ROOM_MOST_S: Final = 1.0
# Connections that are kept open while nobody uses them.
MAX_IDLE: Final = 8


class StoreGone(Exception):
    """The store cannot be reached, or went away and stayed away.

    Attributes:
        endpoint: where it should be.
        reason: what happened, in words.
    """

    def __init__(self, endpoint: Endpoint, reason: str) -> None:
        super().__init__(f"the store at {endpoint} is gone: {reason}")
        self.endpoint = endpoint
        self.reason = reason


class _Connection:
    """A connection, and the store's methods over it."""

    __slots__ = ("cass", "client")

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.cass = client.proxy(Cass, timeout_s=CALL_TIMEOUT_S)


class CassClient:
    """The store, seen from another process.  Calls may be made at the same time.

    In addition to those named below, every method raises the interface's own errors, and `StoreGone`.

    Args:
        endpoint: where it is reached.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._idle: list[_Connection] = []
        # Whether a descriptor that is sent arrives; None until it was tried.
        self._fds_arrive: bool | None = None if endpoint.kind == "unix" else False
        self._closed = False

    # --- blobs ------------------------------------------------------------------------------------

    async def missing(self, wanted: Iterable[str]) -> Missing:
        """Return which of these blobs the store does not have."""
        asked = list(dict.fromkeys(wanted))
        return await self._ask(lambda cass: cass.missing(asked)) if asked else Missing()

    async def put_fds(self, fds: Sequence[int]) -> list[str]:
        """Keep the content of files, whose descriptors stay the caller's; return their digests."""
        if not await self._passes_fds():
            return [await self._put_bytes_of(fd) for fd in fds]
        stored: list[str] = []
        for begin in range(0, len(fds), MAX_FDS):
            piece = fds[begin : begin + MAX_FDS]
            stored += await self._ask(lambda cass, piece=piece: cass.put([Fd.copy(fd) for fd in piece]))  # type: ignore[misc]
        return stored

    async def put_paths(self, paths: Sequence[str]) -> list[str]:
        """Keep the content of the files at these paths; return their digests.

        Raises:
            OSError: one cannot be opened.
        """
        stored: list[str] = []
        for begin in range(0, len(paths), MAX_FDS):
            fds: list[int] = []
            try:
                for path in paths[begin : begin + MAX_FDS]:
                    fds.append(digests.open_file(path))  # noqa: PERF401  # closed below
                stored += await self.put_fds(fds)
            finally:
                for fd in fds:
                    os.close(fd)
        return stored

    async def put_bytes(self, data: bytes) -> str:
        """Keep `data`; return its digest."""
        with Fd(_memory_file(data)) as file:
            return (await self.put_fds([file.fileno()]))[0]

    async def get(self, wanted: Sequence[str]) -> list[Fd]:
        """Return a descriptor for each of these blobs, open for reading: all, or none.

        Raises:
            BlobMissing: some are not there; all of those are named.
        """
        if not await self._passes_fds():
            return await self._get_all(wanted, self._get_bytes)
        pieces = [wanted[begin : begin + MAX_FDS] for begin in range(0, len(wanted), MAX_FDS)]
        return await self._get_all(pieces, lambda piece: self._ask(lambda cass: cass.get(list(piece))))

    async def read(self, digest: str) -> bytes:
        """Return a blob's content, which should be small."""
        with (await self.get([digest]))[0] as file:
            size = os.fstat(file.fileno()).st_size
            return os.pread(file.fileno(), size, 0)

    # --- manifests --------------------------------------------------------------------------------

    async def put_manifests(self, manifests: Mapping[str, Manifest]) -> None:
        """Keep manifests under their keys."""
        if manifests:
            await self._ask(lambda cass: cass.put_manifests(dict(manifests)))

    async def get_manifests(self, keys: Iterable[str]) -> Lookup:
        """Return the manifests of these keys whose blobs are all there."""
        return await self._look_up(keys, lambda cass, asked: cass.get_manifests(asked))

    async def get_shared(self, keys: Iterable[str]) -> Lookup:
        """Return the manifests that the shared cache has under these keys."""
        return await self._look_up(keys, lambda cass, asked: cass.get_shared(asked))

    async def _look_up(
        self, keys: Iterable[str], ask: Callable[[Cass, list[str]], Awaitable[Lookup]]
    ) -> Lookup:
        all_found = Lookup()
        left = list(dict.fromkeys(keys))
        while left:
            asked = left
            lookup = await self._ask(lambda cass, asked=asked: ask(cass, asked))  # type: ignore[misc]
            all_found = Lookup(
                all_found.found | lookup.found,
                all_found.damaged + lookup.damaged,
                all_found.contents | lookup.contents,
            )
            had_no_room = set(lookup.left)
            left = [key for key in asked if key in had_no_room and key not in lookup.found]
            if len(left) == len(asked):
                break  # it gives none of them: they are not there
        return all_found

    # --- remote -----------------------------------------------------------------------------------

    async def shared(self, since: int = 0) -> SharedState:
        """Return how the shared cache is, and why it failed after its failure number `since`."""
        return await self._ask(lambda cass: cass.shared(since))

    async def push(self, wanted: Sequence[str]) -> list[RemoteBlob]:
        """Have the remote server keep blobs of the store; return their names there."""
        return await self._ask(lambda cass: cass.push(list(wanted))) if wanted else []

    async def pull(self, blobs: Sequence[RemoteBlob]) -> list[str]:
        """Have the store keep blobs of the remote server; return their digests here."""
        return await self._ask(lambda cass: cass.pull(list(blobs))) if blobs else []

    # --- the whole store --------------------------------------------------------------------------

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[Held]:
        """Protect whatever is used inside this block from being removed.

        If the store goes away meanwhile, so does the hold; nothing tells of it here.
        """
        connection = await self._connect()
        # What the block raises is its own, also when it is about another connection that was lost.
        try:
            async with aclosing(cast("AsyncGenerator[Held, None]", connection.cass.hold())) as holds:
                yield await self._first(holds)
        finally:
            connection.client.close()

    async def _first(self, holds: AsyncGenerator[Held, None]) -> Held:
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                held = await anext(holds, None)
        except (errors.IpcError, TimeoutError) as error:
            raise StoreGone(self.endpoint, str(error) or "it does not answer") from error
        if held is None:
            raise StoreGone(self.endpoint, "it is ending")
        return held

    async def verify(self) -> AsyncIterator[Verified]:
        """Have the whole store read again."""
        async with self._connection() as cass, aclosing(cass.verify()) as steps:
            async for step in steps:
                yield step

    async def gc(self, max_bytes: int | None = None, *, dry_run: bool = False) -> Collected:
        """Remove the least recently used until the store is this small."""
        return await self._ask(lambda cass: cass.gc(max_bytes, dry_run))

    async def stats(self) -> StoreStats:
        """Return the store in numbers."""
        return await self._ask(lambda cass: cass.stats())

    def close(self) -> None:
        """End the connections that are free now, and the others when their calls are over."""
        self._closed = True
        while self._idle:
            self._idle.pop().client.close()

    # --- connections ------------------------------------------------------------------------------

    async def _passes_fds(self) -> bool:
        """Whether a descriptor that is sent arrives: not where the socket is forwarded from elsewhere."""
        if self._fds_arrive is None:
            with Fd(_memory_file()) as file:
                try:
                    self._fds_arrive = await self._ask(lambda cass: cass.arrived(Fd.copy(file.fileno())))
                except errors.InvalidParameter:
                    self._fds_arrive = False
        return self._fds_arrive

    async def _ask(self, ask: Callable[[Cass], Awaitable[Value]]) -> Value:
        connection = self._idle.pop() if self._idle else await self._connect()
        try:
            return await self._ask_over(connection, ask)
        except errors.ConnectionLost:
            pass
        # The others that lie idle are as old as the run of the store that this one was with.
        while self._idle:
            self._idle.pop().client.close()
        try:
            return await self._ask_over(await self._connect(), ask)
        except errors.ConnectionLost as error:
            raise StoreGone(self.endpoint, str(error)) from error

    async def _ask_over(self, connection: _Connection, ask: Callable[[Cass], Awaitable[Value]]) -> Value:
        try:
            for delay_s in delays(_ROOM_FIRST_S, _ROOM_MOST_S):
                try:
                    return await ask(connection.cass)
                except errors.Overloaded:
                    await asyncio.sleep(delay_s)  # others have given it all that it takes
            raise AssertionError("delays end")
        except errors.ConnectionLost:
            raise
        except errors.IpcError as error:
            raise StoreGone(self.endpoint, str(error)) from error
        finally:
            self._put_back(connection)

    async def _connect(self) -> _Connection:
        try:
            return _Connection(await AsyncClient.connect(self.endpoint, CONNECT_TIMEOUT_S))
        except errors.DaemonryError as error:
            raise StoreGone(self.endpoint, str(error)) from error

    def _put_back(self, connection: _Connection) -> None:
        if self._closed or len(self._idle) >= MAX_IDLE:
            connection.client.close()
        elif not connection.client.closed:
            self._idle.append(connection)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """Give the store over a connection of its own, which is closed at the end."""
        connection = await self._connect()
        try:
            yield connection.cass
        except (errors.IpcError, ConnectionError, TimeoutError) as error:
            raise StoreGone(self.endpoint, str(error)) from error
        finally:
            connection.client.close()

    # --- in pieces, and as bytes ------------------------------------------------------------------

    async def _get_all(
        self, pieces: Sequence[Value], get: Callable[[Value], Awaitable[list[Fd]]]
    ) -> list[Fd]:
        files: list[Fd] = []
        absent: list[str] = []
        damaged: list[Damage] = []
        try:
            for piece in pieces:
                try:
                    files += await get(piece)
                except BlobMissing as missing:
                    absent += missing.digests
                    damaged += missing.damaged
            if absent:
                raise BlobMissing(digests=absent, damaged=damaged)
        except BaseException:
            for file in files:
                file.close()
            raise
        return files

    async def _get_bytes(self, digest: str) -> list[Fd]:
        async with self._connection() as cass:
            blob, sock, early = await cass.send(digest)
            with sock:
                return [await asyncio.to_thread(_receive_file, sock, early, blob)]

    async def _put_bytes_of(self, fd: int) -> str:
        async with self._connection() as cass:
            _, sock, early = await cass.receive(os.fstat(fd).st_size)
            with sock:
                return await asyncio.to_thread(_send_file, sock, early, fd)


def _memory_file(data: bytes = b"") -> int:
    fd = os.memfd_create("vx", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    return fd


def _receive_file(sock: socket, early: bytes, blob: Blob) -> Fd:
    """Take a blob's bytes into a file without a name; what came is checked, as a store's own is.

    Raises:
        ConnectionError: they are not the blob's.
    """
    sock.settimeout(BYTES_TIMEOUT_S)
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(early)
        while piece := sock.recv(digests.PIECE_BYTES):
            file.write(piece)
        if digests.of_fd(file.fileno()) != (blob.digest, blob.size):
            raise ConnectionResetError(f"the bytes that came are not those of {blob.digest}")
        file.seek(0)
        return Fd.copy(file)


def _send_file(sock: socket, answer: bytes, fd: int) -> str:
    """Send a file's bytes; return the digest that comes back.

    Raises:
        ConnectionError: none comes.
    """
    sock.settimeout(BYTES_TIMEOUT_S)
    with open(os.dup(fd), "rb") as file:
        sock.sendfile(file)
    while not answer.endswith(b"\n"):
        piece = sock.recv(256)
        if not piece:
            raise ConnectionResetError("nothing was kept")
        answer += piece
    return answer.decode("ascii").strip()
