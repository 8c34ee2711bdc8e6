"""The calls by which a user has a say: now, skip, abort, hold, release.

Owns the interface.  Their work is `engine`'s.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from daemonry import CallError, Interface
from palingenesis.resume.states import Happened

if TYPE_CHECKING:
    from palingenesis.resume.engine import ResumeEngine


class CannotBeDone(CallError):
    """The session is not known, or is in a state in which that cannot be done."""

    reason: str


class Asked(msgspec.Struct, frozen=True):
    """A session after a user's word.

    Attributes:
        session: AGENT:ID.
        state: how it stands now.
    """

    session: str
    state: str


class Sessions(Interface, name="org.palingenesis.sessions", errors=(CannotBeDone,)):
    """What a user may ask about one session, named by its id, the beginning of it, or its record."""

    def __init__(self) -> None:
        self.engine: ResumeEngine | None = None
        self.turn = asyncio.Lock()  # one thread at a time is in the engine
        self.why_not = "sessions are not kept now: see `palingenesis logs`"

    async def now(self, session: str) -> Asked:
        """Try to resume it at once, under the rules: never beside a living process."""
        return await self._ask(session, Happened.NOW)

    async def new_session(self, session: str) -> Asked:
        """Begin a new session that takes over from this one, from its notes or its last answer."""
        return await self._ask(session, Happened.RENEW)

    async def resume_at(self, session: str, at_s: float) -> Asked:
        """Resume it at `at_s` (seconds since the epoch), once its turn has ended and nobody lives in it."""
        return await self._ask(session, Happened.WANTED, at_s)

    async def skip(self, session: str) -> Asked:
        """Leave this stop to its user; a later one counts again."""
        return await self._ask(session, Happened.SKIP)

    async def abort(self, session: str) -> Asked:
        """End the run that resumes it, and leave it to its user."""
        return await self._ask(session, Happened.ABORT)

    async def hold(self, session: str) -> Asked:
        """Do nothing about it until it is released."""
        return await self._ask(session, Happened.HOLD)

    async def release(self, session: str) -> Asked:
        """Hold it no longer."""
        return await self._ask(session, Happened.RELEASE)

    async def _ask(self, session: str, happened: Happened, at_s: float = 0.0) -> Asked:
        if self.engine is None:
            raise CannotBeDone(reason=self.why_not)
        async with self.turn:
            entry = await asyncio.to_thread(self.engine.ask, session, happened, at_s)
        if isinstance(entry, str):
            raise CannotBeDone(reason=entry)
        return Asked(session=entry.key, state=entry.state.value)
