"""One accepted connection that speaks Varlink, on an asyncio loop.

Owns its socket, the order of its calls, and the clocks on its client.  What it owes its client is the
table in `connection_state`; whose turn it is to speak is `wire.connection`'s; what waits to be sent is an
`outbox`'s, a call in hand is a `running_call`, and the numbers are `bounds`'s.

A peer that is **gone** has its running call cancelled; one-way calls, whose sender need not stay,
run to their end.  A peer that has only **finished sending** (a half-closed connection) is answered
to the end.  A peer that **does not read** is waited for: a stream is not asked for more and no
further call is begun while much waits, and after `stall_s` without a byte taken the connection is
closed.  A peer that **does not finish its frame** is closed after `frame_s`.
"""

from __future__ import annotations

import asyncio
import logging
from _socket import AF_UNIX, SHUT_RD
from collections.abc import Callable
from concurrent.futures import Executor
from socket import socket as UserSocket
from typing import TYPE_CHECKING, Any, Final

from daemonry import errors
from daemonry.limits import LONG_READ_BYTES, READ_BYTES
from daemonry.service.interface.handler import Speak
from daemonry.service.server import bounds, dispatch
from daemonry.service.server.bounds import Bounds
from daemonry.service.server.connection_state import (
    TAKES_BYTES,
    TAKES_CALLS,
    ConnectionHappened,
    ConnectionState,
    step,
)
from daemonry.service.server.dispatch import Calls, Ran
from daemonry.service.server.failures import FAILED
from daemonry.service.server.graceful_close import has_hung_up
from daemonry.service.server.lateness import is_late
from daemonry.service.server.outbox import Outbox
from daemonry.service.server.running_call import RunningCall
from daemonry.service.server.text_connection import finish
from daemonry.service.server.upgraded import Upgraded
from daemonry.transport import ancillary
from daemonry.transport.ancillary import Arrivals, Fd, close_all
from daemonry.transport.credentials import peer_of
from daemonry.wire import fast_varlink
from daemonry.wire.connection import Ended, ServerConnection
from daemonry.wire.varlink import AnyCall, AnyReply, Reply

if TYPE_CHECKING:
    from _socket import socket as Socket

    from daemonry.service.server.epoll import Readers
    from daemonry.transport.credentials import Peer

logger: logging.Logger = logging.getLogger("daemonry.server")

# How often a half-closed peer, whose end cannot be read any more, is looked at while its call runs.
GONE_CHECK_S: Final = 1.0
# How long a daemon that ends waits for a client to take the rest of its replies.
LAST_REPLY_S: Final = 1.0


