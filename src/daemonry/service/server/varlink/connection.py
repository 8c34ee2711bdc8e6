"""One accepted connection that speaks Varlink, on an asyncio loop.

Owns the order of its calls, and the clocks on its client; its socket and its replies are `accepted`'s.  What
it owes its client is the table in `state`; whose turn it is to speak is `wire.connection`'s; what waits to
be sent is an `outbox`'s, a call in hand is a `running_call`, and the numbers are `bounds`'s.

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
from _socket import socket as Socket
from collections.abc import Callable
from typing import Final

from daemonry import errors
from daemonry.limits import LONG_READ_BYTES, READ_BYTES
from daemonry.service.server import dispatch
from daemonry.service.server.dispatch import Ran
from daemonry.service.server.graceful_close import has_hung_up
from daemonry.service.server.lateness import is_late
from daemonry.service.server.varlink.accepted import Accepted
from daemonry.service.server.varlink.running_call import RunningCall
from daemonry.service.server.varlink.state import (
    TAKES_BYTES,
    TAKES_CALLS,
    ConnectionHappened,
    ConnectionState,
)
from daemonry.wire import fast_varlink
from daemonry.wire.connection import Ended
from daemonry.wire.varlink import AnyCall, Reply

logger: logging.Logger = logging.getLogger("daemonry.server")

# How often a half-closed peer, whose end cannot be read any more, is looked at while its call runs.
GONE_CHECK_S: Final = 1.0
# How long a daemon that ends waits for a client to take the rest of its replies.
LAST_REPLY_S: Final = 1.0
# After so many calls in a row that were answered at once, others are not expected.  The way there and back
# takes as long as thirty such calls save.
CALM_CALLS: Final = 64


class VarlinkConnection(Accepted):
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
        calm: takes the socket back once all calls are answered at once; None to keep it.
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
        alone = self._call is None and not (self._out or self._arrivals) and self._is_idle_for(len(data))
        if alone and self._answer_at_once(data):
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
        self._advance(data, looked_up=alone and data.find(b"\0") == len(data) - 1)

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
        self.calm = None
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
        ran = self._served.answer_at_once(data)
        if ran is None:
            return False
        if isinstance(ran, bytes):
            self._fed_bytes += len(data)
            if not self._out.send_at_once(ran):
                self._pace()
            self._at_once += 1
            if self._at_once == CALM_CALLS and self.calm is not None:
                self._give_back(self.calm)
        else:
            self.go_on(data, ran)
        return True

    def _give_back(self, calm: Callable[[Socket], None]) -> None:
        """Leave the socket to a fast connection, if nothing is owed."""
        if self._state is ConnectionState.READING and self._watch is None and not self._out:
            self._happened(ConnectionHappened.CALM)
            self._closed(self)
            calm(Socket(fileno=self._sock.detach()))

    def _advance(self, data: bytes = b"", *, looked_up: bool = False) -> None:
        """Take bytes and begin the calls that wait, until one takes its time or too much waits to be sent.

        Args:
            data: the bytes.
            looked_up: whether they are no call that is answered at once.
        """
        self._at_once = 0
        if data and not self._may_begin():
            self._machine.receive_data(data)
        while self._begin_waiting(data, looked_up=looked_up):
            data = b""
        self._pace()

    def _begin_waiting(self, data: bytes, *, looked_up: bool) -> bool:
        """Do so once; return whether there is room again: one send may take all that waits."""
        machine = self._machine
        while self._may_begin():
            if not data and self._state is ConnectionState.READING and machine.is_idle_for(0):
                break
            if self._arrivals is None and self._state is not ConnectionState.GONE and not looked_up:
                self._answer_each(data)
                data = b""
                if not self._may_begin():
                    break
            looked_up = False
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
        if self._call is not None or self._state not in TAKES_CALLS:
            return False
        return len(self._out) <= self._limits.waiting_bytes

    def _begin(self, call: AnyCall, start: int) -> None:
        if self._state is ConnectionState.GONE and not call.oneway:
            self._machine.send_reply(Reply())  # to nobody
            return
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._take_in_hand(oneway=call.oneway)
        assert self._call is not None
        self._call.begin(call, self._arrivals, start, alone=not self._machine.buffered_bytes)
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
        if not waiting_bytes and self._state is ConnectionState.READING:
            return
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
