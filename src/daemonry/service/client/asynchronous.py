"""The asyncio client of typed calls.

Owns how the steps of a call are performed where waiting is awaited, and the short way of a typed call.
What the steps are, and what a failure of one means for the call, is `engine`'s; each connection is an
`async_line`'s.  Calls made at the same time wait for each other: replies come in the order of the calls,
and one that is slow holds those behind it.  `Pool` gives each its own connection.  A stream holds up
nobody: calls that come while it goes on have a connection beside it.

A client belongs to the loop on which it is used first.  Where that was closed, or is the parent's of a
forked process, it moves to the loop of its next call; where it still exists, another loop is refused,
since what two threads do to one connection at the same time cannot be right.
"""

from __future__ import annotations

import asyncio
from _socket import socket as Socket
from asyncio.events import _get_running_loop as running_loop  # None where `get_running_loop` raises
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from socket import socket as UserSocket
from typing import TYPE_CHECKING, Any, Self, TypeVar

from daemonry import errors
from daemonry.backoff import delays
from daemonry.clock import Deadline
from daemonry.limits import CONNECT_RETRY_FIRST_S, CONNECT_RETRY_MAX_S, CONNECT_TIMEOUT_S
from daemonry.process.forks import not_for_children
from daemonry.service.client.async_line import AsyncLine
from daemonry.service.client.engine import (
    CALL_TIMEOUT_S,
    DELIVER,
    PEEK,
    READ,
    SLEEP,
    WRITE,
    Engine,
    NamedMethod,
    StartedCall,
    connect_time_s,
    first_deadline,
)
from daemonry.service.client.in_thread import made_in_thread
from daemonry.service.client.remote import AsyncRemote
from daemonry.transport.ancillary import Fd, close_all
from daemonry.transport.connect import connect
from daemonry.transport.endpoint import SSH, TCP, Endpoint
from daemonry.wire import fast_varlink
from daemonry.wire.varlink import Call

if TYPE_CHECKING:
    from os import PathLike

    from daemonry.service.client.async_pipeline import AsyncPipeline
    from daemonry.service.client.engine import Steps
    from daemonry.service.client.proxy import Converter, Given
    from daemonry.service.interface.declare import Interface
    from daemonry.transport.stream import Stream

    AnyInterface = TypeVar("AnyInterface", bound="Interface")


class AsyncDriver(Engine):
    """Performs the steps of calls on a loop, and has the connections that it performs them on.

    Args: as `AsyncClient`.
    """

    def __init__(
        self,
        sock: Socket | None,
        peer: str,
        endpoint: Endpoint | None = None,
        reconnect: Callable[[Endpoint, float], Awaitable[Stream]] | None = None,
    ) -> None:
        self._whom = peer
        self._endpoint = endpoint
        self._reconnect_by = _connected if reconnect is None else reconnect
        self._closed = False
        # Those behind the first one have the calls that come while a stream goes on.
        self._lines = [AsyncLine(peer)]
        if sock is not None:
            self._lines[0].loop = asyncio.get_running_loop()
            self._lines[0].connect(sock)
        not_for_children(self)

    @property
    def closed(self) -> bool:
        """Whether the connection has ended; the next call makes a new one, if it may."""
        return not any(line.is_open for line in self._lines)

    def close(self) -> None:
        """End the connection, for good; a call that is under way fails with `ClientClosed`.

        Twice is not an error.  From another thread than the loop's it is done by the loop, soon.
        """
        self._closed = True
        loop = self._lines[0].loop
        if loop is not None and loop.is_running() and loop is not running_loop():
            try:
                loop.call_soon_threadsafe(self._disconnect)
            except RuntimeError:
                pass  # it has ended meanwhile
            else:
                return
        self._disconnect()

    def _disconnect(self) -> None:
        for line in self._lines:
            line.disconnect()

    def __repr__(self) -> str:
        lines = self._lines
        waiting = sum(line.waiting for line in lines)
        return self._state(sum(line.is_open for line in lines), sum(line.busy for line in lines), waiting)

    def drop_in_child(self) -> None:
        """Close this process's copies; the connections and the loop are the parent's."""
        for line in self._lines:
            line.drop_in_child()

    # --- which connection ---------------------------------------------------------------------

    def _line(self, *, stream: bool = False) -> AsyncLine:
        """Return the connection for a call.

        Args:
            stream: the call is a stream, which takes no turns and holds up nobody.

        Raises:
            WrongLoop: the client is another loop's, which still exists.
        """
        loop = asyncio.get_running_loop()
        for line in self._lines:
            if line.loop is not loop:
                line.move_to(loop)
            if self._endpoint is None or (line.streaming is None and not (stream and line.busy)):
                return line
        line = AsyncLine(self._whom)
        line.move_to(loop)
        self._lines.append(line)
        return line

    async def _lent(self, timeout_s: float) -> AsyncLine:
        """Return a connected line for a pipeline, which `_taken_back` gets behind it."""
        deadline = Deadline(timeout_s)
        line = self._line(stream=True)
        await line.take_turn(deadline)
        line.streaming = asyncio.current_task()  # beside the calls that are made meanwhile
        try:
            await self._perform(line, self._opened(line, deadline))
        except BaseException:
            self._taken_back(line)
            raise
        return line

    async def _renew(self, line: AsyncLine, timeout_s: float) -> None:
        """Connect the line of a pipeline again."""
        line.take_back()
        line.disconnect()
        await self._perform(line, self._opened(line, Deadline(timeout_s)))

    def _taken_back(self, line: AsyncLine) -> None:
        line.take_back()
        line.streaming = None
        line.give_turn()

    # --- the driver ---------------------------------------------------------------------------

    async def _in_turn(self, line: AsyncLine, steps: Steps[Any], deadline: Deadline) -> Any:
        """Perform a call's steps once it is its turn."""
        await line.take_turn(deadline)
        try:
            return await self._perform(line, steps)
        finally:
            line.give_turn()

    async def _perform(self, line: AsyncLine, steps: Steps[Any]) -> Any:
        """Perform steps up to the next reply of a stream, or to what came of the call; return that."""
        result: Any = None
        error: errors.DaemonryError | None = None
        try:
            while True:
                step = steps.send(result) if error is None else steps.throw(error)
                result = error = None
                kind = step.kind
                try:
                    if kind is READ:
                        result = await line.wait(step.deadline)
                    elif kind is WRITE:
                        await line.write(step.value, step.value_fds, step.deadline)
                    elif kind is DELIVER:
                        return step.value
                    elif kind is PEEK:
                        result = line.peek()
                    elif kind is SLEEP:
                        await asyncio.sleep(step.value)
                    else:
                        stream = await self._reconnect_by(step.value, connect_time_s(step.deadline))
                        line.connect(stream.take_socket())
                except errors.DaemonryError as raised:
                    error = raised
        except StopIteration as ended:
            return ended.value
        finally:
            error = None  # whose trace knows this frame


