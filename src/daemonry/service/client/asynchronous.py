"""The asyncio client of typed calls.

Owns one connection on a loop, from the same state machine as the blocking one.  Calls made at
the same time wait for each other: replies come in the order of the calls, and one that is slow
holds those behind it.  `Pool` gives each its own connection.  A stream holds up nobody: calls that
come while it goes on have a connection beside it.

A client belongs to the loop on which it is used first.  Where that was closed, or is the parent's of a
forked process, it moves to the loop of its next call; where it still exists, another loop is refused,
since what two threads do to one connection at the same time cannot be right.

The loop watches the connection from its first to its last moment, so that a call costs no system
call but to send and to receive; only a daemon that sends more than is asked for is not listened to
for a while.  It also tells at once that an idle connection has ended.
"""

from __future__ import annotations

import asyncio
from _socket import socket as Socket
from asyncio.events import _get_running_loop as running_loop  # None where `get_running_loop` raises
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from math import inf
from socket import socket as UserSocket
from typing import TYPE_CHECKING, Any, Self, TypeVar

from daemonry import errors
from daemonry.backoff import delays
from daemonry.clock import Deadline, monotonic
from daemonry.limits import CONNECT_RETRY_FIRST_S, CONNECT_RETRY_MAX_S, CONNECT_TIMEOUT_S, READ_BYTES
from daemonry.process.forks import not_for_children
from daemonry.service.client.conversation import Conversation
from daemonry.service.client.link import time_left_s
from daemonry.service.client.replies import CALL_TIMEOUT_S, failed, first_deadline
from daemonry.service.client.retry import Attempts
from daemonry.transport import ancillary
from daemonry.transport.ancillary import Arrivals, Fd, close_all
from daemonry.transport.connect import connect
from daemonry.transport.endpoint import TCP, Endpoint
from daemonry.wire import fast_varlink
from daemonry.wire.varlink import AnyReply, Call

if TYPE_CHECKING:
    from daemonry.service.client.proxy import Converter
    from daemonry.service.interface.declare import Interface
    from daemonry.transport.stream import Stream
    from daemonry.wire.connection import Codec

    AnyInterface = TypeVar("AnyInterface", bound="Interface")

# The resolution of uvloop's timers: what is left of a wait below it is no wait.
_TIMER_STEP_S = 0.001


