"""The asyncio client of typed calls.

Owns one connection on a loop, from the same state machine as the blocking one.  Calls made at
the same time wait for each other: replies come in the order of the calls, and one that is slow
holds those behind it.  `Pool` gives each its own connection.
"""

from __future__ import annotations

import asyncio
from _socket import socket as Socket
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from daemonry import errors
from daemonry.backoff import delays
from daemonry.clock import Deadline
from daemonry.limits import CONNECT_RETRY_FIRST_S, CONNECT_RETRY_MAX_S, CONNECT_TIMEOUT_S, READ_BYTES
from daemonry.service.blocking import CALL_TIMEOUT_S, failed
from daemonry.transport.connect import connect
from daemonry.transport.endpoint import TCP, Endpoint
from daemonry.wire import fast_varlink
from daemonry.wire.connection import ClientConnection, Ended
from daemonry.wire.varlink import Call, Reply

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
        self._wakes: asyncio.Future[None] | None = None
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

    async def call(
        self, method: str, parameters: Mapping[str, Any] | None = None, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> dict[str, Any]:
        """Call a method and return the fields of its reply; errors as the blocking client's.

        A call that is cancelled closes the connection: its reply would be taken for the next one's.
        """
        async with self._turn:
            reply = await self._exchange(Call(method, parameters), timeout_s)
        if reply.error is not None:
            raise failed(reply)
        fields: dict[str, Any] = reply.parameters
        return fields

    async def stream(
        self, method: str, parameters: Mapping[str, Any] | None = None, *, idle_s: float | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Call a method that gives several replies and yield the fields of each.

        Leaving the loop early closes the connection.
        """
        async with self._turn:
            finished = False
            try:
                reply = await self._exchange(Call(method, parameters, more=True), idle_s)
                while True:
                    finished = not reply.continues
                    if reply.error is not None:
                        raise failed(reply)
                    if reply.continues or reply.parameters:
                        yield reply.parameters
                    if finished:
                        return
                    reply = await self._in_time(self._reply(), idle_s)
            finally:
                if not finished:
                    self.close()

    async def oneway(self, method: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Send a call that is not answered; whether it ran is not known."""
        async with self._turn:
            await self._in_time(self._send(Call(method, parameters, oneway=True)), CALL_TIMEOUT_S)

    def proxy(self, kind: type[AnyInterface], *, timeout_s: float = CALL_TIMEOUT_S) -> AnyInterface:
        """Return an object with the methods of an interface, as coroutines and async iterators."""
        from daemonry.service.proxy import async_proxy

        return async_proxy(self, kind, timeout_s)

    async def _exchange(self, call: Call, timeout_s: float | None) -> Reply:
        reply: Reply = await self._in_time(self._send_and_reply(call), timeout_s)
        return reply

    async def _send_and_reply(self, call: Call) -> Reply:
        await self._send(call)
        return await self._reply()

    async def _in_time(self, step: Any, timeout_s: float | None) -> Any:
        try:
            async with asyncio.timeout(timeout_s):
                return await step
        except TimeoutError:
            self.close()
            raise errors.DeadlineExceeded("reply", timeout_s or 0.0, "maybe", self.peer) from None
        except (errors.LocalProtocolError, errors.CallFailed):
            raise
        except BaseException:
            self.close()
            raise

    async def _send(self, call: Call) -> None:
        if self.closed:
            raise errors.ConnectionLost(self.peer, "no")
        data = self._machine.send_call(call)
        while data:
            try:
                data = data[self._sock.send(data) :]
            except BlockingIOError:
                await self._ready(self._loop.add_writer, self._loop.remove_writer)
            except OSError as error:
                raise errors.ConnectionLost(self.peer, "maybe") from error

    async def _reply(self) -> Reply:
        while (event := self._machine.next_event()) is None:
            try:
                data = self._sock.recv(READ_BYTES)
            except BlockingIOError:
                await self._ready(self._loop.add_reader, self._loop.remove_reader)
                continue
            except OSError as error:
                raise errors.ConnectionLost(self.peer, "maybe") from error
            if data:
                self._machine.receive_data(data)
            else:
                self._machine.receive_eof()
        if isinstance(event, Ended):
            raise errors.ConnectionLost(self.peer, "maybe")
        return event

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

    Args:
        target: the daemon's endpoint.
        most: how many connections there may be; further calls wait for one.
    """

    def __init__(self, target: str | Endpoint, most: int = 16) -> None:
        self._target = target
        self._free: list[AsyncClient] = []
        self._places = asyncio.Semaphore(most)

    async def call(
        self, method: str, parameters: Mapping[str, Any] | None = None, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> dict[str, Any]:
        """Call a method on a connection that is free, or a new one; errors as `AsyncClient.call`."""
        async with self._places:
            client = self._take() or await AsyncClient.connect(
                self._target, min(timeout_s, CONNECT_TIMEOUT_S)
            )
            try:
                return await client.call(method, parameters, timeout_s=timeout_s)
            finally:
                if not client.closed:
                    self._free.append(client)

    def close(self) -> None:
        """End all connections that are free."""
        while self._free:
            self._free.pop().close()

    def _take(self) -> AsyncClient | None:
        while self._free:
            client = self._free.pop()
            if not client.closed:
                return client
        return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()
