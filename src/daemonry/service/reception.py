"""Who is let in, and as what: each new connection is counted, looked at, and given to who answers it.

Owns the limits on connections, and which are open.  First bytes are waited for in `lobby`; the dialects
are `connection`'s and `varlink_connection`'s.
"""

from __future__ import annotations

import asyncio
import resource
from _socket import socket as Socket
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from daemonry.errors import Draining, Overloaded
from daemonry.limits import CONNECTION_SHARE, MAX_CONNECTIONS, MAX_HANDLER_THREADS, READ_BYTES
from daemonry.service.connection import TextConnection
from daemonry.service.control import ControlState, answer
from daemonry.service.lobby import Guest, Lobby
from daemonry.service.readers import Readers, readers
from daemonry.service.retire import retire
from daemonry.transport.credentials import Peer, peer_of
from daemonry.wire import dialect, text
from daemonry.wire.text import Command, Reply

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from daemonry.clock import Deadline
    from daemonry.service.bounds import Bounds
    from daemonry.service.calls import Calls
    from daemonry.service.varlink_connection import VarlinkConnection

# Connections that only the text dialect may use, so that a daemon full of calls can be asked and stopped.
CONTROL_RESERVE: Final = 16


class Reception:
    """The open connections of a server that runs.

    Args:
        loop: the loop.
        state: what answers commands.
        calls: the interfaces that are served; without them all is taken for text.
        limits: what clients may do.
        first_byte_s: how long a client may take for its line, or its first byte.
        most: how many connections may be open.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        state: ControlState,
        calls: Calls | None,
        limits: Bounds,
        first_byte_s: float,
        most: int,
    ) -> None:
        self._loop = loop
        self._state = state
        self._calls = calls
        self._limits = limits
        self._readers = readers(loop)
        self._lobby = Lobby(loop, self._readers, first_byte_s, self._hear, self._dismiss)
        self._connections: set[TextConnection | VarlinkConnection] = set()
        self._most = most
        # A call may hold its connection for long; STATUS and STOP must find room beside all of them.
        self._most_of_calls = most - min(CONTROL_RESERVE, most // 4)
        self._threads: Executor | None = None
        if calls is not None:
            from daemonry.service.varlink_connection import VarlinkConnection

            self._threads = ThreadPoolExecutor(MAX_HANDLER_THREADS, thread_name_prefix="daemonry-handler")
            self._make_caller = VarlinkConnection

    def __len__(self) -> int:
        return len(self._connections) + len(self._lobby)

    def take_in(self, sock: Socket) -> None:
        """Let a new connection, which does not block, wait for its first bytes, or refuse it."""
        peer = peer_of(sock)
        if not peer.may_command:
            refused = text.PERMISSION_DENIED
        elif len(self) >= self._most:
            refused = "Too many connections"
        elif self._limits.connections_per_uid is not None and self._is_one_too_many(peer):
            refused = "Too many connections of this user"
        else:
            self._lobby.enter(sock, peer)
            return
        self._text(Guest(sock, peer, 0.0)).refuse(refused)

    @property
    def calls_under_way(self) -> list[str]:
        """The full names of the program's calls that run, or whose replies are not sent; from any thread."""
        return [one.call or "a reply" for one in self._callers() if one.owes]

    async def drain(self, timeout_s: float) -> list[str]:
        """Let calls come to their end and streams end with an error; return what did not in time.

        Whoever asks sees to it that no further calls are taken.
        """
        from daemonry.service.calls import DRAINING

        reason = Draining(DRAINING)
        owing = {self._loop.create_task(one.drain(reason)): one for one in self._callers() if one.owes}
        if not owing:
            return []
        _, late = await asyncio.wait(owing, timeout=timeout_s)
        for task in late:
            task.cancel()
        return [owing[task].call or "a reply" for task in late]

    def _callers(self) -> list[VarlinkConnection]:
        return [one for one in list(self._connections) if not isinstance(one, TextConnection)]

    @property
    def newcomers(self) -> int:
        """How many have not shown yet what they want, or ask something of the control plane."""
        return len(self._lobby) + sum(1 for one in self._connections if isinstance(one, TextConnection))

    async def retire(self, deadline: Deadline) -> None:
        """Have every connection end without losing a call."""
        await retire(lambda: [*self._connections, *self._lobby], deadline)

    def retire_idle(self) -> None:
        """Have every connection on which nothing is in hand take no further call."""
        for one in self._callers():
            if one.activity is not None:
                one.retire()

    def close(self) -> None:
        """End every connection."""
        self._lobby.close()
        for connection in list(self._connections):
            connection.close()
        if isinstance(self._readers, Readers):
            self._readers.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def drop_in_child(self) -> None:
        """Close a forked child's copies, beside the loop, which parent and child share."""
        self._lobby.drop_in_child()
        for connection in self._connections:
            connection.drop_in_child()
        if isinstance(self._readers, Readers):
            self._readers.drop_in_child()

    def _is_one_too_many(self, peer: Peer) -> bool:
        limit = self._limits.connections_per_uid
        open_ones = (one.peer.uid for group in (self._lobby, self._connections) for one in group)
        return limit is not None and sum(1 for uid in open_ones if uid == peer.uid) >= limit

    def _hear(self, guest: Guest) -> None:
        """Give a guest who speaks to whoever knows the dialect."""
        if self._calls is None or self._calls.takes_fds:  # there may be descriptors beside the bytes
            self._text(guest).read()
            return
        try:
            data = guest.sock.recv(READ_BYTES)
        except OSError:
            self._text(guest).read()
            return
        if dialect.detect(data) == dialect.VARLINK:
            self._call(guest, data)
        else:
            self._text(guest).receive(data)

    def _dismiss(self, guest: Guest) -> None:
        self._text(guest).refuse(text.TIMEOUT)

    def _text(self, guest: Guest) -> TextConnection:
        connection = TextConnection(
            self._loop,
            self._readers,
            guest,
            self._answer,
            self._connections.discard,
            self._call if self._calls is not None else None,
            peeks=self._calls is not None and self._calls.takes_fds,
        )
        self._connections.add(connection)
        return connection

    def _answer(self, command: Command) -> Reply | Awaitable[Reply]:
        return answer(command, self._state)

    def _call(self, guest: Guest, data: bytes) -> None:
        assert self._calls is not None
        assert self._threads is not None
        connection = self._make_caller(
            self._loop,
            self._readers,
            guest,
            self._calls,
            self._threads,
            self._connections.discard,
            self._limits,
        )
        self._connections.add(connection)
        if len(self) > self._most_of_calls:
            from daemonry.service.calls import OVERLOADED

            connection.refuse(Overloaded(OVERLOADED, {"limit": self._most_of_calls}))
        else:
            connection.begin(data)


def most_connections() -> int:
    """Return how many connections there may be where nobody said: a share of the descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, int(soft * CONNECTION_SHARE))
