"""One accepted connection that speaks Varlink, on an asyncio loop.

Owns its socket, the calls that run for it, and what waits to be sent.  Whose turn it is to speak
is `wire.connection`'s; what a call comes to is `calls`'s; the numbers are `bounds`'s.

A peer that is **gone** has its running call cancelled; one-way calls, whose sender need not stay,
run to their end.  A peer that has only **finished sending** (a half-closed connection) is answered
to the end.  A peer that **does not read** is waited for: a stream is not asked for more and no
further call is begun while much waits, and after `stall_s` without a byte taken the connection is
closed.  A peer that **does not finish its frame** is closed after `frame_s`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import select
import types
from _socket import AF_UNIX, SHUT_RD, SHUT_RDWR
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Executor
from socket import socket as UserSocket
from typing import TYPE_CHECKING, Any, Final

from daemonry import errors
from daemonry.limits import READ_BYTES
from daemonry.service.interface.handler import Context, Speak, Upgrade
from daemonry.service.server import bounds, dispatch
from daemonry.service.server.bounds import Bounds
from daemonry.service.server.dispatch import FAILURES, Bound, Calls, Ran, Results
from daemonry.service.server.failures import FAILED, told_by
from daemonry.service.server.lateness import is_late
from daemonry.service.server.reply_check import Misfit
from daemonry.service.server.tap import Begun
from daemonry.service.server.text_connection import finish
from daemonry.transport import ancillary
from daemonry.transport.ancillary import Arrivals, Fd, close_all
from daemonry.transport.credentials import peer_of
from daemonry.wire import fast_varlink
from daemonry.wire.connection import Ended, ServerConnection
from daemonry.wire.varlink import AnyCall, AnyReply, Reply

if TYPE_CHECKING:
    from _socket import socket as Socket

    from daemonry.service.server.epoll import Readers

logger = logging.getLogger("daemonry.server")

# How often a half-closed peer, whose end cannot be read any more, is looked at while its call runs.
GONE_CHECK_S: Final = 1.0
# How long a daemon that ends waits for a client to take what is left of its replies.
LAST_REPLY_S: Final = 1.0
# Replies of a stream in one turn of the loop, so that a quick stream leaves time for the others.
REPLIES_PER_TURN: Final = 64


class _AnsweredAlready(Exception):
    """An error went out in place of a reply of a stream, which is over with it."""


class VarlinkConnection:
    """A client that calls.

    Args:
        loop: the loop that serves it.
        readers: what watches its socket until it is in use; whether it did already does not matter.
        sock: the connection, which does not block; closed by this object.
        served: the interfaces that it may call.
        threads: where blocking handlers run.
        closed: called once, when the socket is closed.
        limits: what it may do.

    Attributes:
        peer: who is at its other end.
    """

    __slots__ = (
        "_arrivals",
        "_begun",
        "_closed",
        "_context",
        "_drained",
        "_fed_bytes",
        "_finishing",
        "_gone",
        "_limits",
        "_loop",
        "_made_machine",
        "_oneway",
        "_out",
        "_out_fds",
        "_over",
        "_readers",
        "_reading",
        "_reason",
        "_running",
        "_served",
        "_sock",
        "_speak",
        "_stall",
        "_task",
        "_threads",
        "_upgraded",
        "_watch",
        "_watched_bytes",
        "peer",
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
        self.peer = peer_of(sock)
        self._served = served
        self._threads = threads
        self._closed = closed
        self._limits = limits
        self._made_machine: ServerConnection | None = None
        self._arrivals = Arrivals() if served.takes_fds and sock.family == AF_UNIX else None
        self._fed_bytes = 0
        self._out = bytearray()
        self._out_fds: tuple[tuple[int, list[Fd]], ...] = ()  # by where in `_out` they belong
        self._task: asyncio.Task[None] | None = None
        self._oneway = False  # whether the call in hand is
        self._running: Bound | None = None  # while `_task` is that of a call
        self._reason: errors.CallFailed | None = None  # why it was cancelled, if we did
        self._context: Context | None = None
        self._drained: asyncio.Future[None] | None = None
        self._stall: asyncio.TimerHandle | None = None  # there while the loop watches for writing
        self._watch: asyncio.TimerHandle | None = None
        self._watched_bytes = 0
        self._speak: Speak | None = None
        self._begun: Begun | None = None
        self._upgraded: UserSocket | None = None
        self._reading = True  # whoever heard it first has a reader there, which is replaced
        self._finishing = False  # the peer sends no more
        self._gone = False  # the peer is not there any more
        self._over = False  # nothing follows what waits to be sent
        readers.add_reader(sock.fileno(), self._readable)

    @property
    def owes(self) -> bool:
        """Whether a call that is the program's runs, or a reply waits to be sent."""
        return bool(self._out) or (self._running is not None and not self._running.open)

    @property
    def controls(self) -> bool:
        """Whether a call that runs is the control plane's."""
        return self._running is not None and self._running.open

    @property
    def call(self) -> str:
        """The full name of the method that runs; "" for none."""
        return "" if self._running is None else self._running.full_name

    async def drain(self, reason: errors.CallFailed, *, of_control: bool = False) -> None:
        """Let the call in hand come to its end, and its reply be sent; a stream ends with `reason`.

        One of the control plane goes on, unless `of_control` says that it is to end as well.
        """
        task = self._task
        if task is not None and self._running is not None and (of_control or not self._running.open):
            if self._running.kind == "stream":
                self._reason = reason
                task.cancel()
            await asyncio.wait((task,))
        try:
            async with asyncio.timeout(LAST_REPLY_S):
                while self._out and self._sock.fileno() >= 0:
                    await self._until_sent()
        except TimeoutError:
            pass  # a client that does not read does not keep the daemon

    def receive(self, data: bytes) -> None:
        """Take bytes that were read already; `b""` is the end of what the peer sends."""
        if self._task is None and not (self._out or self._arrivals) and self._answer_at_once(data):
            return
        if data:
            self._fed_bytes += len(data)
        else:
            if self._task is None and not self._out and self._is_idle_for(0):
                self.close()  # nothing is owed to anybody
                return
            self._machine.receive_eof()
            self._finishing = True
            self._read_no_more()
            if self._is_gone():
                self._lost()
                return
        self._advance(data)

    def begin(self, data: bytes) -> None:
        """Take what was read of the first bytes; b"" for none, where they are still to be read."""
        if data:
            self.receive(data)
        else:
            self._readable()

    def refuse(self, error: errors.CallFailed) -> None:
        """Say why nothing is read, and close."""
        self._read_no_more()
        self._out += fast_varlink.encode_reply(dispatch.refusal(error)) + b"\0"
        self._finish()
        self._write()

    @property
    def activity(self) -> int | None:
        """A number that changes whenever the client sends something; None while it is being served."""
        waiting = self._task is not None or self._out or self._machine.buffered_bytes
        return None if waiting else self._fed_bytes

    def retire(self) -> None:
        """Take no further call, answer what has come, and end.

        What the client sends from now on fails on its side, so that it knows that nothing ran.
        """
        if self._finishing or self._upgraded is not None or self._sock.fileno() < 0:
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

    def drop_in_child(self) -> None:
        """Close a forked child's copy, beside the loop, which parent and child share."""
        self._sock.close()

    def close(self) -> None:
        """End the connection and whatever runs for it.  Twice is not an error."""
        if self._upgraded is not None:
            self._end_upgraded(self._upgraded)
            return
        fd = self._sock.fileno()
        if fd < 0:
            return
        self._read_no_more()
        if self._stall is not None:
            self._loop.remove_writer(fd)
            self._stall.cancel()
        if self._watch is not None:
            self._watch.cancel()
        if self._context is not None:
            self._context.gone.set()
        if self._task is not None:
            self._task.cancel()
        self._note_cancelled("the caller is gone")
        self._drop_fds()
        self._tell_sent()
        if self._over and not self._gone:
            finish(self._sock)
        self._sock.close()
        self._closed(self)

    # --- reading ----------------------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            data = self._sock.recv(READ_BYTES) if self._arrivals is None else self._read_with_fds()
        except BlockingIOError:
            return
        except OSError:
            self._lost()
            return
        if self._readers is not self._loop and data:
            self._settle()
        self.receive(data)

    def _settle(self) -> None:
        """Be watched by the loop: a connection that says more than one thing is in use."""
        self._readers.remove_reader(self._sock.fileno())
        self._readers = self._loop
        if self._reading:
            self._loop.add_reader(self._sock.fileno(), self._readable)

    def _read_with_fds(self) -> bytes:
        data, fds = ancillary.receive(self._sock)
        if fds:
            assert self._arrivals is not None
            self._arrivals.add(self._fed_bytes, self._fed_bytes + len(data), fds)
        return data

    def _read_on(self) -> None:
        if not self._reading and not self._finishing:
            self._reading = True
            self._readers.add_reader(self._sock.fileno(), self._readable)

    def _read_no_more(self) -> None:
        if self._reading:
            self._reading = False
            self._readers.remove_reader(self._sock.fileno())

    def _is_gone(self) -> bool:
        # Both halves closed, and not only the one that the peer sends on.
        poll = select.poll()
        poll.register(self._sock.fileno(), 0)
        return any(found & (select.POLLHUP | select.POLLERR) for _, found in poll.poll(0))

    def _lost(self) -> None:
        """Nobody is there any more: end what runs for the peer, except what is one-way."""
        if self._gone or self._sock.fileno() < 0:
            return
        self._gone = self._finishing = True
        self._read_no_more()
        self._out.clear()
        self._drop_fds()
        self._all_sent()
        if self._context is not None and not self._oneway:
            self._context.gone.set()
        if self._task is None:
            self._advance()
        elif not self._oneway:
            self._task.cancel()

    # --- calls ------------------------------------------------------------------------------------

    @property
    def _machine(self) -> ServerConnection:
        # Most clients never send anything that needs one.
        machine = self._made_machine
        if machine is None:
            machine = self._made_machine = ServerConnection(fast_varlink, self._limits.frame_bytes)
        return machine

    def _is_idle_for(self, count_bytes: int) -> bool:
        machine = self._made_machine
        if machine is None:
            return count_bytes <= self._limits.frame_bytes
        return machine.is_idle_for(count_bytes)

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
            self._write_at_once(ran)
        else:
            self.go_on(data, ran)
        return True

    def go_on(self, data: bytes, ran: Ran | bytes) -> None:
        """Take a call that ran already, beside this object, and what it came to.

        Args:
            data: the call as it came, whole and alone.
            ran: what it came to, or what is still to be sent of its reply.
        """
        self._fed_bytes += len(data)
        if isinstance(ran, bytes):
            self._out += ran
            self._write()
            self._pace()
            return
        self._machine.next_event(data)
        self._oneway = False
        if ran.error is not None:
            self._fail(ran.bound, ran.error)
        else:
            self._take_result(ran.bound, ran.result)
        self._advance()

    def _write_at_once(self, data: bytes) -> None:
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lost()
            return
        if sent < len(data):
            self._out += data[sent:]
            self._write_later(progressed=False)
            self._pace()

    def _advance(self, data: bytes = b"") -> None:
        """Take bytes and begin the calls that wait, until one takes its time or too much waits to be sent."""
        machine = self._machine
        limit_bytes = self._limits.waiting_bytes
        if data and (self._task is not None or self._over or len(self._out) > limit_bytes):
            machine.receive_data(data)
        while self._task is None and not self._over and len(self._out) <= limit_bytes:
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
                self._nothing_more(event)
                break
            self._begin(event, start)
        if self._out and self._stall is None:
            self._write()
        self._pace()

    def _nothing_more(self, event: Ended | None) -> None:
        if event is not None:
            self._finish()
        elif self._gone:
            self.close()

    def _pace(self) -> None:
        """Read on or not, and look at the clock or not, as it stands now."""
        if self._sock.fileno() < 0:
            return
        waiting_bytes = self._machine.buffered_bytes
        held = self._task is not None or len(self._out) > self._limits.waiting_bytes
        if held and waiting_bytes > self._limits.ahead_bytes:
            self._read_no_more()
        elif not self._reading and not self._finishing and self._speak is None:
            self._read_on()
        if self._watch is None:
            if waiting_bytes and not held:
                self._watched_bytes = self._fed_bytes
                self._watch = self._loop.call_later(self._limits.frame_s, self._check_frame)
            elif self._finishing and self._task is not None and not self._gone:
                self._watch = self._loop.call_later(GONE_CHECK_S, self._check_gone)

    def _check_frame(self) -> None:
        late = self._watch is not None and is_late(self._loop, self._watch)
        self._watch = None
        progress_bytes = self._fed_bytes - self._watched_bytes
        if self._task is None and progress_bytes < self._limits.frame_progress_bytes and not late:
            logger.warning("%s does not finish its call; disconnected", self.peer)
            self.close()
        else:
            self._pace()

    def _check_gone(self) -> None:
        self._watch = None
        if self._is_gone():
            self._lost()
        else:
            self._pace()

    def _begin(self, call: AnyCall, start: int) -> None:
        if self._gone and not call.oneway:
            self._machine.send_reply(Reply())  # to nobody
            return
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._served.tap.watchers:
            self._begun = self._served.tap.begin(call.method, self.peer, call.parameters, lasts=False)
        self._answer_or_run(call, start)
        if self._arrivals is not None:
            self._arrivals.drop(self._fed_bytes - self._machine.buffered_bytes)

    def _answer_or_run(self, call: AnyCall, start: int) -> None:
        try:
            bound = self._served.find(call)
        except errors.CallFailed as error:
            self._send(dispatch.refusal(error))
            return
        quick = bound.kind == "plain"
        context = dispatch.context_of(call, self.peer) if bound.method.context or not quick else None
        try:
            if bound.method.takes_fds:
                arguments = self._arguments_with_fds(bound, call, context, start)
            else:
                arguments = bound.arguments(call, context)
        except errors.CallFailed as error:
            self._send(dispatch.refusal(error))
            return
        except Exception as error:  # noqa: BLE001  # a type's own __post_init__ may raise anything
            self._fail(bound, error)
            return
        self._oneway = call.oneway
        if quick:
            self._answer(bound, arguments)
        else:
            self._context = context
            self._note_lasting(call)
            work = self._stream if bound.kind == "stream" else self._await
            self._run(bound, work(bound, arguments))

    def _note_lasting(self, call: AnyCall) -> None:
        tap = self._served.tap
        if self._begun is None:
            self._begun = tap.begin(call.method, self.peer, None, lasts=True)
        else:
            tap.lasts(self._begun)

    def _note_end(self, reply: AnyReply) -> None:
        if self._begun is not None and not reply.continues:
            self._served.tap.end(self._begun, reply.error, told_by(reply))
            self._begun = None

    def _note_cancelled(self, reason: str) -> None:
        if self._begun is not None:
            self._served.tap.cancelled(self._begun, reason)
            self._begun = None

    def _arguments_with_fds(
        self, bound: Bound, call: AnyCall, context: Context | None, start: int
    ) -> dict[str, Any]:
        fds = self._arrivals.take(start) if self._arrivals is not None else []
        try:
            return bound.arguments(call, context, fds)
        finally:
            close_all(fds)  # those that no parameter took

    def _answer(self, bound: Bound, arguments: dict[str, Any]) -> None:
        try:
            result = bound.function(**arguments)
        except FAILURES as error:
            self._fail(bound, error)
            return
        self._take_result(bound, result)

    def _fail(self, bound: Bound, raised: BaseException) -> None:
        self._send(self._served.failures.error(bound, raised, self.peer))

    def _take_result(self, bound: Bound, result: Any) -> None:
        if type(result) is types.CoroutineType:  # a plain function around an async one
            self._run(bound, self._await_result(bound, result))
        else:
            self._reply(bound, result)

    def _run(self, bound: Bound, work: Coroutine[Any, Any, None]) -> None:
        self._served.running += 1
        self._running = bound
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._ran)

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._served.running -= 1
        reason, self._reason = self._reason, None
        self._task = self._context = self._running = None
        if self._sock.fileno() < 0:
            return
        if task.cancelled():
            if reason is None:
                self._note_cancelled("the caller is gone" if self._gone else "cancelled by the program")
                reason = errors.Failed(FAILED, {"message": "the call was cancelled"})
            self._send(dispatch.refusal(reason))
        elif task.exception() is not None:
            logger.error("a connection failed", exc_info=task.exception())
            self.close()
            return
        self._advance()

    async def _await(self, bound: Bound, arguments: dict[str, Any]) -> None:
        if bound.kind == "thread":
            result: Any = self._loop.run_in_executor(self._threads, lambda: bound.function(**arguments))
        else:
            result = bound.function(**arguments)
        await self._await_result(bound, result)

    async def _await_result(self, bound: Bound, result: Any) -> None:
        try:
            value = await result
        except FAILURES as error:
            self._fail(bound, error)
            return
        self._reply(bound, value)

    def _reply(self, bound: Bound, result: Any) -> None:
        fds: list[Fd] = []
        try:
            if bound.method.upgrades:
                if not isinstance(result, Upgrade):
                    raise Misfit(f"expected `Upgrade`, got `{type(result).__name__}`")
                reply = bound.reply(result.reply, fds=fds)
                self._speak = result.speak
            else:
                reply = bound.reply(result, fds=fds)
        except Exception as error:  # noqa: BLE001  # a result of another type than the method's
            close_all(fds)
            self._fail(bound, error)
            return
        self._send(reply, fds)

    async def _stream(self, bound: Bound, arguments: dict[str, Any]) -> None:
        results: Results | None = None
        try:
            generator: AsyncIterator[Any] = bound.function(**arguments)
            results = Results(generator)
            await self._send_all(bound, results)
        except _AnsweredAlready:
            pass
        except FAILURES as error:
            self._fail(bound, error)
        finally:
            if results is not None:
                await results.close()

    async def _send_all(self, bound: Bound, results: Results) -> None:
        ahead: tuple[Any, ...] | None = None
        count = 0
        while True:
            if ahead is None:
                try:
                    result = await results.next()
                except StopAsyncIteration:
                    self._send(Reply())
                    return
            elif ahead:
                result = ahead[0]
            else:
                return
            count += 1
            if count % REPLIES_PER_TURN == 0:
                await asyncio.sleep(0)
            await self._until_drained()
            try:
                ahead = results.ahead()
            except FAILURES:
                self._send_one(bound, result, last=False)
                raise
            self._send_one(bound, result, last=ahead == ())

    def _send_one(self, bound: Bound, result: Any, *, last: bool) -> None:
        fds: list[Fd] = []
        try:
            reply = bound.reply(result, continues=not last, fds=fds)
        except Exception:
            close_all(fds)
            raise
        if last and reply.parameters in ({}, b"{}"):
            # Clients take an empty last reply for the end alone.
            self._send(Reply(None, continues=True))
        if not self._send(reply, fds):
            raise _AnsweredAlready
        self._write()

    # --- writing ----------------------------------------------------------------------------------

    def _send(self, reply: Reply, fds: list[Fd] | None = None) -> bool:
        """Put a reply where it will be sent; False if an error had to take its place."""
        if self._sock.fileno() < 0:
            close_all(fds or ())
            return True
        try:
            if fds and self._sock.family != AF_UNIX:
                raise errors.LocalProtocolError("descriptors pass over Unix sockets only")
            data = self._machine.send_reply(reply)
        except errors.LocalProtocolError as error:
            self._send_fault(error, fds or [])
            return False
        self._note_end(reply)
        if self._gone:
            close_all(fds or ())
            return True
        if fds:
            self._out_fds = (*self._out_fds, (len(self._out), fds))
        self._out += data
        return True

    def _send_fault(self, error: errors.LocalProtocolError, fds: list[Fd]) -> None:
        close_all(fds)
        self._speak = None
        logger.error("a reply could not be sent: %s", error)
        fault = Reply({"message": f"the reply could not be sent: {error}"}, error=FAILED)
        self._note_end(fault)
        self._out += self._machine.send_reply(fault)

    def _last_word(self, error: errors.RemoteProtocolError) -> None:
        logger.warning("%s: %s; disconnected", self.peer, error)
        if not self._gone:
            reason = Reply({"reason": str(error)}, error=dispatch.PROTOCOL_VIOLATION)
            self._out += self._machine.send_reply(reason)
        self._finish()

    def _finish(self) -> None:
        """Close as soon as all is sent; no further call will come."""
        self._over = True
        self._read_no_more()
        self._finishing = True
        if not self._out:
            self.close()

    def _write(self) -> None:
        if not self._out or self._sock.fileno() < 0:
            return
        try:
            sent = self._sock.send(self._out) if not self._out_fds else self._write_with_fds()
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lost()
            return
        del self._out[:sent]
        if self._out:
            self._write_later(progressed=bool(sent))
        else:
            self._all_sent()

    def _write_with_fds(self) -> int:
        at, fds = self._out_fds[0]
        if at:
            sent = self._sock.send(bytes(self._out[:at]))
        else:
            end = self._out_fds[1][0] if len(self._out_fds) > 1 else len(self._out)
            sent = ancillary.send(self._sock, bytes(self._out[:end]), fds)
            close_all(fds)
            self._out_fds = self._out_fds[1:]
        self._out_fds = tuple((place - sent, held) for place, held in self._out_fds)
        return sent

    def _write_later(self, *, progressed: bool) -> None:
        if self._stall is None:
            self._loop.add_writer(self._sock.fileno(), self._writable)
        elif progressed:
            self._stall.cancel()
        if self._stall is None or progressed:
            self._stall = self._loop.call_later(self._limits.stall_s, self._stalled)

    def _writable(self) -> None:
        self._write()
        if self._stall is None and self._sock.fileno() >= 0 and self._task is None:
            self._advance()

    def _stalled(self) -> None:
        if self._stall is not None and is_late(self._loop, self._stall):
            self._stall = self._loop.call_later(self._limits.stall_s, self._stalled)
            return
        logger.warning("%s does not read its replies; disconnected", self.peer)
        self._gone = True
        self.close()

    def _all_sent(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
            self._loop.remove_writer(self._sock.fileno())
        self._tell_sent()
        if self._speak is not None and not self._gone:
            self._hand_over(self._speak)
        elif self._over:
            self.close()

    async def _until_drained(self) -> None:
        if len(self._out) > self._limits.waiting_bytes:
            await self._until_sent()

    async def _until_sent(self) -> None:
        if self._drained is None:
            self._drained = self._loop.create_future()
        # Two may wait: a stream, and whoever ends it.
        await asyncio.shield(self._drained)

    def _tell_sent(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def _drop_fds(self) -> None:
        for _, fds in self._out_fds:
            close_all(fds)
        self._out_fds = ()
        if self._arrivals is not None:
            self._arrivals.close()

    # --- another protocol -------------------------------------------------------------------------

    def _hand_over(self, speak: Speak) -> None:
        self._read_no_more()
        if self._watch is not None:
            self._watch.cancel()
        self._drop_fds()
        early = self._machine.trailing_data()
        self._upgraded = UserSocket(fileno=self._sock.detach())
        self._task = self._loop.create_task(self._speak_on(speak, self._upgraded, early))

    async def _speak_on(self, speak: Speak, sock: UserSocket, early: bytes) -> None:
        try:
            if inspect.iscoroutinefunction(speak):
                with sock:
                    sock.setblocking(False)
                    await speak(sock, early)
            else:
                await self._speak_in_thread(speak, sock, early)
        except Exception:
            logger.exception("an upgraded connection failed")
        finally:
            self._upgraded = None
            self._closed(self)

    async def _speak_in_thread(self, speak: Speak, sock: UserSocket, early: bytes) -> None:
        def run() -> None:
            # Closed here and not on the loop, which may end while this thread still uses it.
            with sock:
                sock.setblocking(True)
                speak(sock, early)

        spoken = self._threads.submit(run)
        try:
            await asyncio.wrap_future(spoken)
        finally:
            if spoken.cancelled():
                sock.close()

    def _end_upgraded(self, sock: UserSocket) -> None:
        try:
            sock.shutdown(SHUT_RDWR)  # wakes a thread that reads
        except OSError:
            pass  # the peer was quicker, or the socket was detached
        assert self._task is not None
        self._task.cancel()
