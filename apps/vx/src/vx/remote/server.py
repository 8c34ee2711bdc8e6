"""A server's storage: blobs by their digests there, in batches or as streams, and its capabilities.

Owns the sizes of batches, the names of streams, and that no byte is handed on as a blob's that is not: a blob
with another digest than the one asked for is refused when its last byte has come.  Blocks: for threads.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from vx.remote import digest_functions
from vx.remote.digest_functions import DigestFunction, RemoteDigest
from vx.remote.failures import Failures, RemoteDamaged, RemoteFailed, RemotePaused
from vx.remote.protos import bytestream_pb2
from vx.remote.protos import remote_execution_pb2 as reapi
from vx.remote.rpc import (
    BATCH_READ,
    BATCH_UPDATE,
    CAPABILITIES,
    FIND_MISSING,
    READ,
    WRITE,
    Rpc,
)
from vx.remote.settings import RemoteSettings

# For calls that move no blobs.  A cache that takes longer costs more than it saves.
SHORT_TIMEOUT_S: Final = 5.0
# gRPC's default bound of a message is 4 MiB; the rest is for what stands around the blobs.
_BATCH_BYTES: Final = (4 << 20) - (64 << 10)
_BATCH_BLOBS: Final = 1000
# Of one message of a stream.
_PIECE_BYTES: Final = 1 << 20
_NOT_FOUND: Final = 5


class BlobWrong(RemoteDamaged):
    """The server sent bytes that are not the blob's."""


class BlobAbsent(RemoteFailed):
    """The server does not have a blob (any more)."""


class Capabilities(NamedTuple):
    """What a server can do.

    Attributes:
        function: names its blobs.
        batch_bytes: the most in one batch.
        may_update: whether results may be put into its ActionCache.
        executes: whether it runs jobs.
    """

    function: DigestFunction
    batch_bytes: int
    may_update: bool
    executes: bool


class Source(NamedTuple):
    """A blob's content, here.

    Attributes:
        size: in bytes.
        read: returns that many bytes from an offset on.
    """

    size: int
    read: Callable[[int, int], bytes]


def of_bytes(data: bytes) -> Source:
    """Return a content that is in memory."""
    return Source(len(data), lambda size, offset: data[offset : offset + size])


def of_fd(fd: int) -> Source:
    """Return the content of a file, which stays open as long as this is used."""
    return Source(os.fstat(fd).st_size, lambda size, offset: os.pread(fd, size, offset))


