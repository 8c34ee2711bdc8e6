"""The server: listens at an endpoint and answers whoever connects, in the dialect they speak.

Owns the listener's life: bind, look after the socket file, clean up.  Accepting is `acceptor`'s; who
is let in, and as what, `reception`'s; what a connection does, `connection`'s; what a command means,
`control`'s; who answers while the loop is stuck, `standby`'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import weakref
from typing import TYPE_CHECKING, Any, Self

from daemonry.errors import AlreadyBound, DaemonryError, NotBound
from daemonry.limits import SOCKET_CHECK_S
from daemonry.process.forks import not_for_children
from daemonry.process.place import Place
from daemonry.service import bounds
from daemonry.service.acceptor import Acceptor
from daemonry.service.bounds import Bounds
from daemonry.service.reception import Reception, most_connections
from daemonry.transport.connect import listen
from daemonry.transport.endpoint import Endpoint
from daemonry.transport.unix import UnixListener

if TYPE_CHECKING:
    from daemonry.service.calls import Calls
    from daemonry.service.control import ControlState
    from daemonry.transport.stream import Listener
    from daemonry.transport.unix import Leftovers

logger = logging.getLogger("daemonry.server")


class Server:
    """Answers the text dialect, and typed calls where it has interfaces, at one endpoint.

    `bind`, then `run` until cancelled, then `cleanup`; the last also happens when the object goes
    away.  Only what this object bound is ever removed.

    Args:
        endpoint: where to listen: an endpoint, its text, or a socket's path.
        leftovers: see `daemonry.transport.connect.listen`.
        first_byte_timeout_s: how long a client may take for its line, in seconds; None for what
            `limits` says.
        calls: the interfaces that it serves; without them it speaks the text dialect only.
        limits: what clients may do.
    """

    def __init__(
        self,
        endpoint: Endpoint | str | os.PathLike[str],
        *,
        leftovers: Leftovers = "refuse",
        first_byte_timeout_s: float | None = None,
        calls: Calls | None = None,
        limits: Bounds = bounds.DEFAULT,
    ) -> None:
        self._endpoint = endpoint if isinstance(endpoint, Endpoint) else Endpoint.parse(os.fspath(endpoint))
        self._leftovers: Leftovers = leftovers
        self._limits = limits
        self._first_byte_timeout_s = (
            limits.first_byte_s if first_byte_timeout_s is None else first_byte_timeout_s
        )
        self._listener: Listener | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None
        self._acceptor: Acceptor | None = None
        self._reception: Reception | None = None
        self._most_connections = limits.connections or most_connections()
        self._calls = calls
        not_for_children(self)

    @classmethod
    def at_default_path(cls, name: str) -> Self:
        """Return a server at the usual socket path of the daemon called `name`."""
        return cls(Endpoint.unix(Place.of(name).socket_path), leftovers="replace")

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens, or would."""
        return self._listener.endpoint if self._listener is not None else self._endpoint

    @property
    def path(self) -> str | None:
        """The socket file; None for an endpoint without one."""
        return self._endpoint.path

    @property
    def listener(self) -> Listener | None:
        """The listener while bound, for a `Standby`."""
        return self._listener

    @property
    def connections(self) -> int:
        """How many are open."""
        return 0 if self._reception is None else len(self._reception)

    def bind(self) -> None:
        """Listen; clients can connect from now on and are answered once `run` runs.

        Raises:
            AlreadyBound: it was called before.
            SocketBindError, UnsafePath, EndpointInvalid: as `listen`; nothing was left behind.
        """
        if self._listener is not None:
            raise AlreadyBound(str(self.endpoint))
        self._hold(self._listen())
        logger.info("listening at %s", self.endpoint)

    async def run(self, state: ControlState, cancel: asyncio.Event) -> None:
        """Serve until `cancel` is set, then close every connection; the listener stays bound.

        Raises:
            NotBound: `bind` was not called.
        """
        if self._listener is None:
            raise NotBound(str(self._endpoint))
        loop = asyncio.get_running_loop()
        reception = self._reception = Reception(
            loop, state, self._calls, self._limits, self._first_byte_timeout_s, self._most_connections
        )
        self._acceptor = Acceptor(loop, self._listener, reception.take_in)
        keeper = loop.create_task(self._look_after_file())
        try:
            await cancel.wait()
        finally:
            keeper.cancel()
            self._acceptor.close()
            self._acceptor = None
            self._reception = None
            reception.close()

    @property
    def calls_under_way(self) -> list[str]:
        """The full names of the program's calls that run; from any thread."""
        return [] if self._reception is None else self._reception.calls_under_way

    async def drain(self, timeout_s: float) -> list[str]:
        """Let calls come to their end and streams end with Draining; return the names of those left.

        Once `calls` takes no more; `run` goes on, and cuts off what is left when it is cancelled.
        """
        return [] if self._reception is None else await self._reception.drain(timeout_s)

    def cleanup(self) -> None:
        """Stop listening and remove the socket file if it is still ours.  Twice is not an error."""
        if self._finalizer is not None:
            self._finalizer()
        self._listener = self._finalizer = None

    def drop_in_child(self) -> None:
        """Close a forked child's copies of the connections; a listener sees to itself."""
        if self._reception is not None:
            self._reception.drop_in_child()

    def check_file(self) -> bool:
        """Listen anew if the socket file was removed or replaced; say whether that was done.

        Raises:
            SocketBindError, UnsafePath: it is gone, and no new one can be made now.
        """
        listener = self._listener
        if not isinstance(listener, UnixListener) or listener.file_is_ours():
            return False
        new = self._listen()
        if self._acceptor is not None:
            self._acceptor.replace(new)
        listener.abandon()
        self._hold(new)
        logger.warning("the socket file %s was gone; listening there again", self.path)
        return True

    def _listen(self) -> Listener:
        return listen(self._endpoint, leftovers=self._leftovers, warn=logger.warning)

    def _hold(self, listener: Listener) -> None:
        if self._finalizer is not None:
            self._finalizer.detach()
        self._listener = listener
        self._finalizer = weakref.finalize(self, type(listener).close, listener)

    async def _look_after_file(self) -> None:
        troubled = False
        while True:
            await asyncio.sleep(SOCKET_CHECK_S)
            try:
                self.check_file()
                troubled = False
            except DaemonryError as error:
                if not troubled:
                    logger.error("the socket file is gone and cannot be made again: %s", error)
                troubled = True
