"""An accepted connection as its own parts know it: its socket, its state, its replies, and its end.

Owns sending, and what may happen at each moment of its life; the table of that is `state`'s.  Which calls
come on it, and in which order they are answered, is `connection`'s.
"""

from __future__ import annotations

import asyncio
import logging
from _socket import AF_UNIX
from collections.abc import Callable
from concurrent.futures import Executor
from socket import socket as UserSocket
from typing import TYPE_CHECKING, Any

from daemonry import errors
from daemonry.service.interface.handler import Speak
from daemonry.service.server import bounds
from daemonry.service.server.bounds import Bounds
from daemonry.service.server.dispatch import Calls
from daemonry.service.server.failures import FAILED
from daemonry.service.server.text_connection import finish
from daemonry.service.server.varlink.outbox import Outbox
from daemonry.service.server.varlink.running_call import RunningCall
from daemonry.service.server.varlink.state import ConnectionHappened, ConnectionState, step
from daemonry.service.server.varlink.upgraded import Upgraded
from daemonry.transport import ancillary
from daemonry.transport.ancillary import Arrivals, Fd, close_all
from daemonry.transport.credentials import peer_of
from daemonry.wire import fast_varlink
from daemonry.wire.connection import ServerConnection
from daemonry.wire.varlink import AnyReply, Reply

if TYPE_CHECKING:
    from _socket import socket as Socket

    from daemonry.service.server.epoll import Readers
    from daemonry.transport.credentials import Peer

logger: logging.Logger = logging.getLogger("daemonry.server")


