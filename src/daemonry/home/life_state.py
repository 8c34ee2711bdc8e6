"""The present state of a service's life, and those that wait for another one.

Owns the step from state to state by the table of `child`.  The reasons for a step are `keeper`'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from daemonry.home.child import SETTLED, ServiceHappened, ServiceState, step


class LifeState:
    """Where a service is in its life.

    Args:
        changed: called with a message for people and its logging level when the state has changed.

    Attributes:
        message: the last change, for people.
        now: the state.
        since_s: when it was entered, in seconds since 1970.
    """

    def __init__(self, changed: Callable[[str, int], None]) -> None:
        self.message: str = ""
        self.now: ServiceState = ServiceState.WAITING
        self.since_s: float = time.time()
        self._changed = changed
        self._waiters: list[tuple[Callable[[ServiceState], bool], asyncio.Future[None]]] = []

    def take(self, happened: ServiceHappened, message: str, level: int = logging.INFO) -> bool:
        """Take the step that the table says; return whether there is one."""
        following = step(self.now, happened)
        if following is None:
            return False
        if following is not self.now:
            self.now = following
            self.since_s = time.time()
            if level >= logging.INFO:
                self.message = message
            for condition, future in list(self._waiters):
                if condition(following) and not future.done():
                    future.set_result(None)
            self._waiters = [one for one in self._waiters if not one[1].done()]
            self._changed(message, level)
        return True

    async def until(self, condition: Callable[[ServiceState], bool]) -> None:
        """Return once the state fulfils a condition."""
        if not condition(self.now):
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((condition, future))
            await future

    async def until_settled(self) -> None:
        """Return once the service goes no further by itself."""
        await self.until(SETTLED.__contains__)
