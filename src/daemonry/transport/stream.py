"""Streams and listeners: the same for each kind of socket.

Owns the contract.

A `Stream` is one ordered connection.  `read` returns at least one byte, or `b""` once the peer
has sent all that it will; `write` returns when all was taken; both end at their timeout with
`DeadlineExceeded`, and with `ConnectionLost` when the peer is gone.  After either error the
stream is good for nothing but `close`.

A `Listener` accepts streams, each with a text that tells people who came.  Closing removes what
binding made, and only that.

Both are closed by `close`, which may be called twice, or by leaving their `with` block.
"""

from __future__ import annotations

import errno

import daemonry
from daemonry.clock import Deadline
from daemonry.limits import READ_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from typing import Protocol, Self

    from daemonry.transport.endpoint import Endpoint

    class Listener(Protocol):
        """What accepts streams."""

        @property
        def endpoint(self) -> Endpoint:
            """Where it really listens: a port 0 has become a number."""

        @property
        def closed(self) -> bool:
            """Whether `close` was called."""

        def fileno(self) -> int:
            """Return the descriptor to wait on; -1 once closed."""

        def accept(self, timeout_s: float | None = None) -> tuple[Stream, str]:
            """Return the next stream and a text that says who it is.

            Raises:
                DeadlineExceeded: nobody came in time.
                OSError: the system could not accept, such as EMFILE.
            """

        def accept_socket(self) -> Socket | None:
            """Return the next connection as a socket that does not block, or None for none."""

        def close(self) -> None:
            """Stop listening, and remove what binding made."""

else:

    class Listener:
        """What accepts streams; see the module.  Importing `typing` for a Protocol would cost too much."""

        __slots__ = ()


class Stream:
    """One connection.  See the module for its contract.

    Attributes:
        peer: who is at the other end, for people and errors.
    """

    __slots__ = ("_sock", "peer")

    def __init__(self, sock: Socket, peer: str) -> None:
        self._sock = sock
        self.peer = peer

    def fileno(self) -> int:
        """Return the descriptor; -1 once closed."""
        return self._sock.fileno()

    def read(self, max_bytes: int = READ_BYTES, timeout_s: float | None = None) -> bytes:
        """Return up to `max_bytes` bytes, at least one; `b""` at the end of what the peer sends."""
        try:
            self._sock.settimeout(timeout_s)
            return self._sock.recv(max_bytes)
        except (TimeoutError, BlockingIOError):  # no time left makes the socket non-blocking
            raise daemonry.errors.DeadlineExceeded("read", timeout_s or 0.0, "maybe", self.peer) from None
        except OSError as error:
            raise self._lost(error) from error

    def write(self, data: bytes, timeout_s: float | None = None) -> None:
        """Send all of `data`."""
        deadline = Deadline(timeout_s)
        view = memoryview(data)
        try:
            while view:
                self._sock.settimeout(deadline.remaining_s())
                view = view[self._sock.send(view) :]
        except (TimeoutError, BlockingIOError):
            raise daemonry.errors.DeadlineExceeded("write", timeout_s or 0.0, "maybe", self.peer) from None
        except OSError as error:
            raise self._lost(error) from error

    def finish_writing(self) -> None:
        """Tell the peer that no more will be sent; reading goes on."""
        try:
            self._sock.shutdown(1)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise self._lost(error) from error

    def take_socket(self) -> Socket:
        """Return a socket of the same connection, and close the stream."""
        from _socket import socket

        return socket(fileno=self._sock.detach())

    def close(self) -> None:
        """End the connection.  Twice is not an error."""
        self._sock.close()

    def _lost(self, error: OSError) -> daemonry.errors.ConnectionLost:
        # EPIPE and ECONNRESET: the peer died or closed.  What it did with our bytes is unknown.
        lost = daemonry.errors.ConnectionLost(self.peer, "maybe")
        lost.__cause__ = error
        return lost

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