class Accepted:
    """The connection as its own parts know it: its socket, its state, its replies.

    Args:
        as `connection.VarlinkConnection`.
    """

    __slots__ = (
        *("_arrivals", "_at_once", "_call", "_closed", "_fed_bytes", "_limits", "_loop", "_made_machine"),
        *("_out", "_readers", "_served", "_sock", "_speak", "_state", "_threads", "_upgraded", "_watch"),
        *("_watched_bytes", "calm", "peer"),
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        readers: Readers | asyncio.AbstractEventLoop,
        sock: Socket,
        served: Calls,
        threads: Executor,
        closed: Callable[[Any], None],
        limits: Bounds = bounds.DEFAULT,
    ) -> None:
        self._loop = loop
        self._readers = readers
        self._sock = sock
        self.peer: Peer = peer_of(sock)
        self._served = served
        self._threads = threads
        self._closed = closed
        self._limits = limits
        self.calm: Callable[[Socket], None] | None = None
        self._at_once = 0  # calls in a row
        self._made_machine: ServerConnection | None = None
        self._arrivals = Arrivals() if served.takes_fds and sock.family == AF_UNIX else None
        self._fed_bytes = 0
        self._out = Outbox(loop, sock, limits.stall_s, self)
        self._call: RunningCall | None = None  # in hand
        self._watch: asyncio.TimerHandle | None = None
        self._watched_bytes = 0
        self._speak: Speak | None = None
        self._upgraded: Upgraded | None = None
        self._state = ConnectionState.READING  # whoever heard it first has a reader there, which is replaced
        readers.add_reader(sock.fileno(), self._readable)

    def __repr__(self) -> str:
        call = self._call
        runs = f", runs {call.bound.full_name}" if call is not None and call.bound is not None else ""
        state = f"{self._state.value}{runs}, {len(self._out)} bytes to send"
        return f"<{type(self).__name__} of {self.peer}: {state}>"

    def _readable(self) -> None:
        raise NotImplementedError

    def _advance(self, data: bytes = b"") -> None:
        raise NotImplementedError

    # --- its state --------------------------------------------------------------------------------

    def _happened(self, happened: ConnectionHappened) -> None:
        """Be in the state that follows; in one of them, and in no other, the socket is read."""
        before = self._state
        following = step(before, happened)
        if following is None:
            return
        self._state = following
        if before is ConnectionState.READING:
            self._readers.remove_reader(self._sock.fileno())
        elif following is ConnectionState.READING:
            self._readers.add_reader(self._sock.fileno(), self._readable)

    @property
    def is_closed(self) -> bool:
        """Whether nobody can be answered any more."""
        return self._sock.fileno() < 0

    @property
    def is_gone(self) -> bool:
        """Whether the client is gone."""
        return self._state is ConnectionState.GONE

    @property
    def owes(self) -> bool:
        """Whether a call that is the program's runs, or a reply waits to be sent."""
        call = self._call
        return bool(self._out) or (call is not None and call.lasts and not call.is_open)

    @property
    def controls(self) -> bool:
        """Whether a call that runs is the control plane's."""
        call = self._call
        return call is not None and call.lasts and call.is_open

    @property
    def call(self) -> str:
        """The full name of the method that runs; "" for none."""
        call = self._call
        return "" if call is None or call.bound is None else call.bound.full_name

    @property
    def activity(self) -> int | None:
        """A number that changes whenever the client sends something; None while it is being served."""
        waiting = self._call is not None or self._out or self._machine.buffered_bytes
        return None if waiting else self._fed_bytes

    @property
    def _machine(self) -> ServerConnection:
        # Most clients never send anything that needs one.
        if self._made_machine is None:
            self._made_machine = ServerConnection(fast_varlink, self._limits.frame_bytes)
        return self._made_machine

    # --- reading ----------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Be watched by the loop: a connection that says more than one thing is in use."""
        self._readers.remove_reader(self._sock.fileno())
        self._readers = self._loop
        if self._state is ConnectionState.READING:
            self._loop.add_reader(self._sock.fileno(), self._readable)

    def _read_with_fds(self) -> bytes:
        data, fds = ancillary.receive(self._sock)
        if fds:
            assert self._arrivals is not None
            self._arrivals.add(self._fed_bytes, self._fed_bytes + len(data), fds)
        return data

    # --- its end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """End the connection and whatever runs for it.  Twice is not an error."""
        self._close(ConnectionHappened.CLOSE_ASKED)

    def _close(self, happened: ConnectionHappened) -> None:
        if self._upgraded is not None:
            self._upgraded.end()
            return
        if self._sock.fileno() < 0:
            return
        # A client that took all so far is given the rest; one that does not read is not waited for.
        ends_well = self._state is ConnectionState.ENDING and happened in (
            ConnectionHappened.SENT,
            ConnectionHappened.CLOSE_ASKED,
        )
        self._happened(happened)
        self._out.close()
        if self._watch is not None:
            self._watch.cancel()
        if self._call is not None:
            self._call.abandon()
        if self._arrivals is not None:
            self._arrivals.close()
        if ends_well:
            finish(self._sock)
        self._sock.close()
        self._closed(self)

    def _finish(self) -> None:
        """Close as soon as all is sent; no further call will come."""
        if self._state is ConnectionState.GONE:
            self._close(ConnectionHappened.NO_MORE)
            return
        self._happened(ConnectionHappened.NO_MORE)
        if not self._out:
            self._close(ConnectionHappened.SENT)

    def lost(self) -> None:
        """The peer is gone: end the calls that run for it, except one-way ones."""
        following = step(self._state, ConnectionHappened.PEER_LOST)
        if following is None or self._sock.fileno() < 0:
            return
        if following is ConnectionState.CLOSED:
            self._close(ConnectionHappened.PEER_LOST)
            return
        self._happened(ConnectionHappened.PEER_LOST)
        self._out.clear()
        if self._arrivals is not None:
            self._arrivals.close()
        if self._call is None:
            self._advance()
        else:
            self._call.caller_gone()

    def stalled(self) -> None:
        """Close: the client took nothing for too long."""
        logger.warning("%s does not read its replies; disconnected", self.peer)
        self._close(ConnectionHappened.STALLED)

    def drop_in_child(self) -> None:
        """Close a forked child's copy, beside the loop, which parent and child share."""
        self._sock.close()

    # --- its replies ------------------------------------------------------------------------------

    def send(self, reply: AnyReply, fds: list[Fd]) -> AnyReply:
        """Put a reply where it will be sent, or an error in its place; return the one that was put."""
        try:
            if fds and self._sock.family != AF_UNIX:
                raise errors.LocalProtocolError("descriptors pass over Unix sockets only")
            data = self._machine.send_reply(reply)
        except errors.LocalProtocolError as error:
            close_all(fds)
            logger.error("a reply could not be sent: %s", error)
            reply = Reply({"message": f"the reply could not be sent: {error}"}, error=FAILED)
            data, fds = self._machine.send_reply(reply), []
        if self._state is ConnectionState.GONE:
            close_all(fds)
        else:
            self._out.add(data, fds)
        return reply

    def send_more(self, data: bytes) -> None:
        """Put replies of a stream, as they are sent, where they will be; drop those of nobody."""
        if not (self.is_gone or self.is_closed):
            self._out.add(data)

    def write(self) -> None:
        """Send what waits."""
        self._out.write()

    def upgrade(self, speak: Speak) -> None:
        """Be another protocol's once the reply is sent."""
        self._speak = speak
        self._happened(ConnectionHappened.UPGRADE)

    @property
    def is_full(self) -> bool:
        """Whether much waits to be sent."""
        return len(self._out) > self._limits.waiting_bytes

    async def until_drained(self) -> None:
        """Try to send, and wait until nothing waits any more."""
        self._out.write()
        if self._out:
            await self._out.until_sent()

    def went_on(self) -> None:
        """Begin the calls that waited for room."""
        if self._call is None:
            self._advance()

    def all_sent(self) -> None:
        """End, or be another protocol's, if that was to follow."""
        if self._state is ConnectionState.ENDING:
            self._close(ConnectionHappened.SENT)
        elif self._state is ConnectionState.HANDING_OVER:
            self._hand_over()

    def _hand_over(self) -> None:
        self._happened(ConnectionHappened.SENT)
        if self._watch is not None:
            self._watch.cancel()
        self._out.close()
        if self._arrivals is not None:
            self._arrivals.close()
        speak, early = self._speak, self._machine.trailing_data()
        assert speak is not None
        sock = UserSocket(fileno=self._sock.detach())
        self._upgraded = Upgraded(self._loop, self._threads, sock, speak, early, self._spoken)

    def _spoken(self) -> None:
        self._upgraded = None
        self._happened(ConnectionHappened.SPOKEN)
        self._closed(self)
