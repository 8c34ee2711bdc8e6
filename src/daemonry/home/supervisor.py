"""The supervisor of a home, as a process.

Owns the whole: the lock, the socket, the signals, the difference at a reload, what a killed predecessor
left, and reaping.  Order is `fleet`'s, requests about services are `answers`'s, one service is `keeper`'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from daemonry.clock import Deadline
from daemonry.errors import AlreadyRunning, ConfigError, DaemonryError, Refused, UnsafePath
from daemonry.home import difference, order, service_record
from daemonry.home.answers import Answers
from daemonry.home.child import ALIVE, SATISFIED, State
from daemonry.home.control import HomeControl, HomeFileInvalid
from daemonry.home.fleet import Fleet, Watch
from daemonry.home.home import Home
from daemonry.home.home_toml import home_file
from daemonry.home.keeper import Keeper
from daemonry.home.own_files import OwnFiles
from daemonry.home.process_run import AdoptedRun
from daemonry.home.service import RESERVED, HomeFile, Orphan
from daemonry.home.service_record import ServiceRecord
from daemonry.limits import LOCK_PROBE_PATIENCE_S, SERVICE_SWEEP_S
from daemonry.process import atomic_file, homes, logs, platform, record, sweep
from daemonry.process.identity import Identity
from daemonry.process.lock import Lock
from daemonry.process.notify import Notifier
from daemonry.process.orphans import Orphans
from daemonry.process.private_dir import ensure_unwritable_by_others
from daemonry.process.readiness import Reporter
from daemonry.process.reaping import Reaper
from daemonry.process.record import Record
from daemonry.process.regular_file import is_regular
from daemonry.service.server.builtin import Control, VarlinkService
from daemonry.service.server.dispatch import Calls
from daemonry.service.server.server import Server
from daemonry.version import __version__

if TYPE_CHECKING:
    from daemonry.daemon.http_settings import Http
    from daemonry.home.http import HttpOfHome

logger = logging.getLogger("daemonry.home")


class Supervisor:
    """The supervisor of one home.

    Args:
        home: its files.
        watch: told what happens, besides those who ask.
        line: told each line of each service, with the service's name.
        stays: whether it goes on when no service will ever run again.
        report: told the stages of the start.
        only: names of services and groups that are started, with what they need; () for all.

    Attributes:
        fleet: its services.
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
        only: Collection[str] = (),
    ) -> None:
        self.home = home
        self.fleet = Fleet(watch, self._end_if_over)
        self.reaper = Reaper()
        self.files = OwnFiles()
        self._foundlings = Orphans(self.reaper.knows)
        self._file: HomeFile | None = None
        self._line = line
        self._only = frozenset(only)
        self._stays = stays
        self._report = report or Reporter(None)
        self._notifier = Notifier.of_environment()
        self._lock: Lock | None = None
        self._server: Server | None = None
        self._http: HttpOfHome | None = None
        self._hurried = False
        self._made = False
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
        calls = self._calls()
        http = self._http_of(self._file.http, calls)
        door = None if http is None else http.door
        self._server = Server(self.home.endpoint, leftovers="refuse", calls=calls, http=door)
        self._server.awaits_notices = True
        self._server.bind()
        beating: asyncio.Task[None] | None = None
        serving = asyncio.get_running_loop().create_task(self._server.run(self, self._over))
        try:
            self._enter("record")
            self._write_record()
            self._list()
            self._make_keepers(adopted)
            self._enter("services")
            if http is not None:
                http.port.open(http.door.settings, asyncio.get_running_loop())
            self._notifier.ready(f"{len(self.fleet.keepers)} services")
            beating = asyncio.get_running_loop().create_task(self._beat())
            self._report.ready({"pid": os.getpid(), "endpoint": str(self.home.endpoint)})
            await self._over.wait()
            await asyncio.gather(*(keeper.close() for keeper in self.fleet.keepers.values()))
            await self._end_foundlings()
        finally:
            self._over.set()
            if beating is not None:
                beating.cancel()
            await serving
            if http is not None:
                http.close()
            self._server.cleanup()
            homes.remove(self.home.directory)
            self.files.remove(self.home.path(RESERVED, "json"))
            _remove_if_empty(self.home.path(RESERVED, "crash"))
            logger.info("ended")
            logging.getLogger().removeHandler(log)
            log.close()
        failed = any(keeper.state is State.FAILED for keeper in self.fleet.keepers.values())
        return 1 if failed or self._hurried else 0

    async def _beat(self) -> None:
        """Tell the service manager that we live, as often as it wants to know; never, where it does not."""
        every_s = self._notifier.watchdog_s
        while every_s is not None:
            self._notifier.beat()
            await asyncio.sleep(every_s / 2)

    def _calls(self) -> Calls:
        calls = Calls()
        calls.serve(VarlinkService(calls, ("daemonry", f"home {self.home.name}", __version__, "")))
        calls.serve(Control(self, calls, self.fleet.wait_changed, self.home.path(RESERVED, "log")))
        calls.serve(HomeControl(Answers(self.fleet, self._begin_end, self.reload)))
        return calls

    def _http_of(self, settings: Http | None, calls: Calls) -> HttpOfHome | None:
        if settings is None:
            return None
        from daemonry.home.http import http_of_home

        self._http = http_of_home(
            home=self.home,
            settings=settings,
            state=self,
            fleet=self.fleet,
            calls=calls,
            connections=lambda: 0 if self._server is None else self._server.connections,
        )
        return self._http

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
        grace_s = max(
            (one.service.stop_timeout_s for one in self.fleet.keepers.values()), default=SERVICE_SWEEP_S
        )
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
        mine = Record(
            self.fleet.ending, endpoint, identity, self.home.name, nonce, self._started_at, __version__
        )
        try:
            record.write(path, mine)
        except OSError as error:
            raise UnsafePath(path, f"cannot be written: {error.strerror or error}") from error

    def _make_keepers(self, adopted: Mapping[str, tuple[ServiceRecord, AdoptedRun]]) -> None:
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
        """Leave stopped what was not asked for."""
        if not self._only:
            return
        assert self._file is not None
        chosen = order.with_needed(self._file.meant(self._only), self.fleet.needs())
        for name, keeper in self.fleet.keepers.items():
            if name not in chosen and keeper.state is State.WAITING:
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

    # --- signals --------------------------------------------------------------------------------

    def _listen_to_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.add_signal_handler(signal.SIGCHLD, self.reaper.reap)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload_signalled)
        # Process 1 would be asked to collect what ended before the handler was there.
        loop.call_soon(self.reaper.reap)

    def _signalled(self, number: int) -> None:
        if self.fleet.ending:
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
        for keeper in self.fleet.keepers.values():
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

    # --- its end --------------------------------------------------------------------------------

    def _end_if_over(self) -> None:
        if self._is_over():
            self._over.set()

    def _is_over(self) -> bool:
        if not self._made:  # a signal came while it starts
            return False
        states = {keeper.state for keeper in self.fleet.keepers.values()}
        if self.fleet.ending:
            return states <= {State.STOPPED}
        if self._stays or self._reloading.locked():
            return False
        # Nobody could start it again but us, and nothing will.
        stuck = not (states & (ALIVE | {State.RESTARTING, State.READY, State.IDLE}))
        return bool(self.fleet.keepers) and stuck and not self.fleet.may_start()

    # --- home.toml, again -----------------------------------------------------------------------

    async def reload(self) -> str:
        """Read home.toml again, apply what differs, and return that in words.

        Raises:
            HomeFileInvalid: it cannot be used; nothing was changed.
        """
        async with self._reloading:
            if self.fleet.ending:
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
        self.fleet.watch_files()
        self.fleet.advance_later()
        return str(found)

    async def _apply(self, new: HomeFile, found: difference.Difference) -> None:
        going = [self.fleet.keepers[name] for name in (*found.removed, *found.restarted)]
        was_stopped = {keeper for keeper in going if keeper.state is State.STOPPED}
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

    # --- the text dialect -----------------------------------------------------------------------

    def get_status(self) -> dict[str, Any]:
        """Return the fields of STATUS."""
        states = [keeper.state for keeper in self.fleet.keepers.values()]
        return {
            "state": "draining" if self.fleet.ending else "running",
            "pid": os.getpid(),
            "home": self.home.directory,
            "uptime_secs": int(time.time() - self._started_at),
            "services": len(states),
            "ready": sum(1 for state in states if state in SATISFIED),
            "failed": sum(1 for state in states if state is State.FAILED),
            **({} if self._http is None else self._http.fields()),
        }

    def pause(self) -> None:
        """Refuse: services are stopped one by one or all together."""
        raise Refused("a home is not paused: take it down, or restart a service")

    def resume(self) -> None:
        """Refuse, as `pause`."""
        self.pause()

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
        if not self.fleet.ending:
            self.fleet.ending = True
            self.fleet.end_watches()
            self._notifier.stopping()
            if self._server is not None:
                self._tell_end()
        for keeper in self.fleet.keepers.values():
            keeper.stop_wanted = True
        self.fleet.advance_later()

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