class AsyncClient(AsyncDriver, AsyncRemote):
    """A connection to a daemon, on the running loop.  Make one with `connect`, and close it.

    Made by `connect`, it reconnects and calls again as the blocking client does, and can be
    pickled.

    Args:
        sock: a connected socket, which the client closes; None to connect with the first call.
        peer: the other end, for people.
        endpoint: where to reconnect; None for never.
    """

    @classmethod
    async def connect(
        cls, target: str | PathLike[str] | Endpoint, timeout_s: float = CONNECT_TIMEOUT_S
    ) -> Self:
        """Connect to a daemon by its endpoint.

        Raises:
            As `daemonry.connect`: nothing was sent.
        """
        endpoint = target if isinstance(target, Endpoint) else Endpoint.to_connect(target)
        stream = await _connected(endpoint, timeout_s)
        return cls(stream.take_socket(), stream.peer, endpoint)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._packed(None, self.peer)

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
        named = NamedMethod(method, idempotent, fast_varlink)
        fields: dict[str, Any] = await self.call_typed(named, parameters, named.frame(parameters), timeout_s)
        return fields

    async def call_typed(
        self,
        converter: Converter | NamedMethod,
        given: Given | None,
        frame: bytes | None,
        timeout_s: float,
    ) -> Any:
        """Call a method as a proxy does and return its result; as the blocking client's."""
        line = self._lines[0]
        if line.loop is not running_loop() or line.streaming is not None:
            line = self._line()
        deadline = Deadline(timeout_s)
        begun = None
        if line.busy:
            await line.take_turn(deadline)
        line.busy = True
        try:
            talk = line.talk
            if talk.at_rest and line.arrivals is None and frame is not None:
                talk.at_rest = False  # until the reply is here, whatever happens between
                sent, received, failure = 0, None, None
                try:
                    sent = line.sock.send(frame)
                    if sent == len(frame):
                        received = await line.wait(deadline)
                except errors.IpcError as error:
                    failure = error
                except BlockingIOError:
                    pass  # there is no room for it now
                except OSError as error:
                    failure = errors.ConnectionLost(self.peer, "maybe")
                    failure.__cause__ = error
                if received is not None:
                    result = converter.read(received)
                    if result is not NotImplemented:
                        talk.at_rest = True
                        return result
                begun, failure = StartedCall(frame[sent:], received, failure), None
            return await self._perform(line, self._typed(line, converter, given, begun, deadline))
        finally:
            line.give_turn()

    async def call_with_fds(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        fds: Sequence[Fd] = (),
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> tuple[dict[str, Any], list[Fd]]:
        """As `call`, passing descriptors and returning those that came back: see the blocking client."""
        with _AsyncClosing(fds):
            line, deadline = self._line(), Deadline(timeout_s)
            line.passes_fds = True
            reply = await self._in_turn(
                line, self._answered(line, Call(method, parameters), deadline, fds), deadline
            )
            return reply.parameters, line.take_fds()

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

    def stream_typed(
        self, converter: Converter, parameters: Mapping[str, Any], first_s: float
    ) -> AsyncGenerator[Any, None]:
        """Call a method that gives several replies as a proxy does, and yield the result of each."""
        call = Call(converter.full_name, parameters, more=True)
        return self._streamed(call, (), first_s, None, passes_fds=False, pairs=False, converter=converter)

    async def _streamed(
        self,
        call: Call,
        fds: Sequence[Fd],
        first_s: float | None,
        idle_s: float | None,
        *,
        passes_fds: bool,
        pairs: bool,
        converter: Converter | None = None,
    ) -> AsyncGenerator[Any, None]:
        with _AsyncClosing(fds):
            deadline = first_deadline(first_s, idle_s)
            line = self._line(stream=True)
            await line.take_turn(deadline)
            line.streaming = asyncio.current_task()
            try:
                line.passes_fds = line.passes_fds or passes_fds
                steps = self._replies(line, call, fds, deadline, idle_s, converter)
                while (came := await self._perform(line, steps)) is not None:
                    if converter is not None:
                        for result in came:
                            yield result
                    else:
                        yield (came, line.take_fds()) if pairs else came
            finally:
                line.streaming = None
                line.give_turn()

    async def oneway(self, method: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Send a call that is not answered; whether it ran is not known."""
        line, deadline = self._line(), Deadline(CALL_TIMEOUT_S)
        steps = self._sent(line, Call(method, parameters, oneway=True), deadline)
        await self._in_turn(line, steps, deadline)

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
        line, deadline = self._line(), Deadline(timeout_s)
        steps = self._upgraded(line, Call(method, parameters, upgrade=True), deadline)
        fields, (sock, early) = await self._in_turn(line, steps, deadline)
        return fields, sock, early

    def pipeline(self, *, timeout_s: float = CALL_TIMEOUT_S) -> AsyncPipeline:
        """Return a pipeline, for an `async with` block: its calls are sent ahead of their replies.

        Args:
            timeout_s: how long to wait for each next reply, in seconds; for the connection too.
        """
        from daemonry.service.client.async_pipeline import AsyncPipeline

        async def lend() -> AsyncLine:
            return await self._lent(timeout_s)

        async def renew(line: AsyncLine) -> None:
            await self._renew(line, timeout_s)

        return AsyncPipeline(lend, renew, self._taken_back, self._lost, timeout_s)

    def accept_fds(self) -> None:
        """Take descriptors from now on; what comes to a client that does not, the kernel closes."""
        for line in self._lines:
            line.passes_fds = True
            line.accept_fds()

    def take_fds(self) -> list[Fd]:
        """Return the descriptors of the last reply; they are the caller's from now on."""
        return self._lines[0].take_fds()

    def proxy(self, kind: type[AnyInterface], *, timeout_s: float = CALL_TIMEOUT_S) -> AnyInterface:
        """Return an object with the methods of an interface, as coroutines and async iterators."""
        from daemonry.service.client.proxy import async_proxy

        return async_proxy(self, kind, timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()


class _AsyncClosing:
    """Closes descriptors at the end of a block."""

    def __init__(self, fds: Sequence[Fd]) -> None:
        self._fds = fds

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        close_all(self._fds)


async def _connected(endpoint: Endpoint, timeout_s: float) -> Stream:
    """As `daemonry.connect`, and the loop goes on meanwhile."""
    if endpoint.kind in (TCP, SSH):
        # Names are looked up, and the handshake waited for, in a thread.
        return await made_in_thread(lambda: connect(endpoint, timeout_s), lambda stream: stream)
    deadline = Deadline(timeout_s)
    for delay_s in delays(CONNECT_RETRY_FIRST_S, CONNECT_RETRY_MAX_S):
        try:
            return connect(endpoint, 0.0)
        except errors.DeadlineExceeded:
            if deadline.expired:
                raise errors.DeadlineExceeded("connect", timeout_s, "no", str(endpoint)) from None
            await asyncio.sleep(delay_s)
    raise AssertionError("delays() is endless")
