"""Inputs that several Actions share, as files on this disk, so that each comes over the network once.

Owns a directory of files named by their digests, its bound, and that no file there has another content than
its name: `Server.get` verifies each.  Blocks: for threads.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final

from vx.remote.digest_functions import RemoteDigest
from vx.remote.server import Server

# The headers and sources of a large project are some hundred megabytes.
MAX_BYTES: Final = 2 << 30


class BlobFiles:
    """The files.

    Args:
        path: a directory of this process's own; made here.
        server: where blobs come from.
        max_bytes: beyond which those not used for longest go.
    """

    def __init__(self, path: str, server: Server, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._server = server
        self._max_bytes = max_bytes
        self._sizes: OrderedDict[RemoteDigest, None] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        os.mkdir(path, 0o700)

    def open(self, wanted: Iterable[RemoteDigest]) -> dict[RemoteDigest, int]:
        """Return descriptors of blobs, to read; the caller's to close.

        Raises:
            BlobAbsent, BlobWrong, RemoteFailed: one cannot be had; nothing is open.
            OSError: the disk is full.
        """
        asked = list(dict.fromkeys(wanted))
        found: dict[RemoteDigest, int] = {}
        try:
            lacking = [one for one in asked if not self._opened(one, found)]
            if lacking:
                self._server.get(lacking, lambda one, pieces: self._keep(one, pieces, found))
        except BaseException:
            for fd in found.values():
                os.close(fd)
            raise
        return found

    def read(self, wanted: list[RemoteDigest]) -> dict[RemoteDigest, bytes]:
        """Return the contents of small blobs.

        Raises:
            As `open`.
        """
        found = self.open(wanted)
        try:
            return {one: os.pread(fd, one.size, 0) for one, fd in found.items()}
        finally:
            for fd in found.values():
                os.close(fd)

    def _opened(self, one: RemoteDigest, found: dict[RemoteDigest, int]) -> bool:
        with self._lock:
            if one not in self._sizes:
                return False
            self._sizes.move_to_end(one)
            found[one] = os.open(self._name(one), os.O_RDONLY | os.O_CLOEXEC)
        return True

    def _keep(self, one: RemoteDigest, pieces: Iterator[bytes], found: dict[RemoteDigest, int]) -> None:
        made = f"{self._path}/{secrets.token_hex(8)}.new"
        fd = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for piece in pieces:  # the last raises if they are not the blob's
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(fd, rest) :]
        except BaseException:
            os.close(fd)
            os.unlink(made)
            raise
        found[one] = fd
        with self._lock:
            if one in self._sizes:  # another thread was faster
                os.unlink(made)
                return
            os.rename(made, self._name(one))
            self._sizes[one] = None
            self._bytes += one.size
            while self._bytes > self._max_bytes and len(self._sizes) > 1:
                oldest, _ = self._sizes.popitem(last=False)
                self._bytes -= oldest.size
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._name(oldest))  # an open one stays readable

    def _name(self, one: RemoteDigest) -> str:
        return f"{self._path}/{one.hash}-{one.size}"
