"""What an IPC server, client and stream are, whatever the platform.

Owns the three interfaces and the stream, which is one byte stream on every platform.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, Self

from daemonry import Stream, errors

READ_BYTES = 1 << 16


class IpcStream:
    """One connection, read and written without blocking the loop.

    Args:
        stream: a connected stream; it is taken over.

    Attributes:
        peer: the peer, for people.
    """

    def __init__(self, stream: Stream) -> None:
        self.peer = stream.peer
        self._sock = stream.take_socket()
        self._sock.setblocking(False)
        self._early = b""

    async def read(self, max_bytes: int = READ_BYTES) -> bytes:
        """Return up to `max_bytes` bytes, at least one; `b""` at the end of what the peer sends.

        Raises:
            ConnectionLost: the peer went away.
        """
        if self._early:
            data, self._early = self._early[:max_bytes], self._early[max_bytes:]
            return data
        try:
            return await asyncio.get_running_loop().sock_recv(self._sock, max_bytes)  # type: ignore[arg-type]  # what it needs of a socket is there
        except OSError as error:
            raise errors.ConnectionLost(self.peer, "maybe") from error

    async def read_line(self, max_bytes: int = 16 << 20) -> bytes:
        """Return the next line with its line feed; what there is, at the end of what the peer sends.

        Raises:
            FrameTooLarge: the line is longer than `max_bytes`.
            ConnectionLost: the peer went away.
        """
        line = bytearray()
        while piece := await self.read():
            head, feed, rest = piece.partition(b"\n")
            line += head + feed
            if len(line) > max_bytes:
                raise errors.FrameTooLarge(max_bytes)
            if feed:
                self._early = rest + self._early
                break
        return bytes(line)

    async def write(self, data: bytes) -> None:
        """Send all of `data`.

        Raises:
            ConnectionLost: the peer went away.
        """
        try:
            await asyncio.get_running_loop().sock_sendall(self._sock, data)  # type: ignore[arg-type]
        except OSError as error:
            raise errors.ConnectionLost(self.peer, "maybe") from error

    def close(self) -> None:
        """End the connection.  Twice is not an error."""
        self._sock.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()


class IpcServer(Protocol):
    """What accepts connections at a path."""

    @property
    def path(self) -> str:
        """Where it listens."""

    async def accept(self) -> tuple[IpcStream, str]:
        """Return the next connection and a text that says who it is.

        Raises:
            IpcError: the server is closed.
        """

    def close(self) -> None:
        """Stop listening and remove the socket file, if it is still this server's.  Twice is not an error."""


class IpcClient(Protocol):
    """What connects to a server."""

    async def connect(self, path: str, timeout_s: float = 5.0) -> IpcStream:
        """Return a stream to whoever listens at `path`.

        Raises:
            StaleSocket: the file is there and nobody listens behind it.
            ConnectionRefused: nobody listens there.
            IpcError: everything else, such as no file at all; all of them tell the path.
        """
