"""aether's answers.

Owns the calls, and what becomes of a build whose caller goes away: it is cancelled, and with it those
of its compilers for which nobody else waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from daemonry import method
from vx import __version__, home
from vx.aether.actions import Actions
from vx.aether.build import Build, Request
from vx.aether.interface import Aether, Event, OtherVersion, ServiceDied, State
from vx.aether.services import Services
from vx.cass_client import StoreGone
from vx.interfaces import Collected, Verified
from vx.keys.file_digests import FileDigests
from vx.project.features import Wanted
from vx.project.profile import DEV, RELEASE
from vx.project.tools import Tools


class AetherService(Aether):
    """The implementation.

    Args:
        services: cass and rhea.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._digests = FileDigests()
        self._tools = Tools()
        self._actions = Actions(services, self._digests)
        self._building: list[Build] = []
        self._builds = 0
        self._calls = 0
        self._last_call_s = time.monotonic()

    async def build(  # noqa: PLR0913, PLR0917  # the interface's own
        self,
        directory: str,
        version: str,
        environment: dict[str, str],
        umask: int = 0o022,
        release: bool = False,
        packages: list[str] = [],  # noqa: B006
        workspace: bool = False,
        features: list[str] = [],  # noqa: B006
        default_features: bool = True,
        all_features: bool = False,
    ) -> AsyncIterator[Event]:
        """Build a project: see `Aether`."""
        if version != __version__:
            raise OtherVersion(version=__version__)
        wanted = Wanted(tuple(features), default_features, all_features)
        profile = RELEASE if release else DEV
        request = Request(directory, environment, umask, profile, tuple(packages), workspace, wanted)
        events: asyncio.Queue[Event] = asyncio.Queue()
        build = Build(request, self._actions, self._tools, self._digests, events.put_nowait)
        self._building.append(build)
        self._calls += 1
        task = asyncio.create_task(build.run(), name=f"build of {directory}")
        try:
            while (event := await events.get()).kind != "finished":
                yield event
        finally:
            task.cancel()
            await asyncio.wait((task,))
            self._building.remove(build)
            self._builds += 1
            self._called()
        yield event  # the last: it is over by then, also for who asks for the state

    @method(idempotent=True)
    async def state(self) -> State:
        """Return aether in numbers."""
        return State(
            __version__,
            home.home_dir(),
            [one.state() for one in self._services],
            [one.project_dir for one in self._building],
            self._builds,
            self._actions.runs,
            self._digests.hashed,
        )

    async def verify(self) -> AsyncIterator[Verified]:
        """Read the whole store again."""
        self._calls += 1
        await self._services.cass.ready()
        ends = self._services.cass.ends
        try:
            async for step in self._actions.cass.verify():
                if step.damaged is not None:
                    self._actions.memory.forget()
                yield step
        except StoreGone as error:
            raise await self._services.cass.lost(ends, error.reason) from error
        finally:
            self._called()

    async def gc(self, max_bytes: int | None = None, dry_run: bool = False) -> Collected:
        """Remove the least recently used from the store."""
        self._calls += 1
        await self._services.cass.ready()
        ends = self._services.cass.ends
        try:
            collected = await self._actions.cass.gc(max_bytes, dry_run=dry_run)
        except StoreGone as error:
            raise await self._services.cass.lost(ends, error.reason) from error
        finally:
            self._called()
        if collected.removed and not dry_run:
            self._actions.memory.forget()
        return collected

    def fields(self) -> dict[str, Any]:
        """Return what STATUS tells besides the usual."""
        return {
            "building": [one.project_dir for one in self._building],
            "builds": self._builds,
            "compilations": self._actions.runs,
            **{one.name: one.state().state for one in self._services},
        }

    def begin(self) -> None:
        """Note that it is ready: starting is no time of quiet."""
        self._last_call_s = time.monotonic()

    def idle_s(self) -> float:
        """Return for how long nobody has wanted anything, in seconds."""
        return 0.0 if self._calls else time.monotonic() - self._last_call_s

    def close(self) -> None:
        """Let go of the store."""
        self._actions.cass.close()

    def _called(self) -> None:
        self._calls -= 1
        self._last_call_s = time.monotonic()


__all__ = ["AetherService", "ServiceDied"]