class Server:
    """A server's storage.

    Args:
        url: where it is.
        settings: the user's.

    Attributes:
        rpc: its channel.
        failures: of its calls.
    """

    def __init__(self, url: str, settings: RemoteSettings) -> None:
        self.url = url
        self.rpc = Rpc(url, settings)
        self.failures = Failures()
        self.instance = settings.instance
        self._timeout_s = settings.timeout_s
        self._lock = threading.Lock()
        self._known: Capabilities | None = None

    def capabilities(self) -> Capabilities:
        """Return its capabilities, which are asked for once.

        Raises:
            RemotePaused: it does not answer, which is noted.
            RemoteFailed: it names blobs in no way that we know.
        """
        with self._lock:
            if self._known is None:
                self.failures.check(time.monotonic())  # it failed while others waited for the lock
                asked = reapi.GetCapabilitiesRequest(instance_name=self.instance)
                try:
                    told = self.rpc.unary(CAPABILITIES, asked, SHORT_TIMEOUT_S)
                except RemoteFailed as error:
                    # Noted before the next of those that wait asks the same.
                    self.failures.failed(error.reason, time.monotonic())
                    raise RemotePaused(error.reason, error.code) from None
                cache = told.cache_capabilities
                most = cache.max_batch_total_size_bytes
                self._known = Capabilities(
                    digest_functions.chosen(cache.digest_functions),
                    min(most, _BATCH_BYTES) if most > 0 else _BATCH_BYTES,
                    cache.action_cache_update_capabilities.update_enabled,
                    told.execution_capabilities.exec_enabled,
                )
            return self._known

    def guarded(self, call: Callable[[], object]) -> RemoteFailed | None:
        """Do something with it unless it failed again and again; return the failure, which is noted."""
        try:
            self.failures.check(time.monotonic())
        except RemoteFailed as error:
            return error
        try:
            call()
        except RemoteFailed as error:
            if not isinstance(error, (BlobAbsent, RemotePaused)):
                counts = not isinstance(error, RemoteDamaged)
                self.failures.failed(error.reason, time.monotonic(), counts=counts)
            return error
        self.failures.succeeded()
        return None

    # --- up ---------------------------------------------------------------------------------------

    def missing(self, wanted: Iterable[RemoteDigest]) -> list[RemoteDigest]:
        """Return which of these blobs it does not have.

        Raises:
            RemoteFailed.
        """
        asked = list(dict.fromkeys(wanted))
        found: list[RemoteDigest] = []
        function = self.capabilities().function.number
        for begin in range(0, len(asked), _BATCH_BLOBS):
            request = reapi.FindMissingBlobsRequest(
                instance_name=self.instance,
                blob_digests=[message(one) for one in asked[begin : begin + _BATCH_BLOBS]],
                digest_function=function,
            )
            reply = self.rpc.unary(FIND_MISSING, request, SHORT_TIMEOUT_S)
            found += [RemoteDigest(one.hash, one.size_bytes) for one in reply.missing_blob_digests]
        known = set(asked)
        return [one for one in dict.fromkeys(found) if one in known]

    def put(self, blobs: Mapping[RemoteDigest, Source]) -> int:
        """Have it keep blobs; return how many it did not have.

        Raises:
            RemoteFailed.
        """
        lacking = self.missing(blobs)
        batch: list[RemoteDigest] = []
        size = 0
        most = self.capabilities().batch_bytes
        for one in lacking:
            if one.size > most:
                self._write(one, blobs[one])
                continue
            if size + one.size > most or len(batch) >= _BATCH_BLOBS:
                self._update(batch, blobs)
                batch, size = [], 0
            batch.append(one)
            size += one.size
        if batch:
            self._update(batch, blobs)
        return len(lacking)

    def _update(self, batch: Iterable[RemoteDigest], blobs: Mapping[RemoteDigest, Source]) -> None:
        request = reapi.BatchUpdateBlobsRequest(
            instance_name=self.instance, digest_function=self.capabilities().function.number
        )
        for one in batch:
            request.requests.add(digest=message(one), data=blobs[one].read(one.size, 0))
        for answer in self.rpc.unary(BATCH_UPDATE, request, self._timeout_s).responses:
            if answer.status.code:
                raise RemoteFailed(f"a blob was not kept: {_told(answer.status.message)}")

    def _write(self, digest: RemoteDigest, source: Source) -> None:
        name = f"{self._resource(f'uploads/{uuid.uuid4()}/blobs', digest)}"

        def pieces() -> Iterator[bytestream_pb2.WriteRequest]:
            offset = 0
            while offset < digest.size:
                piece = source.read(_PIECE_BYTES, offset)
                if not piece:
                    return  # cut short behind our back: the server sees that it is not whole
                end = offset + len(piece)
                yield bytestream_pb2.WriteRequest(
                    resource_name=name if not offset else "",
                    write_offset=offset,
                    finish_write=end >= digest.size,
                    data=piece,
                )
                offset = end

        reply = self.rpc.sent(WRITE, pieces(), self._timeout_s)
        if reply.committed_size not in (digest.size, -1):
            raise RemoteFailed(f"a blob of {digest.size} bytes was kept as one of {reply.committed_size}")

    # --- down -------------------------------------------------------------------------------------

    def get(
        self, wanted: Iterable[RemoteDigest], keep: Callable[[RemoteDigest, Iterator[bytes]], None]
    ) -> None:
        """Get blobs, each verified by its digest.

        Args:
            wanted: which.
            keep: is given each and its pieces; reading them raises if they are not the blob's.

        Raises:
            BlobAbsent: one is not there; others may have been kept.
            BlobWrong: one has another digest than its name.
            RemoteFailed.
        """
        batch: list[RemoteDigest] = []
        size = 0
        most = self.capabilities().batch_bytes
        for one in dict.fromkeys(wanted):
            if one.size > most:
                keep(one, self._verified(one, self._streamed(one)))
                continue
            if size + one.size > most or len(batch) >= _BATCH_BLOBS:
                self._read(batch, keep)
                batch, size = [], 0
            batch.append(one)
            size += one.size
        if batch:
            self._read(batch, keep)

    def read(self, digest: RemoteDigest, most: int) -> bytes:
        """Return a small blob.

        Raises:
            As `get`; RemoteFailed: it is larger than `most`.
        """
        if digest.size > most:
            raise RemoteFailed(f"a blob of {digest.size} bytes stands where at most {most} belong")
        found: list[bytes] = []
        self.get([digest], lambda _, pieces: found.append(b"".join(pieces)))
        return found[0]

    def _read(self, batch: list[RemoteDigest], keep: Callable[[RemoteDigest, Iterator[bytes]], None]) -> None:
        request = reapi.BatchReadBlobsRequest(
            instance_name=self.instance,
            digests=[message(one) for one in batch],
            digest_function=self.capabilities().function.number,
        )
        left = set(batch)
        for answer in self.rpc.unary(BATCH_READ, request, self._timeout_s).responses:
            one = RemoteDigest(answer.digest.hash, answer.digest.size_bytes)
            if one not in left:
                continue  # not asked for
            left.discard(one)
            if answer.status.code == _NOT_FOUND:
                raise BlobAbsent(f"{one.hash} is not there any more")
            if answer.status.code:
                raise RemoteFailed(f"{one.hash} cannot be read: {_told(answer.status.message)}")
            keep(one, self._verified(one, iter([answer.data])))
        for one in left:
            raise BlobAbsent(f"{one.hash} was not sent")

    def _streamed(self, digest: RemoteDigest) -> Iterator[bytes]:
        request = bytestream_pb2.ReadRequest(resource_name=self._resource("blobs", digest))
        call = self.rpc.streamed(READ, request, self._timeout_s)
        try:
            for reply in self.rpc.answers(call):
                yield reply.data
        except RemoteFailed as error:
            if error.code == "NOT_FOUND":
                raise BlobAbsent(f"{digest.hash} is not there any more") from None
            raise
        finally:
            call.cancel()

    def _verified(self, digest: RemoteDigest, pieces: Iterator[bytes]) -> Iterator[bytes]:
        hasher = self.capabilities().function.hasher()
        size = 0
        for piece in pieces:
            size += len(piece)
            if size > digest.size:
                break
            hasher.update(piece)
            if piece:
                yield piece
        if size != digest.size or hasher.hexdigest() != digest.hash:
            raise BlobWrong(
                f"it sent {'more' if size > digest.size else size} bytes that are not {digest.hash}"
            )

    def _resource(self, kind: str, digest: RemoteDigest) -> str:
        part = self.capabilities().function.part
        head = f"{self.instance}/" if self.instance else ""
        return f"{head}{kind}/{part}{digest.hash}/{digest.size}"


def message(digest: RemoteDigest) -> reapi.Digest:
    """Return a digest as a message."""
    return reapi.Digest(hash=digest.hash, size_bytes=digest.size)


def digest_of(told: reapi.Digest) -> RemoteDigest:
    """Return the digest in a message.

    Raises:
        RemoteFailed: it has not the form of one.
    """
    if not digest_functions.is_hash(told.hash) or told.size_bytes < 0:
        raise RemoteFailed("it names a blob by something that is not a digest")
    return RemoteDigest(told.hash, told.size_bytes)


def _told(text: str) -> str:
    from daemonry.cli.kit import printable

    return printable(text.partition("\n")[0], 200) or "no reason was given"
