"""A call in a pipeline of asyncio, as its caller has it.

Owns who awaits it, and that a cancelled wait cancels the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from daemonry import errors
from daemonry.service.client.pipelined import QueuedCall

if TYPE_CHECKING:
    from daemonry.service.client.engine import NamedMethod
    from daemonry.service.client.proxy import Converter

T = TypeVar("T")


class Cancels(Protocol):
    """What a call needs of its pipeline; see `AsyncPipeline`."""

    def cancel(self, call: AsyncPendingCall[Any]) -> None:
        """Have a call fail alone."""


class AsyncPendingCall(QueuedCall[T]):
    """A call in a pipeline: awaiting it gives its result.

    A task that is cancelled while it awaits a call cancels that call, and no other.
    """

    __slots__ = ("_waiters",)
    WAKES: ClassVar[bool] = True
    _pipeline: Cancels

    def __init__(
        self, pipeline: Any, converter: Converter | NamedMethod, frame: bytes, oneway: bool = False
    ) -> None:
        super().__init__(pipeline, converter, frame, oneway)
        self._waiters: tuple[asyncio.Future[None], ...] = ()

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for the result and return it; raises as `AsyncClient.call`."""
        if self.outcome == "waiting":
            waiter = asyncio.get_running_loop().create_future()
            self._waiters += (waiter,)
            try:
                yield from waiter
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.known()

    def result(self) -> T:
        """Return the result.

        Raises:
            LocalProtocolError: it is not there; await the call.
        """
        if self.outcome == "waiting":
            raise errors.LocalProtocolError(f"{self.converter.full_name} has no reply yet: await the call")
        return self.known()

    def settled(self) -> None:
        """Wake who awaits it."""
        waiters, self._waiters = self._waiters, ()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
