"""First steps of coroutines that are taken by hand, before there is a task.

Owns `Stepper`, which takes the first step of a handler's coroutine at once: most handlers are done with it,
and to make a task for each takes longer than the rest of a call.

**A handler sees the same as in a task.**  The stepper keeps one task in reserve, which waits.  The
first step runs as that task's: `asyncio.current_task()` is it, and `asyncio.timeout` and `TaskGroup` ask for
that.  A coroutine that ends in its first step leaves the reserve as it was.  One that waits goes on in that
task, to which its cancellations and timeouts belong already, and another reserve is made.  Each coroutine
has a context of its own, as in a task.
"""

from __future__ import annotations

import asyncio
import types
from asyncio import current_task, get_running_loop
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any

Work = Callable[[Awaitable[Any]], Coroutine[Any, Any, None]]


class Stepper:
    """Begins coroutines, each with its first step; for one loop at a time.

    Attributes:
        reserve: a task for the next coroutine that waits; None for none.
        waiting: the same, once it waits itself: `begin` may be called then.  To look here instead of asking
            `is_ready` takes a `move_to` when another loop begins to run.
    """

    __slots__ = ("_loop", "_stairs", "reserve", "waiting")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stairs: _Stairs | None = None
        self.reserve: _Reserve | None = None
        self.waiting: _Reserve | None = None

    def is_ready(self) -> bool:
        """Whether `begin` may be called; if not, it may be soon, in a later turn of the loop."""
        loop = get_running_loop()
        self.move_to(loop)
        if self.waiting is not None:
            return True
        if self.reserve is None or self.reserve.task.done():
            self.reserve = _Reserve(loop, self)
        return False

    def move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to a loop, and forget the reserve of another one."""
        if self._loop is not loop:
            self._loop, self.reserve, self.waiting = loop, None, None

    def begin(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Take the first step of a coroutine; return its result, or the `Suspended` that it is now.

        Raises:
            CancelledError: it ended, and cancelled itself or raised that.
            Exception: it raised this.
        """
        stairs = self._stairs
        reserve: _Reserve = self.waiting  # type: ignore[assignment]  # checked by the caller
        if stairs is None:
            stairs = _Stairs()
        loop, task, context, outer = reserve.loop, reserve.task, copy_context(), None
        try:
            _enter_task(loop, task)
        except RuntimeError:  # a connection that is retired reads its last bytes within a task
            outer = current_task(loop)
            assert outer is not None
            _leave_task(loop, outer)
            _enter_task(loop, task)
        self._stairs = None  # until the coroutine has ended well; a handler may get here again
        try:
            waiting_for = context.run(stairs.send, coroutine)
        finally:
            _leave_task(loop, task)
            if outer is not None:
                _enter_task(loop, outer)
            cancels = task.cancelling()  # itself
            if cancels:
                self.reserve = self.waiting = None
        if waiting_for is stairs.ended:
            self._stairs = stairs
            if cancels:
                raise asyncio.CancelledError
            return waiting_for.pop()
        self.waiting = None
        self.reserve = _Reserve(loop, self)
        return Suspended(reserve, Continued(coroutine, waiting_for, context, stairs))

    def close(self) -> None:
        """Keep no task in reserve."""
        reserve, self.reserve, self.waiting = self.reserve, None, None
        if reserve is not None and self._loop is not None and not self._loop.is_closed():
            reserve.task.cancel()


class _Stairs:
    """Takes steps of one coroutine after the other, without an exception for the result of each.

    A coroutine that is stepped by `send` gives its result as a StopIteration, which takes longer to raise and
    to catch than the step; to await one from a generator does not.

    Attributes:
        ended: what `send` returns for a coroutine that has ended; it holds the result then.
        send: takes a coroutine's first step, and returns `ended` or what it waits for.  Where it waits or
            raises, this object takes no other; where it waits, this object has to be kept, since it would end
            the coroutine with itself.
    """

    __slots__ = ("ended", "send")

    def __init__(self) -> None:
        self.ended: list[Any] = []
        steps = _steps(self.ended)
        self.send: Callable[[Any], Any] = steps.send
        self.send(None)


@types.coroutine
def _steps(ended: list[Any]) -> Generator[Any, Any, None]:
    coroutine = yield None
    while True:
        ended.append((yield from coroutine))
        coroutine = yield ended


class _Reserve:
    """A task that waits for a coroutine to go on with; its stepper's `waiting` from then on.

    Attributes:
        loop: as given.
        task: the task.
    """

    __slots__ = ("_given", "_stepper", "_work", "loop", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop, stepper: Stepper) -> None:
        self._stepper = stepper
        self.loop: asyncio.AbstractEventLoop = loop
        self._given: asyncio.Future[None] = loop.create_future()
        self._work: tuple[Work, Continued] | None = None
        self.task: asyncio.Task[None] = loop.create_task(self._go_on(), name="daemonry handler")

    def give(self, work: Work, rest: Continued) -> None:
        self._work = work, rest
        if not self._given.done():
            self._given.set_result(None)

    async def _go_on(self) -> None:
        stepper = self._stepper
        if stepper.reserve is self:
            stepper.waiting = self
        cancelled = None
        try:
            await self._given
        except asyncio.CancelledError as error:
            if self._work is None:
                raise  # nothing will be given
            cancelled = error
        finally:
            if stepper.waiting is self:
                stepper.waiting = None
        assert self._work is not None
        work, rest = self._work
        rest.error = cancelled
        await work(rest)


class Suspended:
    """A coroutine that waits since its first step."""

    __slots__ = ("_reserve", "_rest")

    def __init__(self, reserve: _Reserve, rest: Continued) -> None:
        self._reserve = reserve
        self._rest = rest

    def go_on(self, work: Work) -> asyncio.Task[None]:
        """Run `work` in the coroutine's task; it is given what to await for the coroutine's result."""
        self._reserve.give(work, self._rest)
        return self._reserve.task


class Continued:
    """A coroutine that was begun by hand and goes on in a task.

    Attributes:
        error: the exception that is raised where it waits; None to wait on.
    """

    __slots__ = ("_context", "_coroutine", "_stairs", "_waiting_for", "error")

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], waiting_for: Any, context: Context, stairs: _Stairs
    ) -> None:
        self._coroutine = coroutine
        self._stairs = stairs
        self._waiting_for = waiting_for
        self._context = context
        self.error: BaseException | None = None

    def __await__(self) -> Any:
        begun, run = self._coroutine.__await__(), self._context.run
        waiting_for = self._waiting_for
        sent: Any = None
        error = self.error
        try:
            if error is not None:
                waiting_for, error = run(begun.throw, error), None
            while True:
                try:
                    sent, error = (yield waiting_for), None
                except BaseException as raised:  # noqa: BLE001  # a cancellation belongs to the coroutine
                    error = raised
                waiting_for = run(begun.throw, error) if error is not None else run(begun.send, sent)
        except StopIteration as ended:
            return ended.value
        finally:
            error = None  # whose trace knows this frame
