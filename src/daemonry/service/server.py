"""The server: listens at an endpoint and answers whoever connects, in the dialect they speak.

Owns the listener's life (bind, look after the socket file, clean up) and the limits on
connections.  Accepting is `acceptor`'s; what a connection does is `connection`'s; what a command
means is `control`'s; who answers while the loop is stuck is `standby`'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import weakref
from _socket import socket as Socket
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from daemonry.errors import AlreadyBound, DaemonryError, NotBound, Overloaded
from daemonry.limits import (
    CONNECTION_SHARE,
    MAX_CONNECTIONS,
    MAX_HANDLER_THREADS,
    SOCKET_CHECK_S,
)
from daemonry.process.forks import not_for_children
from daemonry.process.place import Place
from daemonry.service import bounds
from daemonry.service.acceptor import Acceptor
from daemonry.service.bounds import Bounds
from daemonry.service.connection import TextConnection
from daemonry.service.control import ControlState, answer
from daemonry.transport.connect import listen
from daemonry.transport.credentials import may_command, peer_of
from daemonry.transport.endpoint import Endpoint
from daemonry.transport.unix import UnixListener
from daemonry.wire import text

if TYPE_CHECKING:
    from daemonry.service.calls import Calls
    from daemonry.service.varlink_connection import VarlinkConnection
    from daemonry.transport.stream import Listener
    from daemonry.transport.unix import Leftovers

logger = logging.getLogger("daemonry.server")

# Connections that only the text dialect may use, so that a daemon full of calls can be asked and stopped.
CONTROL_RESERVE: Final = 16


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
        self._connections: set[TextConnection | VarlinkConnection] = set()
        self._calls = calls
        self._threads: Executor | None = None
        self._most_connections = limits.connections or _most_connections()
        self._uids: dict[TextConnection | VarlinkConnection, int | None] = {}
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

        def accepted(sock: Socket) -> None:
            self._take_in(loop, sock, state)

        self._acceptor = Acceptor(loop, self._listener, accepted)
        keeper = loop.create_task(self._look_after_file())
        try:
            await cancel.wait()
        finally:
            keeper.cancel()
            self._acceptor.close()
            self._acceptor = None
            for connection in list(self._connections):
                connection.close()
            if self._threads is not None:
                self._threads.shutdown(wait=False, cancel_futures=True)
                self._threads = None

    def cleanup(self) -> None:
        """Stop listening and remove the socket file if it is still ours.  Twice is not an error."""
        if self._finalizer is not None:
            self._finalizer()
        self._listener = self._finalizer = None

    def drop_in_child(self) -> None:
        """Close a forked child's copies of the connections; a listener sees to itself."""
        for connection in self._connections:
            connection.drop_in_child()

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

    def _take_in(self, loop: asyncio.AbstractEventLoop, sock: Socket, state: ControlState) -> None:
        connection = TextConnection(
            loop,
            sock,
            lambda command: answer(command, state),
            self._leave,
            self._first_byte_timeout_s,
            partial(self._speak_varlink, loop) if self._calls is not None else None,
            peeks=self._calls is not None and self._calls.takes_fds,
        )
        self._connections.add(connection)
        if not may_command(sock):
            connection.refuse(text.PERMISSION_DENIED)
        elif len(self._connections) > self._most_connections:
            connection.refuse("Too many connections")
        elif self._limits.connections_per_uid is not None and self._are_too_many(connection, sock):
            connection.refuse("Too many connections of this user")
        else:
            connection.start()

    def _speak_varlink(self, loop: asyncio.AbstractEventLoop, sock: Socket, data: bytes) -> None:
        from daemonry.service.calls import OVERLOADED
        from daemonry.service.varlink_connection import VarlinkConnection

        assert self._calls is not None
        if self._threads is None:
            self._threads = ThreadPoolExecutor(MAX_HANDLER_THREADS, thread_name_prefix="daemonry-handler")
        connection = VarlinkConnection(
            loop, sock, peer_of(sock), self._calls, self._threads, self._leave, self._limits
        )
        self._connections.add(connection)
        if self._limits.connections_per_uid is not None:
            self._are_too_many(connection, sock)
        # A call may hold its connection for long; STATUS and STOP must find room beside all of them.
        most = self._most_connections - min(CONTROL_RESERVE, self._most_connections // 4)
        if len(self._connections) > most:
            connection.refuse(Overloaded(OVERLOADED, {"limit": most}))
        elif data:
            connection.receive(data)
        else:
            connection.read()

    def _are_too_many(self, connection: TextConnection | VarlinkConnection, sock: Socket) -> bool:
        uid = peer_of(sock).uid
        self._uids[connection] = uid
        limit = self._limits.connections_per_uid
        return limit is not None and sum(1 for other in self._uids.values() if other == uid) > limit

    def _leave(self, connection: TextConnection | VarlinkConnection) -> None:
        self._connections.discard(connection)
        self._uids.pop(connection, None)


def _most_connections() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, int(soft * CONNECTION_SHARE))
