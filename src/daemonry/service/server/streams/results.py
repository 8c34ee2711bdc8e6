"""What a stream's generator gives: the next result that comes, and those that are there at once.

Owns the steps of the generator.  A coroutine of ours takes its results in one `async for`, which costs less
than half of a step by hand for each, and stops behind as many as were asked for.  It runs within the task
that sends the results, so the generator sees the task that it would see without it.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncIterator, Generator
from time import monotonic
from typing import Any, Final, NoReturn

# What the coroutine yields where it stops; whatever else it yields, the generator waits for.
_STOPPED: Final = object()


class Results:
    """The results of one stream.

    The protocol wants the last reply marked.  A result is passed on as soon as it is there: whether
    it is the last is known only if the generator goes on to its next result, or its end, at once.

    Attributes:
        ended: whether the generator has come to its end.
        error: the generator's exception in `at_once`; None for nothing.
    """

    __slots__ = ("_found", "_generator", "_most", "_taking", "_until_s", "_waiting_for", "ended", "error")

    def __init__(self, generator: AsyncIterator[Any]) -> None:
        self.ended: bool = False
        self.error: BaseException | None = None
        self._generator = generator
        self._found: list[Any] = []
        self._most = 1
        self._until_s = 0.0
        self._waiting_for: Any = _STOPPED
        self._taking = self._take()

    async def _take(self) -> None:
        found = self._found
        async for result in self._generator:
            found.append(result)
            if len(found) >= self._most or monotonic() >= self._until_s:
                await _stop()

    @property
    def waits(self) -> bool:
        """Whether the generator waits, so that `next` has to."""
        return self._waiting_for is not _STOPPED

    async def next(self) -> Any:
        """Return the next result.

        Raises:
            StopAsyncIteration: there is none.
        """
        self._most = 1
        await self._until_stopped(None)
        if not self._found:
            raise StopAsyncIteration
        return self._found.pop()

    def at_once(self, most: int, until_s: float) -> list[Any]:
        """Let the generator go on, and return the results that it gives before it waits or is over.

        Args:
            most: how many at most; at least one.
            until_s: when to return even so, behind the next result, by the monotonic clock.
        """
        self._most, self._until_s = most, until_s
        try:
            self._waiting_for = self._taking.send(None)
        except StopIteration:
            self.ended = True
        except BaseException as error:  # noqa: BLE001  # raised by the caller, behind the results
            self.error = error
        found = self._found[:]
        self._found.clear()
        return found

    def fail(self) -> NoReturn:
        """Raise `error`, and keep nothing of it."""
        error, self.error = self.error, None
        assert error is not None
        try:
            raise error
        finally:
            del error  # whose trace knows this frame

    async def close(self) -> None:
        """End the generator where it is, and wait for its own clean-up."""
        if self.waits:
            self._most = 1
            try:
                await self._until_stopped(asyncio.CancelledError())
            except asyncio.CancelledError:
                pass
        self._taking.close()
        aclose = getattr(self._generator, "aclose", None)
        if aclose is not None:
            await aclose()

    @types.coroutine
    def _until_stopped(self, error: BaseException | None) -> Generator[Any, Any, None]:
        """Wait until there is a result, or the end.

        Args:
            error: raised where the generator waits; None to wait on.
        """
        thrown: BaseException | None
        taking, waiting_for = self._taking, self._waiting_for
        self._waiting_for = _STOPPED
        try:
            if error is None and waiting_for is _STOPPED:
                waiting_for = taking.send(None)
            while waiting_for is not _STOPPED:
                sent: Any = None
                if error is None:
                    try:
                        sent = yield waiting_for
                    except BaseException as raised:  # noqa: BLE001  # a cancellation belongs to the generator
                        error = raised
                if error is None:
                    waiting_for = taking.send(sent)
                else:
                    thrown, error = error, None
                    waiting_for = taking.throw(thrown)
        except StopIteration:
            self.ended = True
        finally:
            error = thrown = None  # whose trace knows this frame


@types.coroutine
def _stop() -> Generator[Any, Any, None]:
    yield _STOPPED
