"""What a home's supervisor answers: how its services are, and starting, stopping and restarting them.

Owns the calls of `control.HomeControl` about services, and their errors.  Order and waiting are `fleet`'s;
reading home.toml again, and the end of the whole, `supervisor`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any

from daemonry.errors import DaemonryError
from daemonry.home.child import SATISFIED, SETTLED, ServiceState
from daemonry.home.consumption import measure
from daemonry.home.event import Event
from daemonry.home.fleet import Fleet
from daemonry.home.keeper import Keeper
from daemonry.home.serving.control import (
    GoingDown,
    HomeFileInvalid,
    NoSuchService,
    NotUp,
    ServiceStatus,
    ServiceUse,
)
from daemonry.process import record_fields


class Answers:
    """Answers for the services of a home.

    Args:
        fleet: they.
        begin_end: begins to stop all of them, and the supervisor.
        reload: reads home.toml again; raises DaemonryError where it cannot be used.
    """

    def __init__(
        self, fleet: Fleet, begin_end: Callable[[], None], reload: Callable[[], Awaitable[str]]
    ) -> None:
        self._fleet = fleet
        self._begin_end = begin_end
        self._reload = reload
        self._going_on: set[asyncio.Task[None]] = set()

    # --- how they are ---------------------------------------------------------------------------

    def statuses(self) -> list[ServiceStatus]:
        """Return how each service is."""
        return [self._status(keeper) for keeper in self._fleet.keepers.values()]

    async def uses(self) -> list[ServiceUse]:
        """Return the resources of the services that run; they are read in a thread, for they may be many."""
        running = {name: one.pid for name, one in self._fleet.keepers.items() if one.pid is not None}
        found = await asyncio.to_thread(
            lambda: {name: measure(pid, wake_ups=True) for name, pid in running.items()}
        )
        return [ServiceUse(name, use.memory_bytes, use.cpu_s, use.wake_ups) for name, use in found.items()]

    def _status(self, keeper: Keeper) -> ServiceStatus:
        service = keeper.service
        return ServiceStatus(
            name=service.name,
            state=keeper.state.value,
            pid=keeper.pid,
            since=keeper.life.since_s,
            restarts=keeper.restarts,
            last_exit=keeper.last_end or None,
            readiness=service.ready.kind.value,
            note=keeper.reason or self._fleet.waits_for(keeper) or keeper.tells or None,
            needs=[*service.needs],
            groups=[*service.groups],
            **_daemon_fields(keeper),
        )

    # --- one service ----------------------------------------------------------------------------

    async def restart(self, name: str) -> ServiceStatus:
        """Stop a service and start it, and return how it is when it is ready.

        Raises:
            NoSuchService: there is none of that name.
            NotUp: it did not become ready.
            GoingDown: the home starts nothing any more.
        """
        keeper = self._keeper(name)
        keeper.unhelped = ""
        await self._to_the_end(self._fleet.restart([name]))
        return self._started(keeper)

    async def start(self, name: str) -> ServiceStatus:
        """Start a service that does not run, with the services it needs, and return its status when ready.

        Raises:
            As `restart`.
        """
        keeper = self._keeper(name)
        await self._fleet.start([name])
        return self._started(keeper)

    async def stop_service(self, name: str) -> ServiceStatus:
        """Stop a service, and return how it is then.

        Raises:
            NoSuchService: there is none of that name.
            GoingDown: the home stops all of its services.
        """
        keeper = self._keeper(name)
        await self._fleet.stop([name])
        return self._status(keeper)

    async def replace(self, name: str, pid: int, version: str) -> ServiceStatus:
        """Stop a service and start it for another version than `version`, if its process is still `pid`.

        Raises:
            As `restart`; NotUp also where that brought no other version before.
        """
        keeper = self._keeper(name)
        if keeper.pid == pid and keeper.unhelped == version:
            reason = f"the home's command still runs {version}; once it does not: daemonry upgrade"
            raise NotUp(name=name, reason=reason)
        if keeper.pid == pid and not keeper.stop_wanted:
            await self._fleet.stop([name])
        status = await self.start(name)
        if status.version == version:
            keeper.unhelped = version
        return status

    def _keeper(self, name: str) -> Keeper:
        if self._fleet.ending:
            raise GoingDown
        keeper = self._fleet.keepers.get(name)
        if keeper is None:
            raise NoSuchService(name=name, known=[*self._fleet.keepers])
        return keeper

    def _started(self, keeper: Keeper) -> ServiceStatus:
        if self._fleet.ending:
            raise GoingDown
        if keeper.state not in SATISFIED:
            reason = keeper.reason or self._fleet.waits_for(keeper) or keeper.state.value
            raise NotUp(name=keeper.service.name, reason=reason)
        return self._status(keeper)

    # --- several --------------------------------------------------------------------------------

    def start_several(self, names: list[str]) -> AsyncIterator[Event]:
        """See `control.HomeControl.start_several`."""
        chosen = self._chosen(names)
        if not names:
            keepers = self._fleet.keepers
            chosen = [name for name in chosen if keepers[name].state is ServiceState.STOPPED]
        return self._fleet.events_during(self._fleet.start(chosen))

    def stop_several(self, names: list[str]) -> AsyncIterator[Event]:
        """See `control.HomeControl.stop_several`."""
        return self._fleet.events_during(self._fleet.stop(self._chosen(names)))

    def restart_several(self, names: list[str]) -> AsyncIterator[Event]:
        """See `control.HomeControl.restart_several`."""
        chosen = self._chosen(names)
        for name in chosen:
            self._fleet.keepers[name].unhelped = ""
        return self._fleet.events_during(self._to_the_end(self._fleet.restart(chosen)))

    def _chosen(self, names: Iterable[str]) -> list[str]:
        """Return the services that names of services and of groups mean, in order; all for no name."""
        if self._fleet.ending:
            raise GoingDown
        keepers = self._fleet.keepers
        asked = set(names)
        groups = {group for one in keepers.values() for group in one.service.groups}
        for name in asked - keepers.keys() - groups:
            raise NoSuchService(name=name, known=[*keepers, *sorted(groups)])
        meant = (name for name, one in keepers.items() if name in asked or asked & {*one.service.groups})
        return list(meant) if asked else list(keepers)

    async def _to_the_end(self, work: Coroutine[Any, Any, None]) -> None:
        """Do some work although its caller may go: a service would be left stopped half way."""
        task = asyncio.get_running_loop().create_task(work)
        self._going_on.add(task)
        task.add_done_callback(self._going_on.discard)
        await asyncio.shield(task)

    # --- all ------------------------------------------------------------------------------------

    async def settle(self) -> AsyncIterator[Event]:
        """Yield the last event of those that are settled, and further events until all are."""
        keepers = [*self._fleet.keepers.values()]
        events = self._fleet.events_during(self._fleet.until_settled(keepers))
        for keeper in keepers:
            if keeper.state in SETTLED:
                yield Event(keeper.service.name, keeper.state.value, keeper.life.message, "info")
        async for event in events:
            yield event

    async def down(self) -> AsyncIterator[Event]:
        """Stop all, and yield events until all have stopped."""
        self._begin_end()
        async for event in self._fleet.events_during(self._fleet.all_stopped()):
            yield event

    async def reload(self) -> str:
        """See `control.HomeControl.reload`.

        Raises:
            HomeFileInvalid: it cannot be used; nothing was changed.
        """
        try:
            return await self._reload()
        except DaemonryError as error:
            raise HomeFileInvalid(reason=str(error)) from None


def _daemon_fields(keeper: Keeper) -> dict[str, str | None]:
    claim = keeper.claim
    if claim is None:
        return {}
    endpoint = record_fields.read_endpoint(claim.place.record_path) if keeper.pid is not None else None
    return {"daemon": claim.place.name, "version": claim.version, "endpoint": endpoint}
