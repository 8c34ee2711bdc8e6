"""One connection of an asyncio client: its socket on the loop, and how a call's steps are performed on it.

Owns waiting, for bytes, for room, and for a turn; and nothing of what a failure means for the call: that
is `engine`'s.

The loop watches the connection from its first to its last moment, so that a call costs no system
call but to send and to receive; only a daemon that sends more than is asked for is not listened to
for a while.  It also tells at once that an idle connection has ended.
"""

from __future__ import annotations

import asyncio
from _socket import socket as Socket
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from socket import socket as UserSocket
from typing import TYPE_CHECKING, Any

from daemonry import errors
from daemonry.clock import Deadline, monotonic
from daemonry.limits import READ_BYTES
from daemonry.service.client.conversation import Conversation
from daemonry.service.client.watched_line import WatchedLine
from daemonry.transport import ancillary
from daemonry.transport.ancillary import Arrivals, Fd
from daemonry.transport.endpoint import Endpoint
from daemonry.wire import fast_varlink

if TYPE_CHECKING:
    from daemonry.wire.connection import Codec

# The resolution of uvloop's timers: a shorter rest of a wait counts as no wait.
_TIMER_STEP_S = 0.001


class AsyncLine(WatchedLine):
    """One connection, and the calls that take turns on it.

    Args:
        whom: the peer, connected already or later.

    Attributes:
        arrivals: the descriptors that came and were not taken yet; None where none are taken.
        busy: whether a call has its turn.
        streaming: the task that has the turn while its stream goes on.
    """

    __slots__ = (
        *("_read_bytes", "_timer", "_timer_at_s", "_turns", "_until_s", "_waiter"),
        *("arrivals", "busy", "streaming"),
    )

    def __init__(self, whom: str | Endpoint) -> None:
        self._whom = whom
        self.loop: asyncio.AbstractEventLoop | None = None
        self.inherited: bool = False
        self.passes_fds: bool = False
        self.received: list[Fd] = []
        self.busy: bool = False
        self._turns: deque[asyncio.Future[None]] = deque()
        self.streaming: asyncio.Task[Any] | None = None
        # One timer for all waits: it is moved when it is too late, and looks again when too early.
        self._lent: Callable[[], None] | None = None  # called when the connection ends
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = 0.0
        self._until_s = inf  # until when the waiter waits
        self._begin(_closed_socket())
        self.talk.at_rest = False

    def _begin(self, sock: Socket) -> None:
        self.sock = sock
        self.talk: Conversation = Conversation(_codec, self._whom)
        self.arrivals = Arrivals() if self.passes_fds else None
        self._read_bytes = 0
        # The waiter for bytes, or for room to send.
        self._waiter: asyncio.Future[bytes] | None = None
        self._is_sending = False
        self._is_reading = False

    def connect(self, sock: Socket) -> None:
        """Go on over a new connection."""
        self._begin(sock)
        self.inherited = False
        sock.setblocking(False)
        self._read_on()

    def _read_on(self) -> None:
        assert self.loop is not None
        self.loop.add_reader(self.sock.fileno(), self._readable)
        self._is_reading = True

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return sum(not turn.done() for turn in self._turns)

    def disconnect(self) -> None:
        """End the connection; a call that waits on it fails.  Twice is not an error."""
        self.talk.at_rest = False
        loop_lives = self.loop is not None and not self.loop.is_closed()
        if loop_lives:
            self._stop_watching()
        self.sock.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiter = self._waiter
        if loop_lives and waiter is not None and not waiter.done():
            waiter.set_exception(errors.ConnectionLost(str(self._whom), "maybe"))
        self.drop_received()
        if self.arrivals is not None:
            self.arrivals.close()
        lent, self._lent = self._lent, None
        if lent is not None:
            lent()

    def drop_in_child(self) -> None:
        """Close this process's copy; the connection, the loop and what the loop watches are the parent's."""
        self.sock.close()
        self.talk.at_rest = False
        self.inherited = True
        self.loop = None
        if self.arrivals is not None:
            self.arrivals.close()
        self.drop_received()

    def move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to a loop from now on.

        Raises:
            WrongLoop: it is another loop's, which still exists.
        """
        if not may_move(self.loop):
            raise errors.WrongLoop(str(self._whom))
        self.loop = loop
        self.busy = self._is_reading = self._is_sending = False
        self._turns = deque()
        self.streaming = self._waiter = self._timer = None
        if not self.talk.at_rest:
            self.sock.close()
        elif self.is_open:
            self._read_on()

    # --- lending ------------------------------------------------------------------------------

    def take_back(self) -> None:
        """Read it here again, where it was lent."""
        self._lent = None
        self.watch_room(None)
        if self.is_open:
            self._read_on()

    # --- descriptors --------------------------------------------------------------------------

    def accept_fds(self) -> None:
        """Take descriptors from now on; the kernel closes those that come to a line that does not."""
        self.passes_fds = False  # where the check raises, the next call passes none
        ancillary.check_passable(self._whom)
        self.passes_fds = True
        if self.arrivals is None:
            self.arrivals = Arrivals()

    def mark(self) -> int:
        """Return where in all that was read the next reply begins."""
        return self._read_bytes - self.talk.buffered_bytes

    def collect(self, start: int) -> None:
        """Keep the descriptors of the reply that began at `start` as `received`."""
        if self.arrivals is not None:
            self.received = self.arrivals.take(start)
            self.arrivals.drop(self.mark())

    # --- turns --------------------------------------------------------------------------------

    async def take_turn(self, deadline: Deadline) -> None:
        """Wait until no other call is under way; behind it, `give_turn` has to follow."""
        if not self.busy:
            self.busy = True
            return
        if self.streaming is asyncio.current_task():
            raise errors.LocalProtocolError("a stream has replies to come: use another connection")
        turn = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            async with asyncio.timeout(deadline.remaining_s()):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.give_turn()
            if isinstance(error, TimeoutError):
                timeout_s = deadline.timeout_s or 0.0
                raise errors.DeadlineExceeded("turn", timeout_s, "no", str(self._whom)) from None
            raise

    def give_turn(self) -> None:
        """Let the next call have the connection, or a new one where it cannot have this."""
        if not self.talk.at_rest:
            self.finish()
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)  # the next one stays busy for all others
                return
        self.busy = False

    # --- steps --------------------------------------------------------------------------------

    async def write(self, data: bytes, fds: Sequence[Fd], deadline: Deadline) -> None:
        """Send all of `data`, and descriptors with it."""
        while True:
            try:
                sent = ancillary.send(self.sock, data, fds) if fds else self.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise errors.ConnectionLost(str(self._whom), "maybe") from error
            if sent == len(data):
                return
            if sent:
                data, fds = data[sent:], ()
            await self._room(deadline)

    async def _room(self, deadline: Deadline) -> None:
        assert self.loop is not None
        self._is_sending = True
        self.loop.add_writer(self.sock.fileno(), self._writable)
        try:
            await self.wait(deadline)
        finally:
            if self._is_sending:
                self.loop.remove_writer(self.sock.fileno())
                self._is_sending = False

    def peek(self) -> bytes | None:
        """Return the bytes that had come already; None for nothing."""
        try:
            return self.sock.recv(READ_BYTES)
        except OSError:
            return None

    def hand_over(self, early: bytes) -> tuple[UserSocket, bytes]:
        """Give the socket away, with what came early for the protocol that it speaks now."""
        self._stop_watching()
        sock = UserSocket(fileno=self.sock.detach())
        self.disconnect()
        return sock, early

    async def wait(self, deadline: Deadline) -> bytes:
        """Wait for bytes and return them; while sending, for room.

        Raises:
            DeadlineExceeded, ConnectionLost: as they are for a call that was sent.
        """
        if not self._is_reading and not self._is_sending:
            if self.sock.fileno() < 0:
                raise errors.ConnectionLost(str(self._whom), "maybe")
            self._read_on()
        at_s = deadline.at_s
        if at_s is None:
            self._until_s = inf
        else:
            self._until_s = at_s
            if self._timer is None or at_s < self._timer_at_s:
                self._set_timer(at_s)
        assert self.loop is not None
        waiter: asyncio.Future[bytes] = self.loop.create_future()
        self._waiter = waiter
        try:
            return await waiter
        finally:
            self._waiter = None

    def _set_timer(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_s = at_s
        assert self.loop is not None
        self._timer = self.loop.call_later(max(0.0, at_s - monotonic()), self._look_at_time)

    def _look_at_time(self) -> None:
        self._timer = None
        waiter = self._waiter
        if waiter is None or waiter.done() or self._until_s == inf:
            return
        if self._until_s - monotonic() > _TIMER_STEP_S:
            self._set_timer(self._until_s)
        else:
            waiter.set_exception(errors.DeadlineExceeded("reply", 0.0, "maybe", str(self._whom)))

    def _readable(self) -> None:
        waiter = self._waiter
        if waiter is None or self._is_sending or waiter.done():
            if self.busy:
                # Nobody asks for more now: the daemon shall wait.
                assert self.loop is not None
                self.loop.remove_reader(self.sock.fileno())
                self._is_reading = False
            else:
                self.disconnect()  # it ended, or sends what nobody asked for
            return
        try:
            waiter.set_result(self._read())
        except BlockingIOError:
            pass
        except OSError as error:
            lost = errors.ConnectionLost(str(self._whom), "maybe")
            lost.__cause__ = error
            waiter.set_exception(lost)

    def _writable(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(b"")

    def _read(self) -> bytes:
        if self.arrivals is None:
            data = self.sock.recv(READ_BYTES)
        else:
            data, fds = ancillary.receive(self.sock)
            if fds:
                self.arrivals.add(self._read_bytes, self._read_bytes + len(data), fds)
        self._read_bytes += len(data)
        return data


def may_move(own: asyncio.AbstractEventLoop | None) -> bool:
    """Say whether what belonged to a loop may go on with another: nothing happens on it any more."""
    return own is None or own.is_closed()


def _closed_socket() -> Socket:
    sock = Socket()
    sock.close()
    return sock


def _codec() -> Codec:
    return fast_varlink