class _Accepted:
    """The connection as its own parts know it: its socket, its state, its replies.

    Args:
        as `VarlinkConnection`.
    """

    __slots__ = (
        *("_arrivals", "_call", "_closed", "_fed_bytes", "_limits", "_loop", "_made_machine", "_out"),
        *("_readers", "_served", "_sock", "_speak", "_state", "_threads", "_upgraded", "_watch"),
        *("_watched_bytes", "peer"),
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


class VarlinkConnection(_Accepted):
    """A client that calls.

    Args:
        loop: the loop that serves it.
        readers: what watches its socket until it is in use; whether it did already does not matter.
        sock: the connection, which does not block; closed by this object.
        served: the interfaces that it may call.
        threads: where blocking handlers run.
        closed: called once, when the socket is closed.
        limits: the bounds on it.

    Attributes:
        peer: the user and process at its other end.
    """

    __slots__ = ()

    def begin(self, data: bytes) -> None:
        """Take the first bytes; b"" where they are still to be read."""
        if data:
            self.receive(data)
        else:
            self._readable()

    def receive(self, data: bytes) -> None:
        """Take bytes that were read already; `b""` is the end of what the peer sends."""
        if self._call is None and not (self._out or self._arrivals) and self._answer_at_once(data):
            return
        if data:
            self._fed_bytes += len(data)
        else:
            if self._call is None and not self._out and self._is_idle_for(0):
                self.close()  # nothing is owed to anybody
                return
            self._machine.receive_eof()
            self._happened(ConnectionHappened.PEER_FINISHED)
            if has_hung_up(self._sock):
                self.lost()
                return
        self._advance(data)

    def go_on(self, data: bytes, ran: Ran | bytes) -> None:
        """Take a call that ran already, beside this object, and its result.

        Args:
            data: the call as it came, whole and alone.
            ran: its result, or the part of its reply that is still to be sent.
        """
        self._fed_bytes += len(data)
        if isinstance(ran, bytes):
            self._out.add(ran)
            self._out.write()
            self._pace()
            return
        self._machine.receive_data(data)
        self._take_up(ran)
        self._advance()

    def _take_up(self, ran: Ran) -> None:
        """Have the next call in hand, which ran already, and go on with its result."""
        self._machine.next_event()
        self._take_in_hand(oneway=False)
        assert self._call is not None
        self._call.take(ran.bound, ran.result, ran.error)
        self._put_down()

    def refuse(self, error: errors.CallFailed) -> None:
        """Say why nothing is read, and close."""
        self._out.add(fast_varlink.encode_reply(dispatch.refusal(error)) + b"\0")
        self._finish()
        self._out.write()

    def retire(self) -> None:
        """Take no further call, answer those that have come, and end.

        What the client sends from now on fails on its side, so that it knows that nothing ran.
        """
        if self._state not in TAKES_BYTES or self._sock.fileno() < 0:
            return
        if self._sock.family != AF_UNIX:  # TCP does not tell its peer
            if self.activity is not None:
                self._finish()
            return
        try:
            self._sock.shutdown(SHUT_RD)
        except OSError:
            return  # the client was quicker
        self._readable()

    async def drain(self, reason: errors.CallFailed, *, of_control: bool = False) -> None:
        """Let the call in hand come to its end, and its reply be sent; a stream ends with `reason`.

        One of the control plane goes on, unless `of_control` says that it is to end as well.
        """
        call = self._call
        if call is not None and (of_control or not call.is_open):
            await call.drain(reason)
        try:
            async with asyncio.timeout(LAST_REPLY_S):
                while self._out and self._sock.fileno() >= 0:
                    await self._out.until_sent()
        except TimeoutError:
            pass  # a client that does not read does not keep the daemon

    # --- reading ----------------------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            is_long = self._made_machine is not None and self._made_machine.buffered_bytes >= READ_BYTES
            most_bytes = LONG_READ_BYTES if is_long else READ_BYTES
            data = self._sock.recv(most_bytes) if self._arrivals is None else self._read_with_fds()
        except BlockingIOError:
            return
        except OSError:
            self.lost()
            return
        if self._readers is not self._loop and data:
            self._settle()
        self.receive(data)

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

    # --- calls ------------------------------------------------------------------------------------

    def _is_idle_for(self, count_bytes: int) -> bool:
        if self._made_machine is None:
            return count_bytes <= self._limits.frame_bytes
        return self._made_machine.is_idle_for(count_bytes)

    def _answer_at_once(self, data: bytes) -> bool:
        """Answer a call that came whole and alone, and is done as its function returns; False for others.

        It takes a third of the time of the whole way, and checks the same.  Nothing waits before or
        after it, so that the state, the clocks and the descriptors stay as they were.
        """
        ran = self._served.answer_at_once(data) if self._is_idle_for(len(data)) else None
        if ran is None:
            return False
        if isinstance(ran, bytes):
            self._fed_bytes += len(data)
            if not self._out.send_at_once(ran):
                self._pace()
        else:
            self.go_on(data, ran)
        return True

    def _advance(self, data: bytes = b"") -> None:
        """Take bytes and begin the calls that wait, until one takes its time or too much waits to be sent."""
        if data and not self._may_begin():
            self._machine.receive_data(data)
        while self._begin_waiting(data):
            data = b""
        self._pace()

    def _begin_waiting(self, data: bytes) -> bool:
        """Do so once; return whether there is room again: one send may take all that waits."""
        machine = self._machine
        while self._may_begin():
            if self._arrivals is None and self._state is not ConnectionState.GONE:
                self._answer_each(data)
                data = b""
                if not self._may_begin():
                    break
            start = 0
            if self._arrivals is not None:
                start = self._fed_bytes - len(data) - machine.buffered_bytes
            try:
                event = machine.next_event(data)
                data = b""
            except errors.RemoteProtocolError as error:
                self._last_word(error)
                break
            if event is None or isinstance(event, Ended):
                if event is not None or self._state is ConnectionState.GONE:
                    self._finish()
                break
            self._begin(event, start)
        stopped = not self._may_begin()
        if self._out and not self._out.waits:
            self._out.write()
        return stopped and self._may_begin()

    def _answer_each(self, data: bytes) -> None:
        """Take bytes, and answer the calls at their front that are done as their functions return.

        A client that sends many calls ahead pays for each little more than the function itself.
        """
        room_bytes = self._limits.waiting_bytes - len(self._out)
        served = self._served
        replies, ran = self._machine.answer_each(data, served.answer_at_once, room_bytes, served.ready)
        if self._watch is not None and (replies or ran is not None):
            self._watch.cancel()
            self._watch = None
        if replies:
            self._out.add(b"".join(replies))
        if ran is not None:
            self._take_up(ran)

    def _may_begin(self) -> bool:
        has_room = len(self._out) <= self._limits.waiting_bytes
        return self._call is None and has_room and self._state in TAKES_CALLS

    def _begin(self, call: AnyCall, start: int) -> None:
        if self._state is ConnectionState.GONE and not call.oneway:
            self._machine.send_reply(Reply())  # to nobody
            return
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._take_in_hand(oneway=call.oneway)
        assert self._call is not None
        self._call.begin(call, self._arrivals, start)
        self._put_down()
        if self._arrivals is not None:
            self._arrivals.drop(self._fed_bytes - self._machine.buffered_bytes)

    def _take_in_hand(self, *, oneway: bool) -> None:
        self._call = RunningCall(self, self._served, self._loop, self._threads, oneway=oneway)

    def _put_down(self) -> None:
        if self._call is not None and not self._call.lasts:
            self._call = None

    def ended(self, call: RunningCall, failure: BaseException | None) -> None:
        """Go on behind a call that took its time; `failure` is a fault of ours."""
        self._call = None
        if self._sock.fileno() < 0:
            return
        if failure is not None:
            logger.error("a connection failed", exc_info=failure)
            self.close()
            return
        self._advance()

    def _last_word(self, error: errors.RemoteProtocolError) -> None:
        logger.warning("%s: %s; disconnected", self.peer, error)
        if self._state is not ConnectionState.GONE:
            reason = Reply({"reason": str(error)}, error=dispatch.PROTOCOL_VIOLATION)
            self._out.add(self._machine.send_reply(reason))
        self._finish()

    # --- the clocks on its client -----------------------------------------------------------------

    def _pace(self) -> None:
        """Read on or not, and look at the clock or not, as it stands now."""
        if self._sock.fileno() < 0:
            return
        waiting_bytes = self._machine.buffered_bytes
        held = self._call is not None or len(self._out) > self._limits.waiting_bytes
        too_much = held and waiting_bytes > self._limits.ahead_bytes
        self._happened(ConnectionHappened.TOO_MUCH if too_much else ConnectionHappened.ROOM)
        if self._watch is None:
            if waiting_bytes and not held:
                self._watched_bytes = self._fed_bytes
                self._watch = self._loop.call_later(self._limits.frame_s, self._check_frame)
            elif self._state is ConnectionState.HALF_CLOSED and self._call is not None:
                self._watch = self._loop.call_later(GONE_CHECK_S, self._check_gone)

    def _check_frame(self) -> None:
        late = self._watch is not None and is_late(self._loop, self._watch)
        self._watch = None
        progress_bytes = self._fed_bytes - self._watched_bytes
        if self._call is None and progress_bytes < self._limits.frame_progress_bytes and not late:
            logger.warning("%s does not finish its call; disconnected", self.peer)
            self.close()
        else:
            self._pace()

    def _check_gone(self) -> None:
        self._watch = None
        if has_hung_up(self._sock):
            self.lost()
        else:
            self._pace()
