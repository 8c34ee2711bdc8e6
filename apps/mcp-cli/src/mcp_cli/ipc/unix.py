"""Unix sockets, on Linux and macOS.

Owns the two that daemonry's listener and streams are wrapped in.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Self

from daemonry import Endpoint, connect, errors, listen
from mcp_cli.ipc.streams import IpcStream


class UnixIpcServer:
    """Listens at a Unix socket.

    Args:
        path: the socket file.

    Raises:
        SocketBindError: another process listens there, or the system refused.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._turn = asyncio.Lock()  # of those that wait for a connection: a loop tells one of them
        self._ready: asyncio.Future[None] | None = None
        try:
            self._listener = listen(Endpoint.unix(self._path), warn=_warn)
        except errors.UnsafePath as error:
            raise errors.SocketBindError(self._path, str(error)) from error

    @property
    def path(self) -> str:
        """Where it listens."""
        return self._path

    async def accept(self) -> tuple[IpcStream, str]:
        """Return the next connection and a text that says who it is.

        Raises:
            IpcError: the server is closed.
        """
        async with self._turn:
            while not self._listener.closed:
                try:
                    stream, peer = self._listener.accept(timeout_s=0)
                except errors.DeadlineExceeded:
                    await self._readable()
                else:
                    return IpcStream(stream), peer
        raise errors.IpcError(f"the server at {self._path} is closed")

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        fd = self._listener.fileno()
        loop.add_reader(fd, self._tell)
        try:
            await self._ready
        finally:
            if not self._listener.closed:  # else `close` has done so
                loop.remove_reader(fd)
            self._ready = None

    def _tell(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def close(self) -> None:
        """Stop listening and remove the socket file, if it is still this server's.  Twice is not an error.

        A waiting `accept` ends.
        """
        if self._ready is not None and not self._listener.closed:
            self._ready.get_loop().remove_reader(self._listener.fileno())
            self._tell()
        self._listener.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()


class UnixIpcClient:
    """Connects to Unix sockets."""

    async def connect(self, path: str, timeout_s: float = 5.0) -> IpcStream:
        """Return a stream to whoever listens at `path`; see `IpcClient`."""
        endpoint = _endpoint(path)
        # Connecting to a local socket does not wait, unless its backlog is full.
        stream = await asyncio.to_thread(connect, endpoint, timeout_s)
        return IpcStream(stream)


def _endpoint(path: str) -> Endpoint:
    return Endpoint.unix(os.path.abspath(path))


def _warn(message: str) -> None:
    sys.stderr.write(f"Warning: {message}\n")
