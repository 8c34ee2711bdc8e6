"""When a loop was last known to run, so that one that is stuck tells since when; without waking an idle one.

Owns the way for each kind of loop.  asyncio's asks its own clock once in each turn, right after it has
waited; the clock is replaced by one that keeps its last answer, and that is all.  uvloop asks nobody.
There a beat notes each second that the loop runs, from when a timer is set or a call begins until a
second passes without either; a loop that nobody uses has no beat.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, Final

from daemonry import clock

BEAT_S: Final = 1.0
Follow = Callable[[Callable[[], None]], None]


class LoopTurns:
    """When a loop was last known to run: not at all, for a loop of an unknown kind."""

    @property
    def ran_at_s(self) -> float | None:
        """A moment of the monotonic clock since when the loop may be stuck; None if none is known."""
        return None

    def follow(self, when_called: Follow) -> None:
        """Take note of calls, too, where that is needed.

        Args:
            when_called: calls back, once, on the loop, as the next call comes.
        """


class AsyncioTurns(LoopTurns):
    """The begin of the present turn, or a later moment at which the turn's own code asked for the time."""

    def __init__(self, loop: asyncio.BaseEventLoop) -> None:
        self._ran_at_s = clock.monotonic()
        loop.time = self._time  # type: ignore[method-assign]

    @property
    def ran_at_s(self) -> float | None:
        """As in `LoopTurns`."""
        return self._ran_at_s

    def _time(self) -> float:
        self._ran_at_s = now_s = clock.monotonic()
        return now_s


class UvloopTurns(LoopTurns):
    """The last beat, timer or call; None once nothing has happened for a while."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call_later: Callable[..., asyncio.TimerHandle] = loop.call_later
        self._call_at: Callable[..., asyncio.TimerHandle] = loop.call_at
        self._ran_at_s: float | None = None
        self._worked = False
        self._beats = False
        self._when_called: Follow | None = None
        self._follows = False
        loop.call_later = self._noted_call_later  # type: ignore[method-assign,assignment]
        loop.call_at = self._noted_call_at  # type: ignore[method-assign,assignment]

    @property
    def ran_at_s(self) -> float | None:
        """As in `LoopTurns`."""
        return self._ran_at_s

    def follow(self, when_called: Follow) -> None:
        """As in `LoopTurns`."""
        self._when_called = when_called
        self._follow_next()

    def _follow_next(self) -> None:
        if self._when_called is not None and not self._follows:
            self._follows = True
            self._when_called(self._called)

    def _called(self) -> None:
        self._follows = False
        self._work()

    def _noted_call_later(self, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        self._work()
        return self._call_later(*args, **kwargs)

    def _noted_call_at(self, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        self._work()
        return self._call_at(*args, **kwargs)

    def _work(self) -> None:
        self._ran_at_s = clock.monotonic()
        self._worked = True
        if not self._beats:
            self._beats = True
            self._call_later(BEAT_S, self._beat)

    def _beat(self) -> None:
        self._follow_next()
        if self._worked:
            self._worked = False
            self._ran_at_s = clock.monotonic()
            self._call_later(BEAT_S, self._beat)
        else:
            self._beats = False
            self._ran_at_s = None


def turns_of(loop: asyncio.AbstractEventLoop) -> LoopTurns:
    """Begin to note when a loop runs; before it runs, or on it."""
    uvloop = sys.modules.get("uvloop")
    if uvloop is not None and isinstance(loop, uvloop.Loop):
        return UvloopTurns(loop)
    if isinstance(loop, asyncio.BaseEventLoop) and type(loop).time is asyncio.BaseEventLoop.time:
        return AsyncioTurns(loop)
    return LoopTurns()
