"""The services of a home together: who may start now, and who must stop first.

Owns the keepers and their order, what follows when a needed service has restarted, and
waiting for several.  The life of one service is `keeper`'s, the supervisor's own `supervisor`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable
from typing import Any, Final

from daemonry.home import order
from daemonry.home.child import ALIVE, SATISFIED, SETTLED, ServiceState
from daemonry.home.event import Event
from daemonry.home.file_changes import restart_at_changes
from daemonry.home.keeper import Keeper
from daemonry.limits import SERVICE_SWEEP_S

logger: logging.Logger = logging.getLogger("daemonry.home")

# Where a service goes no further unless it is asked to.
STARTABLE: Final = frozenset(
    (ServiceState.STOPPED, ServiceState.DONE, ServiceState.IDLE, ServiceState.FAILED)
)
# A start takes a millisecond or two, and requests are answered between two turns.
_STARTS_A_TURN: Final = 20
_LEVELS: Final = {logging.WARNING: "warning", logging.ERROR: "error"}

Watch = Callable[[Event], None]


class Fleet:
    """The services of a home.

    Args:
        watch: called with each event.
        rested: called when all that can be started or stopped now has been.

    Attributes:
        keepers: one for each service, each after those that it needs.
        ending: whether all are to stop, and none is started any more.
    """

    def __init__(self, watch: Watch, rested: Callable[[], None]) -> None:
        self.keepers: dict[str, Keeper] = {}
        self.ending = False
        self._watches: list[Watch] = [watch]
        self._rested = rested
        self._advance_soon = False
        self._begun = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._file_watches: list[asyncio.Task[None]] = []

    # --- the order ------------------------------------------------------------------------------

    def changed(self, keeper: Keeper, message: str, level: int) -> None:
        """Take note that a keeper's state has changed."""
        event = Event(keeper.service.name, keeper.state.value, message, _LEVELS.get(level, "info"))
        logger.log(level, "%s: %s", event.service, message)
        if level >= logging.INFO:
            for watch in list(self._watches):
                watch(event)
        if keeper.state is ServiceState.READY and keeper.was_lost:
            self._restart_those_with(keeper)
        self.advance_later()

    def advance_later(self) -> None:
        """Look what can be started and stopped, in the loop's next turn."""
        if not self._advance_soon:
            self._advance_soon = True
            asyncio.get_running_loop().call_soon(self._advance)

    def _advance(self) -> None:
        """Start what can start, stop what can stop, and say that this is done."""
        self._advance_soon = False
        self._stop_those_that_can()
        waiting = self._those_in({ServiceState.WAITING})
        startable = order.startable(waiting, self.needs(), frozenset(self._those_in(SATISFIED)))
        wanted = [name for name in startable if not self.keepers[name].stop_wanted]
        for name in wanted[:_STARTS_A_TURN]:
            self.keepers[name].start()
        if len(wanted) > _STARTS_A_TURN:
            self.advance_later()
        else:
            self._begun.set()
        self._rested()

    async def until_begun(self, most_s: float) -> None:
        """Return once every service that may start has its process, or after `most_s` seconds."""
        try:
            async with asyncio.timeout(most_s):
                await self._begun.wait()
                await asyncio.sleep(0)  # in this turn a task of each begins to wait until it is ready
        except TimeoutError:
            pass

    def _stop_those_that_can(self) -> None:
        wanted = [
            name
            for name, one in self.keepers.items()
            if one.stop_wanted and one.state is not ServiceState.STOPPED
        ]
        # Only those that are to stop as well are waited for: a restart leaves those that need it alone.
        alive = [name for name in wanted if self.keepers[name].state in ALIVE]
        for name in order.stoppable(wanted, self.needs(), alive):
            self.keepers[name].stop()

    def needs(self) -> dict[str, tuple[str, ...]]:
        """For each service those that it needs."""
        # A service that a reload has added or removed may be missing on one side.
        return {
            name: tuple(one for one in keeper.service.needs if one in self.keepers)
            for name, keeper in self.keepers.items()
        }

    def _those_in(self, states: Collection[ServiceState]) -> list[str]:
        return [name for name, one in self.keepers.items() if one.state in states]

    def may_start(self) -> bool:
        """Whether one that waits has all that it needs."""
        waiting = self._those_in({ServiceState.WAITING})
        return bool(order.startable(waiting, self.needs(), self._those_in(SATISFIED)))

    def waits_for(self, keeper: Keeper) -> str:
        """Return what a service waits for, as people say it, or ""."""
        if keeper.state is not ServiceState.WAITING:
            return ""
        missing = [self.keepers[one] for one in keeper.service.needs if one in self.keepers]
        told = [f"{one.service.name} ({one.state.value})" for one in missing if one.state not in SATISFIED]
        return f"waits for {', '.join(told)}" if told else ""

    # --- starting and stopping ------------------------------------------------------------------

    async def start(self, names: Iterable[str]) -> None:
        """Start services, and those that they need; return when all of them go no further."""
        chosen = [self.keepers[name] for name in order.with_needed(names, self.needs())]
        asked = set(names)
        await self._until_none_stops(chosen)
        if self.ending:
            return
        for keeper in chosen:
            wanted = keeper.service.name in asked or keeper.state not in SATISFIED
            if wanted and keeper.state in STARTABLE:
                keeper.ask_start()
        await self.until_settled(chosen)

    async def _until_none_stops(self, keepers: Iterable[Keeper]) -> None:
        for keeper in keepers:
            if (
                keeper.stop_wanted and keeper.state is not ServiceState.STOPPED
            ):  # it is being stopped, or restarted
                await keeper.life.until(lambda state: state is not ServiceState.STOPPING)

    async def stop(self, names: Iterable[str]) -> None:
        """Stop services, those that others of them need last; return when they have."""
        chosen = [self.keepers[name] for name in names]
        for keeper in chosen:
            keeper.stop_wanted = True
        self.advance_later()
        for keeper in chosen:
            await keeper.life.until(lambda state: state is ServiceState.STOPPED)

    async def restart(self, names: Iterable[str]) -> None:
        """Stop services and start them, and return when all of them go no further."""
        chosen = list(names)
        await self.stop(chosen)
        await self.start(chosen)

    def _restart_those_with(self, needed: Keeper) -> None:
        """Restart the services that follow a restart of `needed`."""
        for keeper in self.keepers.values():
            service = keeper.service
            runs = (
                keeper.state in (ServiceState.STARTING, ServiceState.READY, ServiceState.UNHEALTHY)
                and not keeper.stop_wanted
            )
            if service.restart_with and needed.service.name in service.needs and runs and not self.ending:
                keeper.log.event(f"restarted, because {needed.service.name} was started again", logging.INFO)
                self._spawn(self.restart([service.name]))

    def watch_files(self) -> None:
        """Restart services when files change that they are made of; to be called after each reading."""
        self.end_watches()
        self._file_watches = [
            asyncio.get_running_loop().create_task(self._watch_files_of(keeper))
            for keeper in self.keepers.values()
            if keeper.service.watch
        ]

    async def _watch_files_of(self, keeper: Keeper) -> None:
        service = keeper.service

        async def restart(changed: str) -> None:
            if (
                keeper.state in ALIVE | {ServiceState.RESTARTING, ServiceState.FAILED}
                and not keeper.stop_wanted
            ):
                keeper.log.event(f"restarted, because files changed: {changed}", logging.INFO)
                self._spawn(self.restart([service.name]))

        await restart_at_changes(service.name, service.process.directory, service.watch, restart)

    def end_watches(self) -> None:
        """Watch no files any more."""
        for task in self._file_watches:
            task.cancel()
        self._file_watches = []

    # --- waiting --------------------------------------------------------------------------------

    async def until_settled(self, keepers: Iterable[Keeper]) -> None:
        """Return once these go no further by themselves, or wait for one that does not."""
        chosen = list(keepers)
        while not all(self._is_settled(keeper) for keeper in chosen):
            await self.wait_changed()

    def _is_settled(self, keeper: Keeper) -> bool:
        if keeper.state is ServiceState.WAITING:
            needed = [self.keepers[one] for one in keeper.service.needs if one in self.keepers]
            unready = [one for one in needed if one.state not in SATISFIED]
            return bool(unready) and all(self._is_settled(one) for one in unready)
        return keeper.state in SETTLED

    async def wait_changed(self) -> None:
        """Return when something has happened to a service, or to the home."""
        changed = asyncio.Event()
        watch: Watch = lambda event: changed.set()  # noqa: E731
        self._watches.append(watch)
        try:
            await changed.wait()
        finally:
            self._watches.remove(watch)

    async def all_stopped(self) -> None:
        """Return once none runs, or will."""
        for keeper in list(self.keepers.values()):
            await keeper.life.until(lambda state: state is ServiceState.STOPPED)

    def grace_s(self) -> float:
        """Return the longest time that a service may take to end, in seconds."""
        return max((one.service.stop_timeout_s for one in self.keepers.values()), default=SERVICE_SWEEP_S)

    async def give_up(self) -> None:
        """Wait until all have stopped, for as long as that may take, and close their sockets and logs.

        For a supervisor that has failed: it may have too few descriptors left to see them end.
        """
        keepers = list(self.keepers.values())
        try:
            async with asyncio.timeout(self.grace_s() + SERVICE_SWEEP_S):
                await self.all_stopped()
                await asyncio.gather(*(keeper.close() for keeper in keepers))
        except TimeoutError:
            logger.error("not stopped: %s", [one.service.name for one in keepers if one.state in ALIVE])
        for keeper in keepers:
            keeper.trigger.close()
            keeper.log.close()

    def events_during(self, work: Coroutine[Any, Any, None]) -> AsyncIterator[Event]:
        """Return what happens from now on until some work is done."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        watch: Watch = queue.put_nowait
        self._watches.append(watch)
        task = asyncio.ensure_future(work)
        task.add_done_callback(lambda done: queue.put_nowait(None))

        async def events() -> AsyncIterator[Event]:
            try:
                while (event := await queue.get()) is not None:
                    yield event
            finally:
                self._watches.remove(watch)
                task.cancel()

        return events()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
