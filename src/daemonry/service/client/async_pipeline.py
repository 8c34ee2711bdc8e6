"""Many calls sent ahead of their replies on one connection, on an asyncio loop.

Owns sending when the loop turns, reading as replies come, and the clock.  Which reply is whose, and what a
loss means for each call, is `pipelined`'s; the connection is lent by `asynchronous`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Self

from daemonry import errors
from daemonry.clock import monotonic
from daemonry.limits import PIPELINE_PIECE_BYTES, READ_BYTES
from daemonry.service.client.async_pending_call import AsyncPendingCall
from daemonry.service.client.engine import NamedMethod
from daemonry.service.client.pipelined import Ledger, is_refusal, meaning_of
from daemonry.service.client.pipelined_remote import AsyncPipelinedRemote
from daemonry.service.client.retry import WAITS_S
from daemonry.wire import fast_varlink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemonry.errors.root import Ran
    from daemonry.service.client.async_line import AsyncLine
    from daemonry.service.client.proxy import Converter, Given


class AsyncPipeline(AsyncPipelinedRemote):
    """Calls that are sent ahead of their replies, on a connection of their own, in an `async with` block.

    Calls are queued at once and sent when the loop turns; any task of the loop may make and await them.
    The block ends when every call has its outcome.  It raises no error of a call: awaiting the call does.
    A block that is left by an exception sends nothing more and ends the connection.

    Calls are not made again: after a loss the outcome of each says whether it can be.

    Args:
        lend: connects, and returns the line.
        renew: connects it again.
        give_back: takes it back.
        lost: makes the error of a connection that is gone.
        timeout_s: how long to wait for the next reply, or for the daemon to take more, in seconds.
    """

    def __init__(
        self,
        lend: Callable[[], Awaitable[AsyncLine]],
        renew: Callable[[AsyncLine], Awaitable[None]],
        give_back: Callable[[AsyncLine], None],
        lost: Callable[[AsyncLine, Ran], errors.ConnectionLost],
        timeout_s: float,
    ) -> None:
        self._lend = lend
        self._renew = renew
        self._renewals = 0  # since the last reply
        self._renewing: asyncio.Task[None] | None = None
        self._is_over = False
        self._give_back = give_back
        self._lost = lost
        self._timeout_s = timeout_s
        self._ledger = Ledger(fast_varlink)
        self._began = False
        self._line: AsyncLine | None = None  # in the block
        self._may_send = True
        self._piece = memoryview(b"")  # of calls that were taken to be sent
        self._waits_for_room = False
        self._sends_soon = False
        self._progress_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._moved: asyncio.Future[None] | None = None  # for tasks that wait for room, or for the end

    # --- calls ------------------------------------------------------------------------------------

    def call(
        self, method: str, parameters: Mapping[str, Any] | None = None
    ) -> AsyncPendingCall[dict[str, Any]]:
        """Queue a call by its method's name; its result is the fields of the reply.

        Raises:
            NotSendable: the parameters have no form.
            LocalProtocolError: the pipeline is not open, or full: await `drain`.
        """
        named = NamedMethod(method, False, fast_varlink)
        return self.queue(named, parameters, named.frame(parameters))

    def oneway(self, method: str, parameters: Mapping[str, Any] | None = None) -> AsyncPendingCall[None]:
        """Queue a call that is not answered; its result is None once it is sent, as far as anyone knows."""
        return self.queue(NamedMethod(method, False, fast_varlink), parameters, None, oneway=True)

    def proxy(self, kind: type[Any]) -> Any:
        """Return an object with the methods of an interface, each of which returns an `AsyncPendingCall`.

        `remote` returns one method with its types.  Methods that stream, upgrade or pass descriptors raise
        LocalProtocolError: each needs a connection of its own.
        """
        from daemonry.service.client.pipelined_proxy import pipelined_proxy

        return pipelined_proxy(self, kind)

    def queue(
        self,
        converter: Converter | NamedMethod,
        given: Given | None,
        frame: bytes | None,
        *,
        oneway: bool = False,
    ) -> AsyncPendingCall[Any]:
        """Queue a call as a proxy does; see `Client.call_typed`."""
        line = self._line
        if line is None:
            raise errors.LocalProtocolError("a pipeline takes calls inside its `async with` block only")
        if line.inherited:
            raise errors.InheritedConnection(line.peer, "no")
        if line.loop is not asyncio.get_running_loop():
            raise errors.WrongLoop(line.peer)
        ledger = self._ledger
        if ledger.is_full:
            raise errors.LocalProtocolError("too many calls of this pipeline have no reply: await `drain()`")
        if frame is None:
            frame = ledger.frame(converter, given, oneway=oneway)
        call: AsyncPendingCall[Any] = AsyncPendingCall(self, converter, frame, oneway)
        if self._is_over:
            call.fail(self._lost(line, "no"), "not_sent")
            return call
        ledger.add(call)
        if self._may_send and not self._sends_soon and not self._waits_for_room:
            self._sends_soon = True
            line.loop.call_soon(self._send)
        return call

    async def drain(self) -> None:
        """Wait until few bytes of calls are left to be sent, and further calls may be queued."""
        ledger = self._ledger
        while not self._is_over and (self._sends_soon or not self._has_room(ledger)):
            await self._next_move()

    @staticmethod
    def _has_room(ledger: Ledger) -> bool:
        return ledger.unsent_bytes < PIPELINE_PIECE_BYTES and not ledger.is_full

    def cancel(self, call: AsyncPendingCall[Any]) -> None:
        """Have a call fail alone."""
        if not call.done:
            peer = "" if self._line is None else self._line.peer
            self._ledger.cancel(call, errors.CallCancelled(peer, "maybe" if call.end else "no"))

    # --- the connection ---------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._began:
            raise errors.LocalProtocolError("a pipeline is used once: make another")
        self._began = True
        self._line = line = await self._lend()
        line.talk.at_rest = False  # until every reply is here, whatever happens between
        line.lend(self._readable, self._disconnected)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        line = self._line
        assert line is not None
        try:
            if kind is None and not line.inherited:
                while not self._ledger.is_settled:
                    await self._next_move()
        finally:
            self._end(lambda ran: self._lost(line, ran))
            for under_way in (self._timer, self._renewing):
                if under_way is not None:
                    under_way.cancel()
            line.talk.at_rest = not self._is_over and self._ledger.is_at_rest
            self._line = None
            self._give_back(line)

    async def _next_move(self) -> None:
        """Wait until something was sent, was read, or failed."""
        if self._moved is None:
            self._moved = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._moved)

    def _move(self) -> None:
        moved, self._moved = self._moved, None
        if moved is not None and not moved.done():
            moved.set_result(None)

    def _send(self) -> None:
        self._sends_soon = False
        ledger, line = self._ledger, self._line
        if line is None or not self._may_send:
            return
        while self._piece or ledger.unsent_bytes:
            if not self._piece:
                self._piece = memoryview(ledger.take_unsent(PIPELINE_PIECE_BYTES))
                continue
            try:
                count_bytes = line.sock.send(self._piece)
            except BlockingIOError:
                break
            except OSError:
                self._cannot_send()  # and the replies that it sent before it went are read
                break
            ledger.sent(count_bytes)
            self._piece = self._piece[count_bytes:]
        self._watch(line)
        self._move()

    def _watch(self, line: AsyncLine) -> None:
        """Have the loop tell of room where it is needed, and of time where something is awaited."""
        wants_room = bool(self._piece)
        if wants_room is not self._waits_for_room:
            self._waits_for_room = wants_room
            line.watch_room(self._send if wants_room else None)
        self._look_at_rest(line)
        if self._timer is None and not self._ledger.is_settled:
            self._progress_s = monotonic()
            self._set_timer(line, self._timeout_s)

    def _set_timer(self, line: AsyncLine, left_s: float) -> None:
        assert line.loop is not None
        self._timer = line.loop.call_later(left_s, self._look_at_time)

    def _look_at_time(self) -> None:
        self._timer = None
        line = self._line
        if line is None or self._ledger.is_settled:
            return
        left_s = self._progress_s + self._timeout_s - monotonic()
        if left_s > 0.0:
            self._set_timer(line, left_s)
        else:
            self._fail(errors.DeadlineExceeded("reply", self._timeout_s, "maybe", line.peer))

    def _readable(self) -> None:
        line, ledger = self._line, self._ledger
        if line is None:
            return
        try:
            data = line.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            if data:
                ledger.receive(data)
                self._renewals = 0
                self._progress_s = monotonic()
            else:
                self._ended(line)
        except errors.DaemonryError as error:
            self._fail(error)
        self._look_at_rest(line)
        self._move()

    def _ended(self, line: AsyncLine) -> None:
        """The peer sends no more."""
        self._cannot_send()
        line.watch_room(None)
        line.stop_reading()
        refusal = line.talk.refusal_in(self._ledger.take_rest())
        if refusal is not None or self._ledger.awaits:
            self._fail(refusal)

    def _cannot_send(self) -> None:
        self._may_send = False
        self._piece = memoryview(b"")
        self._ledger.requeue()

    def _look_at_rest(self, line: AsyncLine) -> None:
        """Where every call that was sent has its reply, and no more is taken, go on over a new connection."""
        if self._may_send or self._is_over or self._ledger.awaits or self._renewing is not None:
            return
        assert line.loop is not None
        self._renewing = line.loop.create_task(self._connect_again(line))

    async def _connect_again(self, line: AsyncLine) -> None:
        """Send over a new connection the calls that were not sent; see `Pipeline`."""
        try:
            if self._renewals == len(WAITS_S):
                raise self._lost(line, "no")  # as the errors of a new connection
            await asyncio.sleep(WAITS_S[self._renewals])
            self._renewals += 1
            await self._renew(line)
        except errors.DaemonryError as error:
            self._fail(error)
            return
        finally:
            self._renewing = None
        line.talk.at_rest = False
        line.lend(self._readable, self._disconnected)
        self._ledger.begin_again()
        self._waits_for_room = False
        self._may_send = True
        self._send()

    def _disconnected(self) -> None:
        """The client was closed."""
        self._fail(None)

    def _fail(self, error: errors.DaemonryError | None) -> None:
        line = self._line
        if line is not None:
            lost = meaning_of(error, lambda ran: self._lost(line, ran))
            self._end(lost, refused=is_refusal(error))

    def _end(self, error_of: Callable[[Ran], BaseException], *, refused: bool = False) -> None:
        """End the calls under way, and the connection if there is something."""
        if not self._ledger.is_settled or not self._may_send:
            self._is_over = True
            self._may_send = False
            self._piece = memoryview(b"")
            self._ledger.end(error_of, refused=refused)
            if self._line is not None:
                self._line.disconnect()
        self._move()
