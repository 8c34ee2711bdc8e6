"""A listening socket, of whichever kind: where it listens, and how the next connection is taken.

Owns what Unix and TCP listeners share; how each is bound and closed is its own.
"""

from __future__ import annotations

from _socket import SOCK_STREAM
from _socket import socket as Socket

from daemonry import faults
from daemonry.process.forks import not_for_children
from daemonry.transport.stream import Listener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from daemonry.transport.endpoint import Endpoint


class SocketListener(Listener):
    """A socket that listens.

    Args:
        sock: the socket; closed by this object.
        endpoint: where it listens.
    """

    __slots__ = ("__weakref__", "_endpoint", "_sock")

    def __init__(self, sock: Socket, endpoint: Endpoint) -> None:
        self._sock = sock
        self._endpoint = endpoint
        not_for_children(self)

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens, with the port that it was given."""
        return self._endpoint

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._sock.fileno() < 0

    @property
    def address(self) -> Any:
        """Its name for the system, as the other end of a connection has it; None once closed."""
        return None if self.closed else self._sock.getsockname()

    def fileno(self) -> int:
        """Return the descriptor to wait on; -1 once closed."""
        return self._sock.fileno()

    def accept_socket(self) -> Socket | None:
        """Return the next connection as a socket, or None for none.

        It blocks: a reader by MSG_DONTWAIT saves the system call that would change that.
        """
        try:
            return self._accepted()[0]
        except (BlockingIOError, ConnectionAbortedError):
            return None

    def close(self) -> None:
        """Stop listening, and remove what binding made."""
        self._sock.close()

    def abandon(self) -> None:
        """Stop listening, and leave what binding made."""
        self._sock.close()

    def drop_in_child(self) -> None:
        """Close a forked child's copy."""
        self.abandon()

    def _accept_within(self, timeout_s: float | None) -> tuple[Socket, Any]:
        """Return the next connection and its address.

        Raises:
            DeadlineExceeded: nobody came in time.
        """
        self._sock.settimeout(timeout_s)
        try:
            return self._accepted()
        except (TimeoutError, BlockingIOError):  # no time at all makes the socket non-blocking
            where = str(self._endpoint)
            raise faults.DeadlineExceeded("accept", timeout_s or 0.0, "no", where) from None
        finally:
            self._sock.setblocking(False)

    def _accepted(self) -> tuple[Socket, Any]:
        # `_accept` is what `socket.socket.accept` itself is made of; it gives a descriptor.
        fd, address = self._sock._accept()  # type: ignore[attr-defined]  # noqa: SLF001
        # Of the listener's kind: a socket made of its descriptor alone asks the system for each of these.
        return Socket(self._sock.family, SOCK_STREAM, 0, fd), address

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
