"""A server's listener: bound, taken over from another process, made again, and removed at the end.

Owns the listener and its socket file.  Only a file that was bound here is ever removed.  Accepting is
`acceptor`'s; when to look at the file is `socket_file`'s.
"""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING, Any

from daemonry.errors import AlreadyBound, SocketBindError
from daemonry.transport.connect import listen
from daemonry.transport.endpoint import OPEN, TCP, Endpoint
from daemonry.transport.unix import UnixListener

if TYPE_CHECKING:
    import os

    from daemonry.transport.stream import Listener
    from daemonry.transport.unix import Leftovers

logger: logging.Logger = logging.getLogger("daemonry.server")


class BoundListener:
    """The listener of one server.  It is closed, and its file removed, when this object goes away.

    Args:
        endpoint: where to listen.
        leftovers: see `daemonry.transport.connect.listen`.
        token_path: where `bind` makes the token of a TCP endpoint that names no file.

    Attributes:
        accepts: whether this process accepts from the listener; False while another one does.
        listener: the listener; None before `bind` and after `close`.
    """

    def __init__(self, endpoint: Endpoint, leftovers: Leftovers, token_path: str | None) -> None:
        self.accepts: bool = True
        self.listener: Listener | None = None
        self._endpoint = endpoint
        self._leftovers: Leftovers = leftovers
        self._token_path = token_path
        self._finalizer: weakref.finalize[..., Any] | None = None

    @classmethod
    def of(
        cls,
        where: BoundListener | Endpoint | str | os.PathLike[str],
        leftovers: Leftovers,
        token_path: str | None,
    ) -> BoundListener:
        """Return the listener of an endpoint, its text, or a socket's path; a listener itself.

        Raises:
            EndpointInvalid: the text names none.
        """
        if isinstance(where, BoundListener):
            return where
        return cls(where if isinstance(where, Endpoint) else Endpoint.parse(where), leftovers, token_path)

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens, or would."""
        return self.listener.endpoint if self.listener is not None else self._endpoint

    @property
    def path(self) -> str | None:
        """The socket file; None for an endpoint without one."""
        return self._endpoint.path

    @property
    def accepted_from(self) -> Listener | None:
        """The listener if this process accepts from it."""
        return self.listener if self.accepts else None

    @property
    def file_is_lost(self) -> bool:
        """Whether its socket file was removed or replaced."""
        listener = self.accepted_from
        return isinstance(listener, UnixListener) and not listener.file_is_ours()

    def bind(self) -> None:
        """Listen.

        Raises:
            AlreadyBound: it listens.
            SocketBindError, UnsafePath, EndpointInvalid: as `listen`, or a TCP endpoint has no token;
                nothing was left behind.
        """
        if self.listener is not None:
            raise AlreadyBound(str(self.endpoint))
        self._hold(self._listen())
        logger.info("listening at %s", self.endpoint)

    def adopt(self, listener: Listener) -> None:
        """Take a listener that another process still accepts from.

        Raises:
            AlreadyBound: it listens already.
        """
        if self.listener is not None:
            raise AlreadyBound(str(self.endpoint))
        self.listener = listener
        self.accepts = False

    def own(self) -> None:
        """Make a shared listener this process's own: its file is removed here at the end."""
        assert self.listener is not None
        self.accepts = True
        if isinstance(self.listener, UnixListener):
            self.listener.listen_here()
        self._hold(self.listener)

    def make_again(self) -> tuple[Listener, Listener]:
        """Listen at the same place with a new listener; return the old one, to be abandoned, and the new.

        Raises:
            SocketBindError, UnsafePath: it cannot be done now; the old one stays.
        """
        assert self.listener is not None
        old, new = self.listener, self._listen()
        self._hold(new)
        return old, new

    def abandon(self) -> None:
        """Close the listener and leave its path alone: both are another process's."""
        if self._finalizer is not None:
            self._finalizer.detach()
        if self.listener is not None:
            self.listener.abandon()
        self.listener = self._finalizer = None

    def close(self) -> None:
        """Stop listening and remove the socket file if it is still ours.  Twice is not an error."""
        if self._finalizer is not None:
            self._finalizer()
        self.listener = self._finalizer = None

    def _hold(self, listener: Listener) -> None:
        if self._finalizer is not None:
            self._finalizer.detach()
        self.listener = listener
        self._finalizer = weakref.finalize(self, type(listener).close, listener)

    def _listen(self) -> Listener:
        listener = listen(self._endpoint, leftovers=self._leftovers, warn=logger.warning)
        try:
            self._ask_for_proof(listener)
        except BaseException:
            listener.close()
            raise
        return listener

    def _ask_for_proof(self, listener: Listener) -> None:
        """Require the clients of a TCP listener to prove that they know its token, unless it says `;open`."""
        endpoint = listener.endpoint
        if endpoint.kind != TCP:
            return
        from daemonry.process import token_file
        from daemonry.transport.tcp import TcpListener

        assert isinstance(listener, TcpListener)
        if endpoint.proof == OPEN:
            logger.warning("%s is open: whoever reaches it may do what its owner may", endpoint.bare)
        elif endpoint.token_path is not None:
            listener.ask_for(endpoint.token_path, token_file.read(endpoint.token_path))
        elif self._token_path is not None:
            token = token_file.make(self._token_path, logger.warning)
            listener.ask_for(self._token_path, token, ours=True)
        else:
            reason = (
                "it has no token, and every user of this machine could command it: say ;token=/path, or ;open"
            )
            raise SocketBindError(endpoint.bare, reason)
