"""The supervisor of a home: who may start now, who must stop first, and who is told.

Owns the whole: the lock, the socket, the signals, the order, the difference at a reload, what a
killed predecessor left, and reaping.  The life of one service is `keeper`'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from daemonry.clock import Deadline
from daemonry.errors import AlreadyRunning, ConfigError, DaemonryError, Refused, UnsafePath
from daemonry.home import difference, home_file, order, service_record
from daemonry.home.child import ALIVE, SATISFIED, SETTLED, State
from daemonry.home.control import (
    Event,
    GoingDown,
    HomeControl,
    HomeFileInvalid,
    NoSuchService,
    NotUp,
    ServiceStatus,
)
from daemonry.home.home import Home
from daemonry.home.home_file import RESERVED, HomeFile, Orphan
from daemonry.home.keeper import Keeper
from daemonry.home.own_files import OwnFiles
from daemonry.home.process_run import AdoptedRun
from daemonry.home.service_record import ServiceRecord
from daemonry.limits import LOCK_PROBE_PATIENCE_S, SERVICE_SWEEP_S
from daemonry.process import atomic_file, homes, logs, platform, record, record_fields, sweep
from daemonry.process.identity import Identity
from daemonry.process.lock import Lock
from daemonry.process.orphans import Foundlings
from daemonry.process.private_dir import ensure_unwritable_by_others
from daemonry.process.readiness import Reporter
from daemonry.process.reaping import Reaper
from daemonry.process.record import Record
from daemonry.process.regular_file import is_regular
from daemonry.service.server.builtin import Control, VarlinkService
from daemonry.service.server.dispatch import Calls
from daemonry.service.server.server import Server
from daemonry.version import __version__

logger = logging.getLogger("daemonry.home")

# Where a service goes no further unless it is asked to.
_STARTABLE: Final = frozenset((State.STOPPED, State.DONE, State.IDLE, State.FAILED))
_LEVELS: Final = {logging.WARNING: "warning", logging.ERROR: "error"}

Watch = Callable[[Event], None]


class Supervisor:
    """The supervisor of one home.

    Args:
        home: its files.
        watch: told what happens, besides those who ask.
        line: told each line of each service, with the service's name.
        stays: whether it goes on when no service will ever run again.
        report: told the stages of the start.

    Attributes:
        keepers: one for each service, each after those that it needs.
        reaper: collects what ends.
        files: what it writes and removes, and can go on without.
    """

    def __init__(
        self,
        home: Home,
        *,
        watch: Watch = lambda event: None,
        line: Callable[[str, str], None] | None = None,
        stays: bool = True,
        report: Reporter | None = None,
    ) -> None:
        self.home = home
        self.keepers: dict[str, Keeper] = {}
        self.reaper = Reaper()
        self.files = OwnFiles()
        self._foundlings = Foundlings(self.reaper.knows)
        self._file: HomeFile | None = None
        self._watches: list[Watch] = [watch]
        self._line = line
        self._stays = stays
        self._report = report or Reporter(None)
        self._lock: Lock | None = None
        self._server: Server | None = None
        self._ending = False
        self._hurried = False
        self._made = False
        self._advance_soon = False
        self._reloading = asyncio.Lock()
        self._over = asyncio.Event()
        self._started_at = time.time()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- its life -------------------------------------------------------------------------------

    async def run(self) -> int:
        """Be the supervisor until it is told to end; return the exit code.

        Raises:
            AlreadyRunning: the home has a supervisor.
            ConfigError, UnsafePath, SocketBindError: it cannot be one; nothing was started.
        """
        loop = asyncio.get_running_loop()
        self._listen_to_signals(loop)
        self._enter("lock")
        ensure_unwritable_by_others(self.home.directory)
        self._lock = Lock.take(self.home.lock_path, Deadline(LOCK_PROBE_PATIENCE_S))
        if self._lock is None:
            found = self.home.record()
            raise AlreadyRunning(self.home.name, found.pid if found else None, str(self.home.endpoint))
        try:
            # Not released after that: it is free when this process has ended, which `down` waits for.
            return await self._run_locked()
        except BaseException:
            self._lock.release()
            raise

    async def _run_locked(self) -> int:
        self._enter("config")
        self._file = home_file.load(self.home.directory)
        log = logs.set_up(self.home.path(RESERVED, "log"))
        platform.become_subreaper()
        self._enter("leftovers")
        atomic_file.sweep(os.path.dirname(self.home.path(RESERVED, "json")))
        adopted = await self._clear_leftovers()
        self._enter("bind")
        self._server = Server(self.home.endpoint, leftovers="refuse", calls=self._calls())
        self._server.bind()
        serving = asyncio.get_running_loop().create_task(self._server.run(self, self._over))
        try:
            self._enter("record")
            self._write_record()
            self._list()
            self._make_keepers(adopted)
            self._enter("services")
            self._report.ready({"pid": os.getpid(), "endpoint": str(self.home.endpoint)})
            await self._over.wait()
            await asyncio.gather(*(keeper.close() for keeper in self.keepers.values()))
            await self._end_foundlings()
        finally:
            self._over.set()
            await serving
            self._server.cleanup()
            homes.remove(self.home.directory)
            self.files.remove(self.home.path(RESERVED, "json"))
            _remove_if_empty(self.home.path(RESERVED, "crash"))
            logger.info("ended")
            logging.getLogger().removeHandler(log)
            log.close()
        failed = any(keeper.state is State.FAILED for keeper in self.keepers.values())
        return 1 if failed or self._hurried else 0

    def _calls(self) -> Calls:
        calls = Calls()
        calls.serve(VarlinkService(calls, ("daemonry", f"home {self.home.name}", __version__, "")))
        calls.serve(Control(self, calls.tap, self._wait_changed, self.home.path(RESERVED, "log")))
        calls.serve(HomeControl(self))
        return calls

    def _list(self) -> None:
        """Let others find the home, and forget daemons that are none of its services any more."""
        self._forget_claims()
        try:
            homes.add(self.home.directory)
        except (OSError, DaemonryError) as error:
            logger.warning("not listed; its daemons are found at their own places only: %s", error)

    def _forget_claims(self) -> None:
        assert self._file is not None
        for name in homes.claims(self.home.directory).keys() - self._file.services.keys():
            homes.remove_claim(self.home.directory, name)

    async def _end_foundlings(self) -> None:
        """End what services have hidden and left: as a subreaper we are their parent by now."""
        found = self._foundlings.pids()
        if not found:
            return
        logger.warning("ending what services have hidden and left: %s", sorted(found))
        grace_s = max((one.service.stop_timeout_s for one in self.keepers.values()), default=SERVICE_SWEEP_S)
        left = await self._foundlings.end(grace_s, lambda: self._hurried)
        if left:
            logger.error("cannot be ended: %s", sorted(left))

    def _enter(self, stage: str) -> None:
        self._report.enter(stage)

    def _write_record(self) -> None:
        """Say in a file who we are, and whether we are ending.

        Raises:
            UnsafePath: it cannot be written; what it said before is still there.
        """
        path = self.home.path(RESERVED, "json")
        endpoint = str(self.home.endpoint)
        identity = Identity.of_this_process()
        nonce = os.urandom(8).hex()
        mine = Record(self._ending, endpoint, identity, self.home.name, nonce, self._started_at, __version__)
        try:
            record.write(path, mine)
        except OSError as error:
            raise UnsafePath(path, f"cannot be written: {error.strerror or error}") from error

    def _make_keepers(self, adopted: Mapping[str, tuple[ServiceRecord, AdoptedRun]]) -> None:
        assert self._file is not None
        for name in self._file.services:
            self._add(name)
        for name, (found, run) in adopted.items():
            self.keepers[name].adopt(found, run)
        self._made = True
        self._advance_later()

    def _add(self, name: str) -> Keeper:
        assert self._file is not None
        keeper = Keeper(self._file.services[name], self, self._file.log_bytes)
        keeper.stop_wanted = self._ending
        if self._line is not None:
            line = self._line
            keeper.log.watches.append(lambda text: line(name, text))
        self.keepers[name] = keeper
        return keeper

    # --- signals --------------------------------------------------------------------------------

    def _listen_to_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.add_signal_handler(signal.SIGCHLD, self.reaper.reap)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload_signalled)
        # Process 1 would be asked to collect what ended before the handler was there.
        loop.call_soon(self.reaper.reap)

    def _signalled(self, number: int) -> None:
        if self._ending:
            logger.warning("%s again: killing what is left", signal.Signals(number).name)
            self._hurry()
        else:
            logger.info("%s: stopping", signal.Signals(number).name)
            self.stop()

    def _reload_signalled(self) -> None:
        self._spawn(self._reload_by_signal())

    async def _reload_by_signal(self) -> None:
        try:
            await self.reload()
        except HomeFileInvalid as error:
            logger.error("not reloaded: %s", error.parameters["reason"])

    def _hurry(self) -> None:
        self._hurried = True
        for keeper in self.keepers.values():
            keeper.stop_wanted = True
            keeper.stop()
            keeper.kill()

    # --- what a predecessor left ----------------------------------------------------------------

    async def _clear_leftovers(self) -> dict[str, tuple[ServiceRecord, AdoptedRun]]:
        """End, or adopt, what a killed supervisor of this home has left."""
        adopted = {}
        ending = []
        for found in service_record.read_all(self.home.directory):
            run = self._adoptable(found)
            if run is not None:
                adopted[found.service] = (found, run)
            else:
                ending.append(self._end_leftover(found))
        await asyncio.gather(*ending)
        return adopted

    def _adoptable(self, found: ServiceRecord) -> AdoptedRun | None:
        assert self._file is not None
        service = self._file.services.get(found.service)
        identity = found.identity()
        if service is None or identity is None or not hasattr(os, "pidfd_open"):
            return None
        if service.process.orphan is not Orphan.ADOPT or not found.ready:
            return None
        if found.made_of != service_record.fingerprint(service.process):
            return None  # what is to run now is something else
        if identity.pid not in sweep.belonging(0, found.mark):
            return None  # a stranger that was given its number
        try:
            return AdoptedRun(identity, found.mark, found.started_at)
        except ProcessLookupError:
            return None

    async def _end_leftover(self, found: ServiceRecord) -> None:
        assert self._file is not None
        service = self._file.services.get(found.service)
        grace_s = service.stop_timeout_s if service is not None else SERVICE_SWEEP_S
        left = await asyncio.to_thread(sweep.belonging, 0, found.mark)
        if left:
            logger.warning("%s: ending what a killed supervisor left: %s", found.service, sorted(left))
            await asyncio.to_thread(sweep.end, 0, found.mark, grace_s)
        for suffix in ("json", "out"):
            self.files.remove(self.home.path(found.service, suffix))

    # --- the order ------------------------------------------------------------------------------

    def changed(self, keeper: Keeper, message: str, level: int) -> None:
        """Be told by a keeper that its state has changed."""
        event = Event(keeper.service.name, keeper.state.value, message, _LEVELS.get(level, "info"))
        logger.log(level, "%s: %s", event.service, message)
        if level >= logging.INFO:
            for watch in list(self._watches):
                watch(event)
        self._advance_later()

    def _advance_later(self) -> None:
        if not self._advance_soon:
            self._advance_soon = True
            asyncio.get_running_loop().call_soon(self._advance)

    def _advance(self) -> None:
        """Start what can start, stop what can stop, and end when nothing is left to do."""
        self._advance_soon = False
        self._stop_those_that_can()
        waiting = [name for name, one in self.keepers.items() if one.state is State.WAITING]
        ready = {name for name, one in self.keepers.items() if one.state in SATISFIED}
        for name in order.startable(waiting, self._needs(), ready):
            if not self.keepers[name].stop_wanted:
                self.keepers[name].start()
        if self._is_over():
            self._over.set()

    def _stop_those_that_can(self) -> None:
        wanted = [
            name for name, one in self.keepers.items() if one.stop_wanted and one.state is not State.STOPPED
        ]
        # Only those that are to stop as well are waited for: a restart leaves those that need it alone.
        alive = [name for name in wanted if self.keepers[name].state in ALIVE]
        for name in order.stoppable(wanted, self._needs(), alive):
            self.keepers[name].stop()

    def _needs(self) -> dict[str, tuple[str, ...]]:
        # A service that a reload has added or removed may be missing on one side.
        return {
            name: tuple(one for one in keeper.service.needs if one in self.keepers)
            for name, keeper in self.keepers.items()
        }

    def _is_over(self) -> bool:
        if not self._made:  # a signal came while it starts
            return False
        states = {keeper.state for keeper in self.keepers.values()}
        if self._ending:
            return states <= {State.STOPPED}
        if self._stays or self._reloading.locked():
            return False
        # Nobody could start it again but us, and nothing will.
        stuck = not (states & (ALIVE | {State.RESTARTING, State.READY, State.IDLE}))
        return bool(self.keepers) and stuck and not self._may_start()

    def _may_start(self) -> bool:
        ready = {name for name, one in self.keepers.items() if one.state in SATISFIED}
        waiting = [name for name, one in self.keepers.items() if one.state is State.WAITING]
        return bool(order.startable(waiting, self._needs(), ready))

    # --- what it can be asked -------------------------------------------------------------------

    def statuses(self) -> list[ServiceStatus]:
        """Return how each service is."""
        return [self._status(keeper) for keeper in self.keepers.values()]

    def _status(self, keeper: Keeper) -> ServiceStatus:
        service = keeper.service
        return ServiceStatus(
            name=service.name,
            state=keeper.state.value,
            pid=keeper.pid,
            since=keeper.since_s,
            restarts=keeper.restarts,
            last_exit=keeper.last_end or None,
            readiness=service.ready.kind.value,
            note=keeper.reason or self._waits_for(keeper) or keeper.tells or None,
            needs=[*service.needs],
            **self._daemon_fields(keeper),
        )

    def _daemon_fields(self, keeper: Keeper) -> dict[str, str | None]:
        claim = keeper.claim
        if claim is None:
            return {}
        endpoint = record_fields.read_endpoint(claim.place.record_path) if keeper.pid is not None else None
        return {"daemon": claim.place.name, "version": claim.version, "endpoint": endpoint}

    def _waits_for(self, keeper: Keeper) -> str:
        if keeper.state is not State.WAITING:
            return ""
        missing = [one for one in keeper.service.needs if self._state_of(one) not in SATISFIED]
        told = [f"{one} ({state.value})" for one in missing if (state := self._state_of(one))]
        return f"waits for {', '.join(told)}" if told else ""

    def _state_of(self, name: str) -> State | None:
        keeper = self.keepers.get(name)
        return keeper.state if keeper is not None else None

    async def restart(self, name: str) -> ServiceStatus:
        """Stop a service and start it, and return how it is when it is ready.

        Raises:
            NoSuchService: there is none of that name.
            NotUp: it did not become ready.
            GoingDown: the home starts nothing any more.
        """
        keeper = self._keeper(name)
        keeper.unhelped = ""
        await self._stop_one(keeper)
        return await self._start_one(keeper)

    async def start(self, name: str) -> ServiceStatus:
        """Start a service that does not run, whatever it ended by, and return how it is when it is ready.

        Raises:
            As `restart`.
        """
        keeper = self._keeper(name)
        if keeper.stop_wanted and keeper.state is not State.STOPPED:  # it is being stopped, or restarted
            await keeper.until(lambda state: state is not State.STOPPING)
        return await self._start_one(keeper)

    async def stop_service(self, name: str) -> ServiceStatus:
        """Stop a service, and return how it is then.

        Raises:
            NoSuchService: there is none of that name.
            GoingDown: the home stops all of its services.
        """
        keeper = self._keeper(name)
        await self._stop_one(keeper)
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
            await self._stop_one(keeper)
        status = await self._start_one(keeper)
        if status.version == version:
            keeper.unhelped = version
        return status

    def _keeper(self, name: str) -> Keeper:
        if self._ending:
            raise GoingDown
        keeper = self.keepers.get(name)
        if keeper is None:
            raise NoSuchService(name=name, known=[*self.keepers])
        return keeper

    async def _start_one(self, keeper: Keeper) -> ServiceStatus:
        """Have a service start unless it is on its way, and return how it is when it is ready."""
        name = keeper.service.name
        if self._ending:
            raise GoingDown
        if keeper.state in _STARTABLE:
            keeper.ask_start()
        await self._until_settled([keeper])
        if self._ending:
            raise GoingDown
        if keeper.state not in SATISFIED:
            raise NotUp(name=name, reason=keeper.reason or self._waits_for(keeper) or keeper.state.value)
        return self._status(keeper)

    async def _stop_one(self, keeper: Keeper) -> None:
        keeper.stop_wanted = True
        self._advance_later()
        await keeper.until(lambda state: state is State.STOPPED)

    async def _until_settled(self, keepers: list[Keeper]) -> None:
        """Return once these go no further by themselves, or wait for one that does not."""
        while not all(self._is_settled(keeper) for keeper in keepers):
            await self._wait_changed()

    def _is_settled(self, keeper: Keeper) -> bool:
        if keeper.state is State.WAITING:
            needed = [self.keepers[one] for one in keeper.service.needs if one in self.keepers]
            unready = [one for one in needed if one.state not in SATISFIED]
            return bool(unready) and all(self._is_settled(one) for one in unready)
        return keeper.state in SETTLED

    async def settle(self) -> AsyncIterator[Event]:
        """Yield what has happened last to those that are settled, and what happens until all are."""
        events = self._events_during(self._until_settled([*self.keepers.values()]))
        for keeper in self.keepers.values():
            if keeper.state in SETTLED:
                yield Event(keeper.service.name, keeper.state.value, keeper.message, "info")
        async for event in events:
            yield event

    async def down(self) -> AsyncIterator[Event]:
        """Stop all, and yield what happens until all have stopped."""
        self._begin_end()
        async for event in self._events_during(self._all_stopped()):
            yield event

    async def _all_stopped(self) -> None:
        for keeper in list(self.keepers.values()):
            await keeper.until(lambda state: state is State.STOPPED)

    def _events_during(self, work: Any) -> AsyncIterator[Event]:
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

    async def reload(self) -> str:
        """Read home.toml again, apply what differs, and return that in words.

        Raises:
            HomeFileInvalid: it cannot be used; nothing was changed.
        """
        async with self._reloading:
            if self._ending:
                raise HomeFileInvalid(reason="the home is going down")
            try:
                new = home_file.load(self.home.directory)
            except ConfigError as error:
                raise HomeFileInvalid(reason=str(error)) from None
            assert self._file is not None
            found = difference.compare(self._file.services, new.services)
            await self._apply(new, found)
            self._forget_claims()
        logger.info("reloaded: %s", found)
        self._advance_later()
        return str(found)

    async def _apply(self, new: HomeFile, found: difference.Difference) -> None:
        going = [self.keepers[name] for name in (*found.removed, *found.restarted)]
        was_stopped = {keeper for keeper in going if keeper.state is State.STOPPED}
        await asyncio.gather(*(self._stop_one(keeper) for keeper in going))
        self._file = new
        for name in found.removed:
            await self.keepers.pop(name).close()
        for name in (*found.restarted, *found.adjusted):
            self.keepers[name].service = new.services[name]
        for name in found.added:
            self._add(name)
        self.keepers = {name: self.keepers[name] for name in new.services}
        for name in found.restarted:
            if self.keepers[name] not in was_stopped and not self._ending:
                self.keepers[name].ask_start()

    # --- the text dialect -----------------------------------------------------------------------

    def get_status(self) -> dict[str, Any]:
        """Return the fields of STATUS."""
        states = [keeper.state for keeper in self.keepers.values()]
        return {
            "state": "draining" if self._ending else "running",
            "pid": os.getpid(),
            "home": self.home.directory,
            "uptime_secs": int(time.time() - self._started_at),
            "services": len(states),
            "ready": sum(1 for state in states if state in SATISFIED),
            "failed": sum(1 for state in states if state is State.FAILED),
        }

    def pause(self) -> None:
        """Refuse: services are stopped one by one or all together."""
        raise Refused("a home is not paused: take it down, or restart a service")

    def resume(self) -> None:
        """Refuse, as `pause`."""
        self.pause()

    async def _wait_changed(self) -> None:
        """Return when something has happened to a service, or to the home."""
        changed = asyncio.Event()
        watch: Watch = lambda event: changed.set()  # noqa: E731
        self._watches.append(watch)
        try:
            await changed.wait()
        finally:
            self._watches.remove(watch)

    async def reload_config(self) -> str:
        """Do as `reload` does, for the text dialect."""
        try:
            return await self.reload()
        except HomeFileInvalid as error:
            raise DaemonryError(error.parameters["reason"]) from None

    def stop(self) -> None:
        """Begin to stop all; return at once."""
        self._begin_end()

    def version(self) -> str:
        """Return the supervisor's version."""
        return __version__

    def _begin_end(self) -> None:
        if not self._ending:
            self._ending = True
            if self._server is not None:
                self._tell_end()
        for keeper in self.keepers.values():
            keeper.stop_wanted = True
        self._advance_later()

    def _tell_end(self) -> None:
        """Say in the record that we are ending; a full disk does not keep us from it."""
        try:
            self._write_record()
        except UnsafePath as error:
            logger.warning("%s", error)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _remove_if_empty(path: str) -> None:
    try:
        if is_regular(path) and os.stat(path).st_size == 0:
            os.unlink(path)
    except OSError:
        pass
