"""Runs that several builds wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from vx.aether.flights import Flights
from vx.aether.memory import ActionResult
from vx.aether.outcomes import ActionFailed, Finished

FINISHED = Finished(ActionResult("", {}, "", 0), None)


class Runs:
    """Counts the runs that are started; each begins its tool at once and ends when it may."""

    def __init__(self) -> None:
        self.started = 0
        self.cancelled = 0
        self.may_end = asyncio.Event()
        self.error: Exception | None = None

    async def start(self, begin: Callable[[], None]) -> Finished:
        self.started += 1
        begin()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return FINISHED


async def turns(count: int = 5) -> None:
    """Let the other tasks go on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_two_that_need_one_run_share_it_and_both_hear_of_its_beginning() -> None:
    flights, runs, begun = Flights(), Runs(), []
    first = asyncio.create_task(flights.join("key", "t", runs.start, lambda: begun.append(1)))
    await turns()
    second = asyncio.create_task(flights.join("key", "t", runs.start, lambda: begun.append(2)))
    await turns()
    runs.may_end.set()
    assert await first == (FINISHED, True)
    assert await second == (FINISHED, False)
    assert (runs.started, begun) == (1, [1, 2])


async def test_a_run_goes_on_while_one_waits_and_is_cancelled_with_the_last() -> None:
    flights, runs = Flights(), Runs()
    waiting = [asyncio.create_task(flights.join("key", "t", runs.start, lambda: None)) for _ in range(2)]
    await turns()
    waiting[0].cancel()
    await turns()
    assert runs.cancelled == 0
    waiting[1].cancel()
    await turns()
    assert (runs.started, runs.cancelled) == (1, 1)


async def test_the_next_to_come_after_the_last_has_gone_starts_another() -> None:
    """The one that is ending is not joined: its compiler is being killed."""
    flights, runs = Flights(), Runs()
    gone = asyncio.create_task(flights.join("key", "t", runs.start, lambda: None))
    await turns()
    gone.cancel()
    await turns(1)
    runs.may_end.set()
    assert await flights.join("key", "t", runs.start, lambda: None) == (FINISHED, True)
    assert runs.started == 2


async def test_a_failure_reaches_all_that_wait_and_is_not_kept() -> None:
    flights, runs = Flights(), Runs()
    runs.error = ActionFailed("no")
    waiting = [asyncio.create_task(flights.join("key", "t", runs.start, lambda: None)) for _ in range(2)]
    await turns()
    runs.may_end.set()
    for one in waiting:
        with pytest.raises(ActionFailed):
            await one
    runs.error = None
    assert (await flights.join("key", "t", runs.start, lambda: None))[1]