class AsyncClient:
    """A connection to a daemon, on the running loop.  Make one with `connect`, and close it.

    Made by `connect`, it connects anew and calls again as the blocking client does, and can be
    pickled.

    Args:
        sock: a connected socket, which the client closes; None to connect with the first call.
        peer: who is at the other end, for people.
        endpoint: where to connect anew; None for never.
    """

    def __init__(
        self,
        sock: Socket | None,
        peer: str,
        endpoint: Endpoint | None = None,
        reconnect: Callable[[Endpoint, float], Awaitable[Stream]] | None = None,
    ) -> None:
        self.peer = peer
        self._endpoint = endpoint
        self._reconnect_by = _connected if reconnect is None else reconnect
        self._loop: asyncio.AbstractEventLoop | None = None  # for the first call to say
        self._closed = False
        self._inherited = False  # the connection was the parent process's
        self._beside: AsyncClient | None = None  # has the calls while a stream goes on here
        self._busy = False  # whether a call has its turn
        self._turns: deque[asyncio.Future[None]] = deque()
        self._streaming: asyncio.Task[Any] | None = None  # who has the turn while its stream goes on
        self._takes_fds = False
        self._received: list[Fd] = []
        # One timer for all waits: it is moved when it is too late, and looks again when too early.
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = 0.0
        self._until_s = inf  # until when the waiter waits
        if sock is not None:
            self._loop = asyncio.get_running_loop()
        self._begin(sock)
        not_for_children(self)

    def _begin(self, sock: Socket | None) -> None:
        self._sock = _closed_socket() if sock is None else sock
        self._talk = Conversation(_codec, self.peer)
        self._arrivals = Arrivals() if self._takes_fds else None
        self._read_bytes = 0
        # Who waits for bytes, and is given them; or for room to send.
        self._waiter: asyncio.Future[bytes] | None = None
        self._is_sending = False
        self._is_reading = False
        if sock is None:
            self._talk.at_rest = False
            return
        sock.setblocking(False)
        self._read_on()

    def _read_on(self) -> None:
        assert self._loop is not None
        self._loop.add_reader(self._sock.fileno(), self._readable)
        self._is_reading = True

    @classmethod
    async def connect(cls, target: str | Endpoint, timeout_s: float = CONNECT_TIMEOUT_S) -> Self:
        """Connect to a daemon by its endpoint.

        Raises:
            As `daemonry.connect`: nothing was sent.
        """
        endpoint = target if isinstance(target, Endpoint) else Endpoint.parse(target)
        stream = await _connected(endpoint, timeout_s)
        return cls(stream.take_socket(), stream.peer, endpoint)

    @property
    def closed(self) -> bool:
        """Whether the connection has ended; the next call makes a new one, if it may."""
        return self._sock.fileno() < 0 and (self._beside is None or self._beside.closed)

    def close(self) -> None:
        """End the connection, for good; a call that is under way fails with `ClientClosed`.

        Twice is not an error.  From another thread than the loop's it is done by the loop, soon.
        """
        self._closed = True
        if self._beside is not None:
            self._beside.close()
        loop = self._loop
        if loop is not None and loop.is_running() and loop is not running_loop():
            try:
                loop.call_soon_threadsafe(self._disconnect)
            except RuntimeError:
                pass  # it has ended meanwhile
            else:
                return
        self._disconnect()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._closed:
            raise TypeError(f"cannot pickle the client of {self.peer}: it is closed")
        if self._endpoint is None:
            raise TypeError(
                f"cannot pickle the client of {self.peer}: it has this one connection and knows no endpoint"
            )
        return type(self), (None, self.peer, self._endpoint, self._reconnect_by)

    def _disconnect(self) -> None:
        self._talk.at_rest = False
        loop_lives = self._loop is not None and not self._loop.is_closed()
        if loop_lives:
            self._stop_watching()
        self._sock.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiter = self._waiter
        if loop_lives and waiter is not None and not waiter.done():
            waiter.set_exception(self._lost("maybe"))
        close_all(self.take_fds())
        if self._arrivals is not None:
            self._arrivals.close()

    # --- its loop, its process, its end -------------------------------------------------------

    def _elsewhere(self, *, stream: bool = False) -> AsyncClient | None:
        """Return the client beside this one if it is to make the call; None to make it here.

        Args:
            stream: the call is a stream, which takes no turns and holds up nobody.

        Raises:
            WrongLoop: this is another loop's, which still exists.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._move_to(loop)
        if self._endpoint is None or (self._streaming is None and not (stream and self._busy)):
            return None
        if self._beside is None:
            self._beside = type(self)(None, self.peer, self._endpoint, self._reconnect_by)
            if self._closed:
                self._beside.close()
        return self._beside

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        if not may_move(self._loop):
            raise errors.WrongLoop(self.peer)
        self._loop = loop
        self._busy = self._is_reading = self._is_sending = False
        self._turns = deque()
        self._streaming = self._waiter = self._timer = None
        if not self._talk.at_rest:
            self._sock.close()
        elif self._sock.fileno() >= 0:
            self._read_on()

    def drop_in_child(self) -> None:
        """Close this process's copy; the connection, the loop and what the loop watches are the parent's."""
        self._sock.close()
        self._talk.at_rest = False
        self._inherited = True
        self._loop = None
        if self._arrivals is not None:
            self._arrivals.close()
        close_all(self.take_fds())

    def _lost(self, ran: errors.Ran) -> errors.ConnectionLost:
        """Return the error for a connection that is gone."""
        if self._closed:
            return errors.ClientClosed(self.peer, ran)
        if self._inherited and self._endpoint is None:
            return errors.InheritedConnection(self.peer, ran)
        return errors.ConnectionLost(self.peer, ran)

    # --- calls --------------------------------------------------------------------------------

    async def call(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
        idempotent: bool = False,
    ) -> dict[str, Any]:
        """Call a method and return the fields of its reply; as the blocking client's.

        A call that is cancelled ends the connection: its reply would be taken for the next one's.
        """
        beside = self._elsewhere()
        if beside is not None:
            return await beside.call(method, parameters, timeout_s=timeout_s, idempotent=idempotent)
        deadline = Deadline(timeout_s)
        reply = await self._answered(Call(method, parameters), deadline, idempotent=idempotent)
        fields: dict[str, Any] = reply.parameters
        return fields

    async def call_typed(
        self, converter: Converter, given: Mapping[str, Any], frame: bytes | None, timeout_s: float
    ) -> Any:
        """Call a method as a proxy does and return its result; as the blocking client's."""
        if self._loop is not running_loop() or self._streaming is not None:
            beside = self._elsewhere()
            if beside is not None:
                return await beside.call_typed(converter, given, frame, timeout_s)
        deadline = Deadline(timeout_s)
        failure = received = None
        if self._busy:
            await self._take_turn(deadline)
        self._busy = True
        try:
            talk = self._talk
            if talk.at_rest and self._arrivals is None and frame is not None:
                talk.at_rest = False  # until the reply is here, whatever happens between
                try:
                    sent = self._send_some(frame)
                    if sent < len(frame):
                        await self._send_rest(frame[sent:], deadline)
                    received = await self._wait(deadline)
                except errors.IpcError as error:
                    failure = self._failure(error, deadline)
                else:
                    result = converter.read(received)
                    if result is not NotImplemented:
                        talk.at_rest = True
                        return result
            call = Call(converter.full_name, converter.plain(given))
            reply = await self._made(
                call, deadline, idempotent=converter.idempotent, failure=failure, received=received
            )
        finally:
            self._give_turn()
        return converter.result(reply.parameters)

    async def call_with_fds(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        fds: Sequence[Fd] = (),
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> tuple[dict[str, Any], list[Fd]]:
        """As `call`, passing descriptors and returning those that came back: see the blocking client."""
        beside = self._elsewhere()
        if beside is not None:
            return await beside.call_with_fds(method, parameters, fds, timeout_s=timeout_s)
        self.accept_fds()
        reply = await self._answered(Call(method, parameters), Deadline(timeout_s), fds)
        return reply.parameters, self.take_fds()

    def stream(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        fds: Sequence[Fd] = (),
        idle_s: float | None = None,
        first_s: float | None = None,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Call a method that gives several replies and yield the fields of each; as the blocking client's.

        Leaving the loop early ends the connection.
        """
        call = Call(method, parameters, more=True)
        return self._streamed(call, fds, first_s, idle_s, passes_fds=bool(fds), pairs=False)

    def stream_with_fds(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        fds: Sequence[Fd] = (),
        *,
        idle_s: float | None = None,
        first_s: float | None = None,
    ) -> AsyncGenerator[tuple[dict[str, Any], list[Fd]], None]:
        """As `stream`, and yield with the fields of each reply the descriptors that came with it."""
        call = Call(method, parameters, more=True)
        return self._streamed(call, fds, first_s, idle_s, passes_fds=True, pairs=True)

    async def _streamed(
        self,
        call: Call,
        fds: Sequence[Fd],
        first_s: float | None,
        idle_s: float | None,
        *,
        passes_fds: bool,
        pairs: bool,
    ) -> AsyncGenerator[Any, None]:
        with _closing(fds):
            beside = self._elsewhere(stream=True)
            if beside is not None:
                way = beside.stream_with_fds if pairs else beside.stream
                given = way(call.method, call.parameters, fds=fds, idle_s=idle_s, first_s=first_s)
                async with aclosing(given) as replies:
                    async for reply in replies:
                        yield reply
                return
            if passes_fds:
                self.accept_fds()
            async with aclosing(self._streamed_here(call, fds, first_s, idle_s)) as replies:
                async for fields in replies:
                    yield (fields, self.take_fds()) if pairs else fields

    async def _streamed_here(
        self, call: Call, fds: Sequence[Fd], first_s: float | None, idle_s: float | None
    ) -> AsyncGenerator[dict[str, Any], None]:
        finished = False
        deadline = first_deadline(first_s, idle_s)
        await self._take_turn(deadline)
        self._streaming = asyncio.current_task()
        try:
            await self._sent(call, deadline, fds)
            while not finished:
                reply = await self._reply(deadline)
                deadline = Deadline(idle_s)
                finished = not reply.continues
                if reply.error is not None:
                    raise failed(reply)
                if reply.continues or reply.parameters:
                    yield reply.parameters
        finally:
            self._streaming = None
            if not finished:
                self._disconnect()
            self._give_turn()

    async def oneway(self, method: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Send a call that is not answered; whether it ran is not known."""
        beside = self._elsewhere()
        if beside is not None:
            return await beside.oneway(method, parameters)
        deadline = Deadline(CALL_TIMEOUT_S)
        await self._take_turn(deadline)
        try:
            await self._sent(Call(method, parameters, oneway=True), deadline)
        finally:
            self._give_turn()

    async def upgrade(
        self, method: str, parameters: Mapping[str, Any] | None = None, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> tuple[dict[str, Any], UserSocket, bytes]:
        """Call a method behind whose reply the connection speaks another protocol.

        Returns:
            The fields of the reply, the socket, which does not block and is the caller's to close,
            and what came early.  The client makes another connection with its next call.

        Raises:
            As `call`.  The connection is closed then.
        """
        beside = self._elsewhere()
        if beside is not None:
            return await beside.upgrade(method, parameters, timeout_s=timeout_s)
        try:
            reply = await self._answered(Call(method, parameters, upgrade=True), Deadline(timeout_s))
        except errors.CallFailed:
            self._disconnect()
            raise
        early = self._talk.trailing_data()
        self._stop_watching()
        sock = UserSocket(fileno=self._sock.detach())
        self._disconnect()
        return reply.parameters, sock, early

    def accept_fds(self) -> None:
        """Take descriptors from now on; what comes to a client that does not, the kernel closes."""
        self._takes_fds = True
        if self._arrivals is None:
            self._arrivals = Arrivals()

    def take_fds(self) -> list[Fd]:
        """Return the descriptors of the last reply; they are the caller's from now on."""
        received, self._received = self._received, []
        return received

    def proxy(self, kind: type[AnyInterface], *, timeout_s: float = CALL_TIMEOUT_S) -> AnyInterface:
        """Return an object with the methods of an interface, as coroutines and async iterators."""
        from daemonry.service.client.proxy import async_proxy

        return async_proxy(self, kind, timeout_s)

    # --- turns --------------------------------------------------------------------------------

    async def _take_turn(self, deadline: Deadline) -> None:
        """Wait until no other call is under way; behind it, `_give_turn` has to follow."""
        if not self._busy:
            self._busy = True
            return
        if self._streaming is asyncio.current_task():
            raise errors.LocalProtocolError("a stream has replies to come: use another connection")
        turn = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            async with asyncio.timeout(deadline.remaining_s()):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give_turn()
            if isinstance(error, TimeoutError):
                timeout_s = deadline.timeout_s or 0.0
                raise errors.DeadlineExceeded("turn", timeout_s, "no", self.peer) from None
            raise

    def _give_turn(self) -> None:
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)  # who is next stays busy for all others
                return
        self._busy = False

    # --- a call and its attempts --------------------------------------------------------------

    async def _answered(
        self, call: Call, deadline: Deadline, fds: Sequence[Fd] = (), *, idempotent: bool = False
    ) -> AnyReply:
        with _closing(fds):
            await self._take_turn(deadline)
            try:
                return await self._made(call, deadline, fds, idempotent=idempotent)
            finally:
                self._give_turn()

    async def _made(
        self,
        call: Call,
        deadline: Deadline,
        fds: Sequence[Fd] = (),
        *,
        idempotent: bool,
        failure: errors.IpcError | None = None,
        received: bytes | None = None,
    ) -> AnyReply:
        """Make a call until it is answered, and return its reply; as the blocking client's `_answered`."""
        attempts = None
        while True:
            try:
                if failure is not None:
                    raise failure
                if received is None:
                    await self._send(call, deadline, fds)
                else:
                    self._talk.frame(call)
                    self._talk.receive(received)
                reply = await self._reply(deadline)
                break
            except errors.IpcError as error:
                failure = received = None
                attempts = await self._again(error, deadline, attempts, idempotent=idempotent and not fds)
        if reply.error is not None:
            raise failed(reply)
        return reply

    async def _sent(self, call: Call, deadline: Deadline, fds: Sequence[Fd] = ()) -> None:
        """Send a call, on a new connection where the one that is there turns out to be lost."""
        attempts = None
        while True:
            try:
                return await self._send(call, deadline, fds)
            except errors.IpcError as error:
                attempts = await self._again(error, deadline, attempts, idempotent=False)

    async def _again(
        self, error: errors.IpcError, deadline: Deadline, attempts: Attempts | None, *, idempotent: bool
    ) -> Attempts:
        """Return when the call is to be made again; else raise what became of it."""
        if attempts is None:
            reconnects = self._endpoint is not None and not self._closed
            attempts = Attempts(idempotent=idempotent, reconnects=reconnects)
        await asyncio.sleep(attempts.wait_s(error, deadline.remaining_s()))
        return attempts

    # --- one connection -----------------------------------------------------------------------

    async def _reconnect(self, deadline: Deadline) -> None:
        if self._endpoint is None or self._closed:
            raise self._lost("no")
        left_s = deadline.remaining_s()
        stream = await self._reconnect_by(self._endpoint, CONNECT_TIMEOUT_S if left_s is None else left_s)
        if self._closed:  # meanwhile
            stream.close()
            raise self._lost("no")
        self._begin(stream.take_socket())

    async def _send(self, call: Call, deadline: Deadline, fds: Sequence[Fd]) -> None:
        if self._sock.fileno() < 0:
            await self._reconnect(deadline)
        try:
            data = self._talk.frame(call)
        except errors.RemoteProtocolError:
            self._disconnect()
            raise
        try:
            sent = self._send_some(data, fds)
            if sent < len(data):
                await self._send_rest(data[sent:], deadline, fds if not sent else ())
        except errors.IpcError as error:
            raise self._failure(error, deadline) from error

    def _send_some(self, data: bytes, fds: Sequence[Fd] = ()) -> int:
        try:
            return ancillary.send(self._sock, data, fds) if fds else self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._not_taken() from error

    def _not_taken(self) -> errors.DaemonryError:
        """End the connection and return why nothing is taken: the other side may have said so and closed.

        The frame's end was not sent, so that nothing ran.
        """
        try:
            refusal = self._talk.refusal_in(self._sock.recv(READ_BYTES))
        except OSError:
            refusal = None  # nothing is there
        finally:
            self._disconnect()
        return self._lost("no") if refusal is None else refusal

    async def _send_rest(self, data: bytes, deadline: Deadline, fds: Sequence[Fd] = ()) -> None:
        while data:
            self._is_sending = True
            loop = asyncio.get_running_loop()
            loop.add_writer(self._sock.fileno(), self._writable)
            try:
                await self._wait(deadline)
            except errors.DeadlineExceeded:
                raise errors.DeadlineExceeded("write", 0.0, "no", self.peer) from None
            except errors.ConnectionLost:  # by `close`
                raise self._lost("no") from None
            finally:
                if self._is_sending:
                    loop.remove_writer(self._sock.fileno())
                    self._is_sending = False
            sent = self._send_some(data, fds)
            if sent:
                data, fds = data[sent:], ()

    async def _reply(self, deadline: Deadline) -> AnyReply:
        """Return the next reply, with its descriptors in `_received`.

        Raises:
            As `call`; the connection is closed then.
        """
        talk = self._talk
        if self._received:
            close_all(self.take_fds())
        try:
            while True:
                start = self._read_bytes - talk.buffered_bytes
                reply = talk.next_reply()
                if reply is not None:
                    break
                talk.receive(await self._wait(deadline))
        except errors.IpcError as error:
            raise self._failure(error, deadline) from error
        if self._arrivals is not None:
            self._received = self._arrivals.take(start)
            self._arrivals.drop(self._read_bytes - talk.buffered_bytes)
        return reply

    def _failure(self, error: errors.IpcError, deadline: Deadline) -> errors.IpcError:
        """End the connection and return what an error there says of the call."""
        self._disconnect()
        if isinstance(error, errors.DeadlineExceeded):
            return errors.DeadlineExceeded(error.phase, deadline.timeout_s or 0.0, error.ran, self.peer)
        return error

    # --- the socket ---------------------------------------------------------------------------

    async def _wait(self, deadline: Deadline) -> bytes:
        """Wait for bytes and return them; while sending, for room.

        Raises:
            DeadlineExceeded, ConnectionLost: as they are for a call that was sent.
        """
        if not self._is_reading and not self._is_sending:
            if self._sock.fileno() < 0:
                raise self._lost("maybe")
            self._read_on()
        at_s = deadline.at_s
        if at_s is None:
            self._until_s = inf
        else:
            self._until_s = at_s
            if self._timer is None or at_s < self._timer_at_s:
                self._set_timer(at_s)
        assert self._loop is not None
        waiter: asyncio.Future[bytes] = self._loop.create_future()
        self._waiter = waiter
        try:
            return await waiter
        except (errors.IpcError, OSError):
            raise
        except BaseException:  # a cancellation: what comes now would be taken for the next call's reply
            self._disconnect()
            raise
        finally:
            self._waiter = None

    def _set_timer(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_s = at_s
        assert self._loop is not None
        self._timer = self._loop.call_later(max(0.0, at_s - monotonic()), self._look_at_time)

    def _look_at_time(self) -> None:
        self._timer = None
        waiter = self._waiter
        if waiter is None or waiter.done() or self._until_s == inf:
            return
        if self._until_s - monotonic() > _TIMER_STEP_S:
            self._set_timer(self._until_s)
        else:
            waiter.set_exception(errors.DeadlineExceeded("reply", 0.0, "maybe", self.peer))

    def _readable(self) -> None:
        waiter = self._waiter
        if waiter is None or self._is_sending or waiter.done():
            if self._busy:
                # Nobody asks for more now: the daemon shall wait.
                assert self._loop is not None
                self._loop.remove_reader(self._sock.fileno())
                self._is_reading = False
            else:
                self._disconnect()  # it ended, or sends what nobody asked for
            return
        try:
            waiter.set_result(self._read())
        except BlockingIOError:
            pass
        except OSError as error:
            lost = errors.ConnectionLost(self.peer, "maybe")
            lost.__cause__ = error
            waiter.set_exception(lost)

    def _writable(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(b"")

    def _read(self) -> bytes:
        if self._arrivals is None:
            data = self._sock.recv(READ_BYTES)
        else:
            data, fds = ancillary.receive(self._sock)
            if fds:
                self._arrivals.add(self._read_bytes, self._read_bytes + len(data), fds)
        self._read_bytes += len(data)
        return data

    def _stop_watching(self) -> None:
        loop = self._loop
        if loop is None:
            return
        if self._is_reading:
            loop.remove_reader(self._sock.fileno())
            self._is_reading = False
        if self._is_sending:
            loop.remove_writer(self._sock.fileno())
            self._is_sending = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()


def may_move(own: asyncio.AbstractEventLoop | None) -> bool:
    """Say whether what belonged to a loop may go on with another: nothing happens on it any more."""
    return own is None or own.is_closed()


def _left_s(deadline: Deadline) -> float:
    left_s = time_left_s(deadline)
    return inf if left_s is None else left_s


def _closed_socket() -> Socket:
    sock = Socket()
    sock.close()
    return sock


@contextmanager
def _closing(fds: Sequence[Fd]) -> Iterator[None]:
    """Close descriptors at the end of the block."""
    try:
        yield
    finally:
        close_all(fds)


def _codec() -> Codec:
    return fast_varlink


async def _connected(endpoint: Endpoint, timeout_s: float) -> Stream:
    """As `daemonry.connect`, and the loop goes on meanwhile."""
    if endpoint.kind == TCP:
        # Names are looked up, and the handshake waited for, in a thread.
        return await asyncio.to_thread(connect, endpoint, timeout_s)
    deadline = Deadline(timeout_s)
    for delay_s in delays(CONNECT_RETRY_FIRST_S, CONNECT_RETRY_MAX_S):
        try:
            return connect(endpoint, 0.0)
        except errors.DeadlineExceeded:
            if deadline.expired:
                raise errors.DeadlineExceeded("connect", timeout_s, "no", str(endpoint)) from None
            await asyncio.sleep(delay_s)
    raise AssertionError("delays() is endless")


class Pool:
    """Connections to one daemon, one for each call that runs at the same time.

    A connection that was lost is replaced; which calls are made again then, `Client` says.  As a client
    it belongs to one loop at a time, makes its own connections after a fork, and can be pickled.

    Args:
        target: the daemon's endpoint.
        most: how many connections there may be; further calls wait for one.
    """

    def __init__(self, target: str | Endpoint, most: int = 16) -> None:
        self._target = target if isinstance(target, Endpoint) else Endpoint.parse(target)
        self._most = most
        self._closed = False
        self._begin(None)
        not_for_children(self)

    def _begin(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._free: list[AsyncClient] = []
        self._places = asyncio.Semaphore(self._most)

    def drop_in_child(self) -> None:
        """Forget all connections: they are the parent's, and each has closed its copy."""
        self._begin(None)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._closed:
            raise TypeError(f"cannot pickle the pool of {self._target}: it is closed")
        return type(self), (self._target, self._most)

    async def call(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
        idempotent: bool = False,
    ) -> dict[str, Any]:
        """Call a method on a connection that is free, or a new one; as `AsyncClient.call`."""
        deadline = Deadline(timeout_s)
        client = await self._take(deadline)
        try:
            left_s = time_left_s(deadline) or 0.0
            return await client.call(method, parameters, timeout_s=left_s, idempotent=idempotent)
        finally:
            self._put_back(client)

    async def call_typed(
        self, converter: Converter, given: Mapping[str, Any], frame: bytes | None, timeout_s: float
    ) -> Any:
        """Call a method as a proxy does, as `AsyncClient.call_typed`."""
        deadline = Deadline(timeout_s)
        client = await self._take(deadline)
        try:
            return await client.call_typed(converter, given, frame, time_left_s(deadline) or 0.0)
        finally:
            self._put_back(client)

    async def stream(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        idle_s: float | None = None,
        first_s: float | None = None,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Call a method that gives several replies, on a connection of its own; as `AsyncClient.stream`."""
        deadline = first_deadline(first_s, idle_s)
        client = await self._take(deadline)
        try:
            replies = client.stream(method, parameters, idle_s=idle_s, first_s=_left_s(deadline))
            async with aclosing(replies):
                async for fields in replies:
                    yield fields
        finally:
            self._put_back(client)

    async def oneway(self, method: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Send a call that is not answered; whether it ran is not known."""
        client = await self._take(Deadline(CALL_TIMEOUT_S))
        try:
            await client.oneway(method, parameters)
        finally:
            self._put_back(client)

    def proxy(self, kind: type[AnyInterface], *, timeout_s: float = CALL_TIMEOUT_S) -> AnyInterface:
        """Return an object with the methods of an interface, as `AsyncClient.proxy`."""
        from daemonry.service.client.proxy import async_proxy

        return async_proxy(self, kind, timeout_s)

    def close(self) -> None:
        """End all connections: those that are free now, the others with their calls."""
        self._closed = True
        self.close_free()

    def close_free(self) -> None:
        """End the connections that no call has."""
        while self._free:
            self._free.pop().close()

    async def _take(self, deadline: Deadline) -> AsyncClient:
        """Return a connection, once there may be one more; it is put back by `_put_back`."""
        if self._closed:
            raise errors.ClientClosed(str(self._target), "no")
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if not may_move(self._loop):
                raise errors.WrongLoop(str(self._target))
            self.close_free()
            self._begin(loop)
        if self._places.locked():
            await self._wait_for_place(deadline)
        else:
            await self._places.acquire()  # at once
        while self._free:
            client = self._free.pop()
            if not client.closed:
                return client
        try:
            left_s = time_left_s(deadline)
            connect_s = CONNECT_TIMEOUT_S if left_s is None else min(left_s, CONNECT_TIMEOUT_S)
            return await AsyncClient.connect(self._target, connect_s)
        except BaseException:
            self._places.release()
            raise

    async def _wait_for_place(self, deadline: Deadline) -> None:
        try:
            async with asyncio.timeout(deadline.remaining_s()):
                await self._places.acquire()
        except TimeoutError:
            raise errors.DeadlineExceeded(
                "turn", deadline.timeout_s or 0.0, "no", str(self._target)
            ) from None

    def _put_back(self, client: AsyncClient) -> None:
        if self._closed:
            client.close()
        elif not client.closed:
            self._free.append(client)
        self._places.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()
