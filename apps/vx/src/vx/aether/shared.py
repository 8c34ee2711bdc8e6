"""The shared cache behind the store, as a build sees it: whether there is one, and what went wrong with it.

Owns asking the store, and the sentence for people.  A cache that fails never fails a build: each failure was
a miss.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from vx.cass_client import CassClient, StoreGone
from vx.interfaces import Done, SharedState
from vx.remote.failures import PAUSE_S, Failures

# Reasons in one line each; a cache that breaks in different ways has two or three.
_MOST: Final = 5
_LEFT_ALONE: Final = f"it failed, and is not asked again for {PAUSE_S:.0f} s"


class SharedCacheState:
    """The cache behind the store.

    Args:
        cass: the store.

    Attributes:
        url: where it is; "" where there is none, or none is known yet.
    """

    def __init__(self, cass: CassClient) -> None:
        self.url = ""
        self._cass = cass
        self._jobs = Failures()

    def note_job(self, done: Done) -> None:
        """Note a job that ran here although it should have run on another machine."""
        if done.not_there:
            self._jobs.failed(done.not_there, 0.0)

    @asynccontextmanager
    async def watched(self, into: list[str], tell: Callable[[str], None]) -> AsyncIterator[None]:
        """Note what goes wrong with it inside this block, a line for each reason.

        Args:
            into: is given the lines.
            tell: is called with each of them.
        """
        before, jobs = await self._state(), self._jobs.count
        self.url = before.url
        try:
            yield
        finally:
            after = await self._state(before.failures) if self.url else before
            reasons = after.reasons[:_MOST]
            if not reasons and after.skipped > before.skipped:
                reasons = [_LEFT_ALONE]
            into[:] = [f"remote {self.url}: {one}; done without it" for one in reasons]
            into += [
                f"remote: {one}; compiled here"
                for one in self._jobs.since(jobs)[:_MOST]
                if one not in reasons
            ]
            for one in into:
                tell(one)

    async def _state(self, since: int = 0) -> SharedState:
        try:
            return await self._cass.shared(since)
        except StoreGone:  # whoever needs the store next tells
            return SharedState()
