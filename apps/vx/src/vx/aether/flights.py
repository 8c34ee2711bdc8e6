"""Runs that several builds wait for: the first that needs one starts it, the others join.

Owns their lives: a run belongs to all that wait for it; when the last of them is gone it is cancelled, and
with it the compiler.  (Go's `singleflight` is the same idea.)
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from vx.aether.outcomes import Finished

# Starts a run; it calls its argument when its tool begins.
Start = Callable[[Callable[[], None]], Coroutine[Any, Any, Finished]]


class _Flight:
    """A run: its task, how many wait for it, and their callbacks for when its tool begins."""

    task: asyncio.Task[Finished]

    def __init__(self, key: str) -> None:
        self.key = key
        self.waiting = 0
        self._begun = False
        self._on_begin: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Note that the tool runs, and waits for a place no longer."""
        self._begun = True
        for call in self._on_begin:
            call()

    def when_begun(self, call: Callable[[], None]) -> None:
        """Call it when the tool begins; at once where it has begun."""
        self._on_begin.append(call)
        if self._begun:
            call()


class Flights:
    """The runs that are under way, by their keys."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight] = {}

    async def join(
        self, key: str, title: str, start: Start, on_begin: Callable[[], None]
    ) -> tuple[Finished, bool]:
        """Wait for the run of a key, and start it unless it is under way.

        Args:
            key: runs of one key come to the same.
            title: names the task.
            start: makes the run.
            on_begin: called when its tool begins, at once where it has begun.

        Returns:
            How it ended, and whether this call started it.

        Raises:
            Whatever the run raises.
        """
        flight = self._flights.get(key)
        ours = flight is None or flight.task.done()
        if flight is None or flight.task.done():
            flight = self._flights[key] = _Flight(key)
            flight.task = asyncio.create_task(start(flight.begin), name=title)
            flight.task.add_done_callback(functools.partial(self._land, flight))
        flight.when_begun(on_begin)
        return await self._wait_for(flight), ours

    async def _wait_for(self, flight: _Flight) -> Finished:
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                flight.task.cancel()
                self._forget(flight)  # the next to come starts another: this one is ending

    def _forget(self, flight: _Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]

    def _land(self, flight: _Flight, _task: asyncio.Task[Finished]) -> None:
        self._forget(flight)
        if not flight.task.cancelled():
            flight.task.exception()  # retrieved here; those that wait get it, if there still are any
