"""The asyncio client of typed calls.

Owns one connection on a loop, from the same state machine as the blocking one.  Calls made at
the same time wait for each other: replies come in the order of the calls, and one that is slow
holds those behind it.  `Pool` gives each its own connection.
"""

from __future__ import annotations

import asyncio
from _socket import socket as Socket
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from socket import socket as UserSocket
from typing import TYPE_CHECKING, Any, Self, TypeVar

from daemonry import errors
from daemonry.backoff import delays
from daemonry.clock import Deadline
from daemonry.limits import CONNECT_RETRY_FIRST_S, CONNECT_RETRY_MAX_S, CONNECT_TIMEOUT_S, READ_BYTES
from daemonry.service.blocking import CALL_TIMEOUT_S, failed
from daemonry.transport import ancillary
from daemonry.transport.ancillary import Arrivals, Fd, close_all
from daemonry.transport.connect import connect
from daemonry.transport.endpoint import TCP, Endpoint
from daemonry.wire import fast_varlink
from daemonry.wire.connection import ClientConnection, Ended
from daemonry.wire.varlink import AnyReply, Call

if TYPE_CHECKING:
    from daemonry.service.interface import Interface

    AnyInterface = TypeVar("AnyInterface", bound="Interface")


class AsyncClient:
    """A connection to a daemon, on the running loop.  Make one with `connect`."""

    def __init__(self, sock: Socket, peer: str) -> None:
        self.peer = peer
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._machine = ClientConnection(fast_varlink)
        self._turn = asyncio.Lock()
        self._streaming: asyncio.Task[Any] | None = None  # who holds the turn while its stream goes on
        self._arrivals: Arrivals | None = None
        self._received: list[Fd] = []
        self._read_bytes = 0
        self._sending = False
        sock.setblocking(False)

    @classmethod
    async def connect(cls, target: str | Endpoint, timeout_s: float = CONNECT_TIMEOUT_S) -> Self:
        """Connect to a daemon by its endpoint.

        Raises:
            As `daemonry.connect`: nothing was sent.
        """
        endpoint = target if isinstance(target, Endpoint) else Endpoint.parse(target)
        if endpoint.kind == TCP:
            # Names are looked up, and the handshake waited for, in a thread.
            stream = await asyncio.to_thread(connect, endpoint, timeout_s)
            return cls(stream.take_socket(), stream.peer)
        deadline = Deadline(timeout_s)
        for delay_s in delays(CONNECT_RETRY_FIRST_S, CONNECT_RETRY_MAX_S):
            try:
                stream = connect(endpoint, 0.0)
            except errors.DeadlineExceeded:
                if deadline.expired:
                    raise errors.DeadlineExceeded("connect", timeout_s, "no", str(endpoint)) from None
                await asyncio.sleep(delay_s)
            else:
                return cls(stream.take_socket(), stream.peer)
        raise AssertionError("delays() is endless")

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self._sock.fileno() < 0

    def close(self) -> None:
        """End the connection.  Twice is not an error."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()
        close_all(self.take_fds())
        if self._arrivals is not None:
            self._arrivals.close()

    async def call(
        self, method: str, parameters: Mapping[str, Any] | None = None, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> dict[str, Any]:
        """Call a method and return the fields of its reply; errors as the blocking client's.

        A call that is cancelled closes the connection: its reply would be taken for the next one's.
        """
        reply = await self._call(Call(method, parameters), timeout_s)
        fields: dict[str, Any] = reply.parameters
        return fields

    async def call_with_fds(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        fds: Sequence[Fd] = (),
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> tuple[dict[str, Any], list[Fd]]:
        """As `call`, passing descriptors and returning those that came back: see the blocking client."""
        self.accept_fds()
        try:
            reply = await self._call(Call(method, parameters), timeout_s, fds)
        finally:
            close_all(fds)
        return reply.parameters, self.take_fds()

    async def stream(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        fds: Sequence[Fd] = (),
        idle_s: float | None = None,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Call a method that gives several replies and yield the fields of each.

        Leaving the loop early closes the connection.
        """
        if fds:
            self.accept_fds()
        try:
            await self._take_turn(Deadline(idle_s))
        except BaseException:
            close_all(fds)
            raise
        finished = False
        self._streaming = asyncio.current_task()
        try:
            reply = await self._exchange(Call(method, parameters, more=True), Deadline(idle_s), fds)
            while True:
                finished = not reply.continues
                if reply.error is not None:
                    raise failed(reply)
                if reply.continues or reply.parameters:
                    yield reply.parameters
                if finished:
                    return
                reply = await self._in_time(self._reply(), Deadline(idle_s))
        finally:
            self._streaming = None
            self._turn.release()
            if not finished:
                self.close()

    async def oneway(self, method: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Send a call that is not answered; whether it ran is not known."""
        deadline = Deadline(CALL_TIMEOUT_S)
        await self._take_turn(deadline)
        try:
            await self._in_time(self._send(Call(method, parameters, oneway=True)), deadline)
        finally:
            self._turn.release()

    async def upgrade(
        self, method: str, parameters: Mapping[str, Any] | None = None, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> tuple[dict[str, Any], UserSocket, bytes]:
        """Call a method behind whose reply the connection speaks another protocol.

        Returns:
            The fields of the reply, the socket, which does not block and is the caller's to close,
            and what came early; this client is closed.

        Raises:
            As `call`.  The connection is closed then.
        """
        try:
            reply = await self._call(Call(method, parameters, upgrade=True), timeout_s)
        except errors.CallFailed:
            self.close()
            raise
        early = self._machine.trailing_data()
        return reply.parameters, UserSocket(fileno=self._sock.detach()), early

    def accept_fds(self) -> None:
        """Take descriptors from now on; what comes to a client that does not, the kernel closes."""
        if self._arrivals is None:
            self._arrivals = Arrivals()

    def take_fds(self) -> list[Fd]:
        """Return the descriptors of the last reply; they are the caller's from now on."""
        received, self._received = self._received, []
        return received

    def proxy(self, kind: type[AnyInterface], *, timeout_s: float = CALL_TIMEOUT_S) -> AnyInterface:
        """Return an object with the methods of an interface, as coroutines and async iterators."""
        from daemonry.service.proxy import async_proxy

        return async_proxy(self, kind, timeout_s)

    async def _call(self, call: Call, timeout_s: float, fds: Sequence[Fd] = ()) -> AnyReply:
        deadline = Deadline(timeout_s)
        await self._take_turn(deadline)
        try:
            reply = await self._exchange(call, deadline, fds)
        finally:
            self._turn.release()
        if reply.error is not None:
            raise failed(reply)
        return reply

    async def _take_turn(self, deadline: Deadline) -> None:
        if self._turn.locked():
            if self._streaming is asyncio.current_task():
                raise errors.LocalProtocolError("a stream has replies to come: use another connection")
            try:
                async with asyncio.timeout(deadline.remaining_s()):
                    await self._turn.acquire()
            except TimeoutError:
                raise errors.DeadlineExceeded("turn", deadline.timeout_s or 0.0, "no", self.peer) from None
        else:
            await self._turn.acquire()

    async def _exchange(self, call: Call, deadline: Deadline, fds: Sequence[Fd] = ()) -> AnyReply:
        reply: AnyReply = await self._in_time(self._send_and_reply(call, fds), deadline)
        return reply

    async def _send_and_reply(self, call: Call, fds: Sequence[Fd]) -> AnyReply:
        await self._send(call, fds)
        return await self._reply()

    async def _in_time(self, step: Any, deadline: Deadline) -> Any:
        try:
            async with asyncio.timeout(deadline.remaining_s()):
                return await step
        except TimeoutError:
            self.close()
            phase, ran = ("write", "no") if self._sending else ("reply", "maybe")
            raise errors.DeadlineExceeded(phase, deadline.timeout_s or 0.0, ran, self.peer) from None  # type: ignore[arg-type]
        except (errors.LocalProtocolError, errors.CallFailed):
            raise
        except BaseException:
            self.close()
            raise

    async def _send(self, call: Call, fds: Sequence[Fd] = ()) -> None:
        if self.closed:
            close_all(fds)
            raise errors.ConnectionLost(self.peer, "no")
        self._sending = True
        try:
            data = self._machine.send_call(call)
            await self._write(data, fds)
        finally:
            close_all(fds)
        self._sending = False

    async def _write(self, data: bytes, fds: Sequence[Fd]) -> None:
        while data:
            try:
                sent = ancillary.send(self._sock, data, fds) if fds else self._sock.send(data)
            except BlockingIOError:
                await self._ready(self._loop.add_writer, self._loop.remove_writer)
            except OSError as error:
                raise errors.ConnectionLost(self.peer, "no") from error  # the frame's end was not sent
            else:
                data, fds = data[sent:], ()

    async def _reply(self) -> AnyReply:
        machine = self._machine
        close_all(self.take_fds())
        while True:
            start = self._read_bytes - machine.buffered_bytes
            event = machine.next_event()
            if event is not None:
                break
            try:
                data = self._read()
            except BlockingIOError:
                await self._ready(self._loop.add_reader, self._loop.remove_reader)
                continue
            except OSError as error:
                raise errors.ConnectionLost(self.peer, "maybe") from error
            if data:
                machine.receive_data(data)
            else:
                machine.receive_eof()
        if isinstance(event, Ended):
            raise errors.ConnectionLost(self.peer, "maybe")
        if self._arrivals is not None:
            self._received = self._arrivals.take(start)
            self._arrivals.drop(self._read_bytes - machine.buffered_bytes)
        return event

    def _read(self) -> bytes:
        if self._arrivals is None:
            data = self._sock.recv(READ_BYTES)
        else:
            data, fds = ancillary.receive(self._sock)
            if fds:
                self._arrivals.add(self._read_bytes, self._read_bytes + len(data), fds)
        self._read_bytes += len(data)
        return data

    async def _ready(self, add: Any, remove: Any) -> None:
        fd = self._sock.fileno()
        if fd < 0:
            raise errors.ConnectionLost(self.peer, "maybe")
        ready = self._loop.create_future()
        add(fd, _wake, ready)
        try:
            await ready
        finally:
            if self._sock.fileno() >= 0:
                remove(fd)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


class Pool:
    """Connections to one daemon, one for each call that runs at the same time.

    A connection that was left open since an earlier call may have been closed by the daemon.  A
    call that could not be sent for that is sent on a new one: it did not run.

    Args:
        target: the daemon's endpoint.
        most: how many connections there may be; further calls wait for one.
    """

    def __init__(self, target: str | Endpoint, most: int = 16) -> None:
        self._target = target
        self._free: list[AsyncClient] = []
        self._places = asyncio.Semaphore(most)
        self._closed = False

    async def call(
        self, method: str, parameters: Mapping[str, Any] | None = None, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> dict[str, Any]:
        """Call a method on a connection that is free, or a new one; errors as `AsyncClient.call`."""
        deadline = Deadline(timeout_s)
        await self._take_place(deadline)
        try:
            while (client := self._take()) is not None:
                try:
                    return await self._call_on(client, method, parameters, deadline)
                except errors.ConnectionLost as error:
                    if error.ran != "no":
                        raise
            client = await self._connect(deadline)
            return await self._call_on(client, method, parameters, deadline)
        finally:
            self._places.release()

    async def stream(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        idle_s: float | None = None,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Call a method that gives several replies, on a connection of its own; as `AsyncClient.stream`."""
        async with self._places:
            client = await self._connect(Deadline(CONNECT_TIMEOUT_S))
            try:
                async with aclosing(client.stream(method, parameters, idle_s=idle_s)) as replies:
                    async for fields in replies:
                        yield fields
            finally:
                self._put_back(client)

    async def oneway(self, method: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Send a call that is not answered; whether it ran is not known."""
        async with self._places:
            client = self._take() or await self._connect(Deadline(CONNECT_TIMEOUT_S))
            try:
                await client.oneway(method, parameters)
            finally:
                self._put_back(client)

    def proxy(self, kind: type[AnyInterface], *, timeout_s: float = CALL_TIMEOUT_S) -> AnyInterface:
        """Return an object with the methods of an interface, as `AsyncClient.proxy`."""
        from daemonry.service.proxy import async_proxy

        return async_proxy(self, kind, timeout_s)

    def close(self) -> None:
        """End all connections: those that are free now, the others with their calls."""
        self._closed = True
        while self._free:
            self._free.pop().close()

    async def _take_place(self, deadline: Deadline) -> None:
        try:
            async with asyncio.timeout(deadline.remaining_s()):
                await self._places.acquire()
        except TimeoutError:
            raise errors.DeadlineExceeded(
                "turn", deadline.timeout_s or 0.0, "no", str(self._target)
            ) from None

    async def _connect(self, deadline: Deadline) -> AsyncClient:
        left_s = deadline.remaining_s()
        return await AsyncClient.connect(
            self._target, CONNECT_TIMEOUT_S if left_s is None else min(left_s, CONNECT_TIMEOUT_S)
        )

    async def _call_on(
        self, client: AsyncClient, method: str, parameters: Mapping[str, Any] | None, deadline: Deadline
    ) -> dict[str, Any]:
        try:
            return await client.call(method, parameters, timeout_s=deadline.remaining_s() or 0.0)
        finally:
            self._put_back(client)

    def _take(self) -> AsyncClient | None:
        while self._free:
            client = self._free.pop()
            if not client.closed:
                return client
        return None

    def _put_back(self, client: AsyncClient) -> None:
        if self._closed:
            client.close()
        elif not client.closed:
            self._free.append(client)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()
