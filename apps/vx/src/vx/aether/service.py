"""aether's answers.

Owns the calls, and what becomes of a build whose caller goes away: it is cancelled, and with it those
of its compilers for which nobody else waits.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

from daemonry import method
from vx import __version__, home
from vx.aether.actions import Actions
from vx.aether.build import Build
from vx.aether.interface import Aether, BuildEvent, OtherVersion, ServiceDied, State
from vx.aether.known import KnowledgeFile
from vx.aether.planning import Planner, Request
from vx.aether.recent import RecentBuilds
from vx.aether.services import OwnedServices
from vx.cargo.ask import Cargo
from vx.cargo.vendored import VendoredCrates
from vx.cass_client import StoreGone
from vx.file_digests import FileDigests
from vx.interfaces import Collected, Verified
from vx.project.features import FeatureOptions
from vx.project.profile import DEV, RELEASE
from vx.project.tools import Tools
from vx.remote import settings


class AetherService(Aether):
    """The implementation.

    Args:
        services: cass and rhea.
    """

    def __init__(self, services: OwnedServices) -> None:
        self._services = services
        self._digests = FileDigests()
        tools = Tools(self._digests)
        self._planner = Planner(tools, Cargo(self._digests.digest), VendoredCrates(self._digests.digest))
        self._actions = Actions(services, self._digests)
        self._known = KnowledgeFile(self._digests, tools, self._actions.memory)
        self._known.read()
        # Tens of thousands of objects that stay: without it the first build pays for a look at each of them.
        gc.freeze()
        self._building: list[Build] = []
        self.recent = RecentBuilds()
        self._builds = 0
        self._remote_settings = settings.fingerprint(settings.load())

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
        profile: str = "",
        platform: str = "",
        targets: list[str] = [],  # noqa: B006
        locked: bool = False,
        offline: bool = False,
        why_not: bool = False,
        rebuild: int = 0,
        test: bool = False,
        tests: list[str] = [],  # noqa: B006
    ) -> AsyncIterator[BuildEvent]:
        """Build a project: see `Aether`."""
        if version != __version__:
            raise OtherVersion(version=__version__)
        wanted = FeatureOptions(tuple(features), default_features, all_features)
        request = Request(
            directory,
            environment,
            umask,
            profile or (RELEASE if release else DEV),
            tuple(packages),
            workspace,
            wanted,
            tuple(targets),
            platform,
            locked,
            offline,
            why_not,
            rebuild,
            test,
            tuple(tests),
        )
        events: asyncio.Queue[BuildEvent] = asyncio.Queue()
        seen, tell = self.recent.begin(directory, events.put_nowait)
        build = Build(
            request, self._actions, self._planner, self._digests, tell
        )  # fmt: skip
        self._building.append(build)
        task = asyncio.create_task(build.run(), name=f"build of {directory}")
        try:
            while (event := await events.get()).kind != "finished":
                yield event
        finally:
            task.cancel()
            await asyncio.wait((task,))
            self._building.remove(build)
            seen.over()
            self._builds += 1
        await asyncio.to_thread(self._write_down)
        yield event  # the last: the build is over by then, also in an answer to `state`

    @method(reads=True)
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
        await self._services.cass.ready()
        ends = self._services.cass.ends
        try:
            async for step in self._actions.cass.verify():
                if step.damaged is not None:
                    self._actions.memory.forget()
                yield step
        except StoreGone as error:
            raise await self._services.cass.lost(ends, error.reason) from error

    async def gc(self, max_bytes: int | None = None, dry_run: bool = False) -> Collected:
        """Remove the least recently used from the store."""
        await self._services.cass.ready()
        ends = self._services.cass.ends
        try:
            collected = await self._actions.cass.gc(max_bytes, dry_run=dry_run)
        except StoreGone as error:
            raise await self._services.cass.lost(ends, error.reason) from error
        if collected.removed and not dry_run:
            self._actions.memory.forget()
        return collected

    def fields(self) -> dict[str, Any]:
        """Return the further fields of STATUS."""
        return {
            "building": [one.project_dir for one in self._building],
            "builds": self._builds,
            "compilations": self._actions.runs,
            "remote_settings": self._remote_settings,
            **{one.name: one.state().state for one in self._services},
        }

    def close(self) -> None:
        """Let go of the store; write the memory down."""
        self._write_down(now=True)
        self._actions.cass.close()

    def _write_down(self, *, now: bool = False) -> None:
        self._known.write(now=now)
        self._actions.unchanged.write()


__all__ = ["AetherService", "ServiceDied"]
