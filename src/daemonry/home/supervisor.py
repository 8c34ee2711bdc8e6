"""The supervisor of a home, as a process.

Owns the whole: the order of its start and its end, and applying the difference at a reload.  The order of
services is `fleet`'s, requests about services are `answers`'s, commands about the home `home_state`'s,
signals `signals`'s, the services of a killed predecessor `leftovers`'s, and one service `keeper`'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

from daemonry.clock import Deadline
from daemonry.errors import AlreadyRunning, DaemonryError
from daemonry.home import difference, leftovers, order
from daemonry.home.child import ALIVE, ServiceState
from daemonry.home.fleet import Fleet, Watch
from daemonry.home.home import Home
from daemonry.home.home_state import HomeState
from daemonry.home.home_toml import home_file
from daemonry.home.keeper import Keeper
from daemonry.home.leftovers import Adopted
from daemonry.home.names import RESERVED
from daemonry.home.own_files import OwnFiles
from daemonry.home.run.process_run import Minders
from daemonry.home.service import HomeFile
from daemonry.home.serving import loading
from daemonry.home.signals import HomeSignals
from daemonry.home.supervisor_record import SupervisorRecord
from daemonry.limits import LOCK_PROBE_PATIENCE_S
from daemonry.process import atomic_file, crash_file, homes, logs, platform
from daemonry.process.lock import Lock
from daemonry.process.log import own_loggers
from daemonry.process.notify import Notifier
from daemonry.process.orphans import Orphans
from daemonry.process.private_dir import ensure_unwritable_by_others
from daemonry.process.readiness import Reporter
from daemonry.service.server.listener.bound_listener import BoundListener

if TYPE_CHECKING:
    from daemonry.daemon.http_settings import Http

logger: logging.Logger = logging.getLogger("daemonry.home")

# How long the server's modules wait for the first starts: until they are loaded nobody is answered.
_LOADED_BEHIND_S: Final = 0.3


class Supervisor:
    """The supervisor of one home.

    Args:
        home: its files.
        watch: called with each event.
        line: called with the name of a service and each of its lines.
        stays: whether it goes on when no service will ever run again.
        report: called with the stages of the start.
        owns_session: whether it was started in a session of its own, so that all in there is its to end.
        only: names of services and groups that are started, with those that they need; () for all.

    Attributes:
        fleet: its services.
        minders: those who see processes end.
        files: files that it writes and removes, and can go on without.
    """

    def __init__(
        self,
        home: Home,
        *,
        watch: Watch = lambda event: None,
        line: Callable[[str, str], None] | None = None,
        stays: bool = True,
        report: Reporter | None = None,
        only: Collection[str] = (),
        owns_session: bool = False,
    ) -> None:
        self.home = home
        self.fleet: Fleet = Fleet(watch, self._end_if_over)
        self.minders: Minders = Minders.make(os.getpid() if owns_session else 0)
        self.files: OwnFiles = OwnFiles()
        self._orphans = Orphans(self.minders.reaper.knows)
        self._state = HomeState(home, self.fleet, self._begin_end, self.reload)
        self._record = SupervisorRecord(home, self._state.started_at)
        self._file: HomeFile | None = None
        self._line = line
        self._only = frozenset(only)
        self._stays = stays
        self._report = report or Reporter(None)
        self._notifier = Notifier.of_environment()
        self._lock: Lock | None = None
        self._listens = False
        self._hurried = False
        self._made = False
        self._reloading = asyncio.Lock()
        self._over = asyncio.Event()

    def __repr__(self) -> str:
        services = ", ".join(f"{name} {keeper.state.value}" for name, keeper in self.fleet.keepers.items())
        return f"<Supervisor of {self.home.name}{' (ending)' if self.fleet.ending else ''}: {services}>"

    # --- its life -------------------------------------------------------------------------------

    async def run(self) -> int:
        """Run the home until it has ended, and return the exit code.

        Raises:
            AlreadyRunning: the home has a supervisor.
            ConfigError, UnsafePath, SocketBindError: it cannot be one; nothing was started.
        """
        loop = asyncio.get_running_loop()
        HomeSignals(self.fleet, self.minders.reaper, self._begin_end, self._hurry, self.reload).listen(loop)
        self._report.enter("config")  # before a file of the supervisor's own is made
        self._state.file.reading()
        self._file = file = home_file.load(self.home.directory)
        self._state.file.counts()
        self._report.enter("lock")
        ensure_unwritable_by_others(self.home.directory)
        self._lock = Lock.take(self.home.lock_path, Deadline(LOCK_PROBE_PATIENCE_S))
        if self._lock is None:
            found = self.home.record()
            raise AlreadyRunning(self.home.name, found.pid if found else None, str(self.home.endpoint))
        try:
            # Not released after that: it is free when this process has ended, which `down` waits for.
            return await self._run_locked(file)
        except BaseException:
            self._lock.release()
            raise

    async def _run_locked(self, file: HomeFile) -> int:
        self._report.enter("logs")
        log = logs.set_up(self.home.path(RESERVED, "log"))
        platform.become_subreaper()
        self._report.enter("leftovers")
        atomic_file.sweep(os.path.dirname(self.home.path(RESERVED, "json")))
        adopted = await leftovers.clear(self.home, file.services, self.files)
        self._report.enter("bind")
        if file.http is not None:
            from daemonry.http.door import check_modules

            check_modules()  # before anything starts
        bound = BoundListener(self.home.endpoint, "refuse", None)
        bound.bind()
        self._listens = True
        try:
            self._report.enter("record")
            self._record.write(ending=self.fleet.ending)
            self._list()
            self._report.enter("logs")
            self._make_keepers(adopted)
            self._report.enter("services")
            await self.fleet.until_begun(_LOADED_BEHIND_S)
            await self._serve(bound, file.http)
            await asyncio.gather(*(keeper.close() for keeper in self.fleet.keepers.values()))
            await self._end_orphans()
        except Exception:
            self._begin_end()
            await self.fleet.give_up()  # also since removing the socket takes descriptors
            raise
        finally:
            bound.close()
            homes.remove(self.home.directory)
            self.minders.guard.close()
            self._record.remove(self.files)
            crash_file.remove_empty(self.home.path(RESERVED, "crash"))
            logger.info("ended")
            own_loggers.detach(log)
            log.close()
        failed = any(keeper.state is ServiceState.FAILED for keeper in self.fleet.keepers.values())
        return 1 if failed or self._hurried else 0

    async def _beat(self) -> None:
        """Tell the service manager that we live, as often as it wants to know; never, where it does not."""
        every_s = self._notifier.watchdog_s
        while every_s is not None:
            self._notifier.beat()
            await asyncio.sleep(every_s / 2)

    async def _serve(self, bound: BoundListener, settings: Http | None) -> None:
        """Answer for the home until it is over; the modules for that are loaded behind the first starts."""
        make = await loading.load()
        served = make(
            home=self.home,
            bound=bound,
            state=self._state,
            fleet=self.fleet,
            begin_end=self._begin_end,
            reload=self.reload,
            settings=settings,
        )
        loop = asyncio.get_running_loop()
        serving = loop.create_task(served.server.run(self._state, self._over))
        beating: asyncio.Task[None] | None = None
        try:
            if served.http is not None:
                served.http.port.open(served.http.door.settings, loop)
            self._notifier.ready(f"{len(self.fleet.keepers)} services")
            beating = loop.create_task(self._beat())
            at = str(self.home.endpoint)
            self._report.ready({"pid": os.getpid(), "endpoint": at, "http": served.http is not None})
            await self._over.wait()
        finally:
            self._over.set()
            if beating is not None:
                beating.cancel()
            await serving
            if served.http is not None:
                served.http.close()

    def _list(self) -> None:
        """Let others find the home, and forget daemons that are no longer its services."""
        self._forget_claims()
        try:
            homes.add(self.home.directory)
        except (OSError, DaemonryError) as error:
            logger.warning("not listed; its daemons are found at their own places only: %s", error)

    def _forget_claims(self) -> None:
        assert self._file is not None
        for name in homes.claims(self.home.directory).keys() - self._file.services.keys():
            homes.remove_claim(self.home.directory, name)

    async def _end_orphans(self) -> None:
        """End the processes that services have hidden and left: as a subreaper we are their parent by now."""
        found = self._orphans.pids()
        if not found:
            return
        logger.warning("ending what services have hidden and left: %s", sorted(found))
        left = await self._orphans.end(self.fleet.grace_s(), lambda: self._hurried)
        if left:
            logger.error("cannot be ended: %s", sorted(left))

    def _make_keepers(self, adopted: Adopted) -> None:
        assert self._file is not None
        for name in self._file.services:
            self._add(name)
        for name, (found, run) in adopted.items():
            self.fleet.keepers[name].adopt(found, run)
        self._leave_out()
        self.fleet.watch_files()
        self._made = True
        self.fleet.advance_later()

    def _leave_out(self) -> None:
        """Leave services stopped that were not asked for."""
        if not self._only:
            return
        assert self._file is not None
        chosen = order.with_needed(self._file.meant(self._only), self.fleet.needs())
        for name, keeper in self.fleet.keepers.items():
            if name not in chosen and keeper.state is ServiceState.WAITING:
                keeper.leave_stopped()

    def changed(self, keeper: Keeper, message: str, level: int) -> None:
        """See `keeper.Supervising`."""
        self.fleet.changed(keeper, message, level)

    def _add(self, name: str) -> Keeper:
        assert self._file is not None
        keeper = Keeper(self._file.services[name], self, self._file.log_bytes)
        keeper.stop_wanted = self.fleet.ending
        if self._line is not None:
            line = self._line
            keeper.log.watches.append(lambda text: line(name, text))
        self.fleet.keepers[name] = keeper
        return keeper

    def _hurry(self) -> None:
        self._hurried = True
        for keeper in self.fleet.keepers.values():
            keeper.stop_wanted = True
            keeper.stop()
            keeper.kill()

    # --- its end --------------------------------------------------------------------------------

    def _end_if_over(self) -> None:
        if self._is_over():
            self._over.set()

    def _is_over(self) -> bool:
        if not self._made:  # a signal came while it starts
            return False
        states = {keeper.state for keeper in self.fleet.keepers.values()}
        if self.fleet.ending:
            return states <= {ServiceState.STOPPED}
        if self._stays or self._reloading.locked():
            return False
        # Nobody could start it again but us, and nothing will.
        stuck = not (states & (ALIVE | {ServiceState.RESTARTING, ServiceState.READY, ServiceState.IDLE}))
        return bool(self.fleet.keepers) and stuck and not self.fleet.may_start()

    # --- home.toml, again -----------------------------------------------------------------------

    async def reload(self) -> str:
        """Read home.toml again, apply what differs, and return that in words.

        Raises:
            ConfigError: it cannot be used; nothing was changed.
            DaemonryError: the home is going down.
        """
        async with self._reloading:
            if self.fleet.ending:
                raise DaemonryError("the home is going down")
            self._state.file.reading()
            new = home_file.load(self.home.directory)
            assert self._file is not None
            found = difference.compare(self._file.services, new.services)
            await self._apply(new, found)
            self._state.file.counts()
            self._forget_claims()
        logger.info("reloaded: %s", found)
        self.fleet.watch_files()
        self.fleet.advance_later()
        return str(found)

    async def _apply(self, new: HomeFile, found: difference.Difference) -> None:
        going = [self.fleet.keepers[name] for name in (*found.removed, *found.restarted)]
        was_stopped = {keeper for keeper in going if keeper.state is ServiceState.STOPPED}
        await self.fleet.stop([keeper.service.name for keeper in going])
        self._file = new
        for name in found.removed:
            await self.fleet.keepers.pop(name).close()
        for name in (*found.restarted, *found.adjusted):
            self.fleet.keepers[name].redefine(new.services[name])
        for name in found.added:
            self._add(name)
        self.fleet.keepers = {name: self.fleet.keepers[name] for name in new.services}
        for name in found.restarted:
            if self.fleet.keepers[name] not in was_stopped and not self.fleet.ending:
                self.fleet.keepers[name].ask_start()

    def _begin_end(self) -> None:
        if not self.fleet.ending:
            self.fleet.ending = True
            self.fleet.end_watches()
            self._notifier.stopping()
            if self._listens:
                self._record.mark_ending()
        for keeper in self.fleet.keepers.values():
            keeper.stop_wanted = True
        self.fleet.advance_later()
