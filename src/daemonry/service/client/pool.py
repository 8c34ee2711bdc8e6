"""A pool of asyncio connections: calls made at the same time have a connection each.

Owns which call has which connection, and how many there are; what becomes of a call is its client's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from math import inf
from typing import TYPE_CHECKING, Any, Self, TypeVar

from daemonry import errors
from daemonry.clock import Deadline
from daemonry.limits import CONNECT_TIMEOUT_S
from daemonry.process.forks import not_for_children
from daemonry.service.client.async_line import may_move
from daemonry.service.client.asynchronous import AsyncClient
from daemonry.service.client.engine import CALL_TIMEOUT_S, first_deadline, time_left_s
from daemonry.service.client.remote import AsyncRemote
from daemonry.transport.endpoint import Endpoint

if TYPE_CHECKING:
    from os import PathLike

    from daemonry.service.client.proxy import Converter, Given
    from daemonry.service.interface.declare import Interface

    AnyInterface = TypeVar("AnyInterface", bound="Interface")


def _left_s(deadline: Deadline) -> float:
    left_s = time_left_s(deadline)
    return inf if left_s is None else left_s


class Pool(AsyncRemote):
    """Connections to one daemon, one for each call that runs at the same time.

    A connection that was lost is replaced; which calls are made again then, `Client` says.  As a client
    it belongs to one loop at a time, makes its own connections after a fork, and can be pickled.

    Args:
        target: the daemon's endpoint.
        most: how many connections there may be; further calls wait for one.
    """

    def __init__(self, target: str | PathLike[str] | Endpoint, most: int = 16) -> None:
        self._target = target if isinstance(target, Endpoint) else Endpoint.to_connect(target)
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

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._free)} free connections of at most {self._most}"
        return f"<Pool of {self._target}: {state}>"

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
        self, converter: Converter, given: Given, frame: bytes | None, timeout_s: float
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

    async def stream_typed(
        self, converter: Converter, parameters: Mapping[str, Any], first_s: float
    ) -> AsyncGenerator[Any, None]:
        """Call a method that gives several replies as a proxy does, and yield the result of each."""
        deadline = first_deadline(first_s, None)
        client = await self._take(deadline)
        try:
            async with aclosing(client.stream_typed(converter, parameters, _left_s(deadline))) as results:
                async for result in results:
                    yield result
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
