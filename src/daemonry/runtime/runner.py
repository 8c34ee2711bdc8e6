"""Being the daemon: from an empty process to ready, through its work, to a clean end.

Owns the order of things.

    directories  the state directory is made or checked; the log is opened
    lock         the start lock (or the one handed over), the name's where homes are, then the life lock
    config       the configuration is read
    bind         the socket is made; the record is written
    setup        the program's own preparations
    ready        the starter is told; the start lock is released; work begins

A stage that fails is told to the starter with its reason, and everything made so far is undone.
The control plane answers from `bind` on.  At the end: work is drained, the socket and the record
are removed, and last of all the life lock is let go, by the end of the process.
"""

from __future__ import annotations

import asyncio
import faulthandler
import inspect
import io
import logging
import os
import sys
import threading
import time
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

from daemonry import clock
from daemonry.daemon import crash_report, recipe, single_instance
from daemonry.daemon.config import absolute
from daemonry.daemon.context import Run
from daemonry.daemon.lifecycle import Happened, Phase
from daemonry.errors import (
    AlreadyRunning,
    DaemonryError,
    NotRunning,
    Refused,
    StartFailed,
    TargetInvalid,
    UnsafePath,
)
from daemonry.limits import DRAIN_GRACE_S, SOCKET_CHECK_S, START_TIMEOUT_S
from daemonry.process import activated, atomic_file, crash_file, environment, logs, record, registry, scarcity
from daemonry.process.forks import not_for_children
from daemonry.process.identity import Identity
from daemonry.process.lock import Lock
from daemonry.process.notify import Notifier
from daemonry.process.place import registry_dir
from daemonry.process.readiness import Reporter
from daemonry.process.record import Record
from daemonry.runtime.control_state import Life
from daemonry.runtime.fingerprint import Fingerprint, Settings
from daemonry.runtime.handover import Giver, HandOver, Taken
from daemonry.runtime.idle_shutdown import Idle
from daemonry.runtime.in_home import InHome, make_way, take_name
from daemonry.runtime.stuck_control import Beside
from daemonry.runtime.tasks import Job, drain
from daemonry.runtime.watchdog import Guardian
from daemonry.service.server import bounds
from daemonry.service.server.builtin import Control, VarlinkService
from daemonry.service.server.dispatch import Calls
from daemonry.service.server.failures import Failures
from daemonry.service.server.server import Server
from daemonry.service.server.standby import Standby, frame_of, where
from daemonry.transport.endpoint import FD, Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from daemonry.daemon.definition import Daemon
    from daemonry.transport.stream import Listener
    from daemonry.transport.unix import Leftovers

logger = logging.getLogger("daemonry.daemon")

_OURS = os.path.dirname(os.path.dirname(__file__)) + "/"
_ASYNCIO = os.path.dirname(asyncio.__file__) + "/"

# sysexits.h: an internal software error.  The guardian ends a process that cannot end by itself.
EXIT_HUNG = 70
_JOBS_LOOK_S = 0.05
# JSON, which the record is, has no infinity; 30 years are as good.
_LONGEST_S = 1e9


def run(
    daemon: Daemon,
    *,
    boot: Mapping[str, Any] | None = None,
    config_path: str | None = None,
    log_level: str = "info",
) -> int:
    """Be the daemon until it ends.

    Args:
        daemon: what to be.
        boot: what a starter handed over: `ready_fd` and `lock_fd`; without it this is the
            foreground, and the log is shown on standard error too.
        config_path: the configuration file; by default the daemon's usual one.
        log_level: one of `daemonry.process.logs.LEVELS`.

    Returns:
        The exit code: 0 after a stop, 1 when the daemon failed.  The caller is expected to end the
        process with it: the life lock stays held until then, and the guardian sees to it that
        threads which do not end cannot prevent it.

    Raises:
        AlreadyRunning: somebody is this daemon.
        DaemonryError, OSError: it could not start; nothing is left behind.
    """
    boot = boot or {}
    return _Performance(daemon, boot, config_path, log_level).perform()


class _Report(Reporter):
    """What the starter hears.  A forked child that kept the pipe would keep it waiting after our end."""

    def __init__(self, fd: int | None) -> None:
        super().__init__(fd)
        not_for_children(self)

    def drop_in_child(self) -> None:
        """Close the child's copy."""
        self._close()


class _Performance:
    def __init__(
        self, daemon: Daemon, boot: Mapping[str, Any], config_path: str | None, log_level: str
    ) -> None:
        self._daemon = daemon
        self._place = daemon.place()
        self._in_home = InHome.of_environment(self._place, daemon.version)
        # A home reads what its services print; its readiness message is no start in the background.
        self._foreground = not boot or self._in_home is not None
        self._log_level = log_level
        self._config_path = config_path
        self._reporter = _Report(boot.get("ready_fd"))
        self._start_lock: Lock | None = None
        if "lock_fd" in boot:
            os.set_inheritable(boot["lock_fd"], False)
            self._start_lock = Lock(self._place.start_lock_path, boot["lock_fd"])
        self._taken: Taken | None = None
        self._takes_over = boot.get("take_over") is True
        self._starter_looks_at = boot.get("record_path", self._place.record_path)
        self._life_lock: Lock | None = None
        self._name_lock: Lock | None = None
        self._record: Record | None = None
        self._stop_at_s: float | None = None
        self._jobs: list[Job] = []
        self._undoing = threading.Lock()
        self._crash_cap_at_s = 0.0
        self._claim_check_at_s = 0.0
        self._claim_troubled = False
        self._socket_fd: int | None = None
        self._notifier = Notifier()
        self._idle: Idle | None = None
        self._served = False
        self._forked = False
        self._logging = False

    # --- the stages -------------------------------------------------------------------------------

    def perform(self) -> int:
        try:
            self._prepare()
            return self._serve()
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, AlreadyRunning):
                self._reporter.already_running(error.pid, error.endpoint)
            self._reporter.failed(_one_line(error))
            if self._logging and not self._forked:
                logger.error(
                    "start failed (%s): %s", self._reporter.stage, _one_line(error), exc_info=_trace_of(error)
                )
            if self._taken is not None:
                self._taken.give_up()
            if self._record is None:
                self._release_name()
                if self._life_lock is not None:
                    self._life_lock.release()
            if isinstance(error, (DaemonryError, OSError, KeyboardInterrupt)) or self._forked:
                raise
            if scarcity.reason(error) is not None:
                raise StartFailed(self._place.name, self._reporter.stage, _one_line(error)) from None
            traceback.print_exception(type(error), error, _of_the_program(error.__traceback__))
            raise StartFailed(self._place.name, self._reporter.stage, _one_line(error)) from None
        finally:
            self._undo()
            self._release_start_lock()

    def _prepare(self) -> None:
        self._keep_last_words()
        self._notifier = Notifier.of_environment()
        self._reporter.enter("directories")
        if self._starter_looks_at != self._place.record_path:
            raise Refused(
                f"its files would be in {self._place.host_dir}, and its starter looks at "
                f"{self._starter_looks_at}: name the variables that its place depends on in "
                "Daemon(environment=...)"
            )
        self._socket_fd = activated.take_socket()
        single_instance.prepare(self._place)
        self._reporter.enter("lock")
        self._take_locks()
        try:
            self._log_file = logs.set_up(
                self._place.log_path, level=self._log_level, terminal=self._foreground
            )
        except OSError as error:
            raise UnsafePath(self._place.log_path, f"cannot be written: {error.strerror}") from error
        self._logging = not self._foreground  # there the error is shown anyway
        for directory in (self._place.host_dir, os.path.dirname(self._place.host_dir), registry_dir()):
            atomic_file.sweep(directory)
        if not self._takes_over:
            self._tell_about_last_run()
        self._reporter.enter("config")
        config_path = self._config_path or self._usual_config_path()
        settings = Settings(config_path)
        self._life = Life(self._daemon, self._load_config(config_path), config_path, settings)
        self._life.held_up_by = self._held_up_by
        self._guardian = Guardian(
            (self._tick_standby, self._watch_drain, self._cap_crash_file, self._keep_claim), self._signalled
        )
        if self._is_the_process():
            self._guardian.listen_to_signals()
        self._reporter.enter("take over" if self._takes_over else "bind")
        self._calls = self._builtin_calls()
        self._server = self._adopt() if self._takes_over else self._bind()
        if self._daemon.idle_timeout_s is not None:
            self._idle = Idle(
                self._daemon.idle_timeout_s,
                self._life,
                self._calls,
                self._server,
                self._life.jobs,
                self._going,
                lambda: self._giver.under_way,
                kept=self._socket_fd is not None,
            )
            self._life.more_fields.append(self._idle.fields)
        self._life.more_fields.append(self._server.fields)
        if self._in_home is not None:
            self._life.more_fields.append(self._in_home.fields)
        not_for_children(self)

    def _take_locks(self) -> None:
        """Become the one, or learn who is; a daemon outside of its home makes way for the home's."""
        deadline = clock.Deadline(START_TIMEOUT_S)
        if self._start_lock is None:
            self._start_lock = single_instance.take_start_lock(self._place, deadline)
        if self._in_home is not None and not self._takes_over:
            self._takes_over = make_way(self._place, self._usual_endpoint(), deadline)
        if not self._takes_over or self._in_home is None:
            self._name_lock = take_name(self._place, self._in_home)
        if not self._takes_over:
            self._life_lock = single_instance.take_life_lock(self._place, deadline)
        if self._in_home is not None:
            self._in_home.say()

    def _keep_last_words(self) -> None:
        """Have the crash file get what the interpreter says of a crash, and each line that is printed."""
        if sys.stderr is not None and not faulthandler.is_enabled():
            faulthandler.enable()
        if not self._foreground and isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)

    def _usual_config_path(self) -> str:
        # One that needs none must not fail because nobody knows where it would be.
        return self._daemon.config_path() if self._daemon.config_type is not None else ""

    def _load_config(self, path: str) -> Any:
        if self._daemon.config_type is None:
            return None
        from daemonry.daemon import config

        kind = config.resolve(self._daemon.config_type)
        return config.load(path, kind, must_exist=self._config_path is not None)

    def _make_server(self) -> Server:
        limits, token_path = self._daemon.limits or bounds.DEFAULT, self._place.token_path
        declared = self._daemon.endpoint
        if self._socket_fd is not None:  # what the service manager made, and will hand over again
            proof = Endpoint.parse(declared).proof if declared is not None else None
            endpoint = Endpoint("", FD, self._socket_fd, proof)
            return Server(endpoint, calls=self._calls, limits=limits, token_path=token_path)
        if declared is not None:
            return Server(declared, calls=self._calls, limits=limits, token_path=token_path)
        # In a directory that a program chose, what is not a stale socket of ours is not ours to remove.
        leftovers: Leftovers = "replace" if self._place.own is None else "refuse"
        return Server(self._usual_endpoint(), leftovers=leftovers, calls=self._calls, limits=limits)

    def _usual_endpoint(self) -> Endpoint:
        """Return where it listens unless a service manager opened the socket."""
        if self._daemon.endpoint is not None:
            return Endpoint.parse(self._daemon.endpoint)
        return Endpoint.unix(self._place.socket_path)

    def _bind(self) -> Server:
        server = self._make_server()
        server.bind()
        self._write_record(server, ready=False)
        return server

    def _adopt(self) -> Server:
        """Return a server for the socket of the daemon that runs, which still accepts from it."""
        running = record.read(self._place.record_path)
        if running is None:
            raise NotRunning(self._place.name)
        server = self._make_server()
        if str(server.endpoint) != running.endpoint:
            raise Refused(f"it listens at {running.endpoint} and not at {server.endpoint}: restart it")
        self._taken = Taken.ask(self._place, Endpoint.parse(running.endpoint))
        server.adopt(self._taken.listener)
        return server

    def _write_record(self, server: Server, *, ready: bool) -> None:
        written = Record(
            False,
            str(server.endpoint),
            Identity.of_this_process(),
            self._place.name,
            os.urandom(8).hex(),
            time.time(),
            self._daemon.version,
            ready=ready,
            drain_timeout_s=min(self._daemon.drain_timeout_s, _LONGEST_S),
        )
        try:
            record.write(self._place.record_path, written)
        except OSError as error:
            server.cleanup()
            raise UnsafePath(self._place.record_path, f"cannot be written: {error.strerror}") from error
        self._record = written

    def _take_over(self, taken: Taken) -> None:
        """Become the daemon: the one that ran serves on what it accepted, and ends."""
        taken.take()
        try:
            self._write_record(self._server, ready=True)
        except UnsafePath:
            self._server.stop_accepting()
            raise
        self._life_lock, self._taken = taken.lock, None
        self._server.accept_from_now()
        taken.thank()
        logger.info("taken over from pid %s (%s)", taken.fields.get("pid"), taken.fields.get("version"))

    # --- handing over -----------------------------------------------------------------------------

    def _gifts(self) -> tuple[Listener, Lock] | None:
        if self._life_lock is None or self._server.listener is None or self._life.stopping.is_set():
            return None
        return self._server.listener, self._life_lock

    def _told(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "version": self._daemon.version,
            "paused": self._life.phase is Phase.PAUSED,
        }

    def _let_go(self) -> None:
        self._server.stop_accepting()

    def _take_back(self) -> None:
        assert self._record is not None
        record.write(self._place.record_path, self._record)
        self._server.accept_from_now()

    def _gone_over(self) -> None:
        """Another process is the daemon now: its files are no longer ours to look after."""
        with self._undoing:
            self._record = None
            self._server.abandon()
            if self._life_lock is not None:
                self._life_lock.forget()
                self._life_lock = None
        self._log_file.rotate_no_more()
        self._life.handed_over = True
        logger.info("handed over; serving what was accepted, then ending")
        self._life.happened(Happened.HANDED_OVER)

    def _builtin_calls(self) -> Calls:
        failures = Failures(show_errors=self._daemon.show_errors, log_path=self._place.log_path)
        calls = Calls(self._life.closed_to_work, failures=failures)
        calls.serve(VarlinkService(calls, ("daemonry", self._daemon.name, self._daemon.version, "")))
        calls.serve(Control(self._life, calls.tap, self._life.wait_changed, self._place.log_path))
        self._giver = Giver(
            self._gifts,
            self._told,
            self._let_go,
            self._take_back,
            self._gone_over,
        )
        if self._in_home is None:  # a home starts its services itself, and would know nothing of the new one
            calls.serve(HandOver(self._giver))
        return calls

    def _tell_about_last_run(self) -> None:
        left = record.read(self._place.record_path)
        if left is None:
            return
        logger.warning("the run of pid %d ended without cleaning up", left.pid)
        # The crash file was rolled when this process was started.
        output = self._place.crash_path + ("" if self._foreground else ".prev")
        crash_report.write_note(self._place, crash_report.describe(left, output))
        try:
            os.unlink(self._place.record_path)  # told: a start that fails now must not have it told again
        except OSError as error:
            logger.warning("the record could not be removed: %s", error)

    def _is_the_process(self) -> bool:
        return threading.current_thread() is threading.main_thread()

    def drop_in_child(self) -> None:
        """Leave a forked child nothing of the daemon to clean up, and its signals to itself.

        Nobody in it would act on the notes that our handlers leave, and one that ends by an
        exception comes by here with the parent's record in its hands.
        """
        self._forked = True
        self._record = None
        self._guardian.forget_signals()

    def _serve(self) -> int:
        scarcity.check_descriptors()
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            loop = runner.get_loop()
            self._life.attach(loop)
            self._standby = Standby(loop, threading.get_ident(), self._server, partial(Beside, self._life))
            self._guardian.start()
            try:
                runner.run(self._live())
            except Exception as error:
                self._reporter.failed(_one_line(error))
                raise
            finally:
                # The socket and the record go, and the starter is told, before threads are waited for.
                self._served = True
                self._undo()
        if not self._is_the_process():
            self._guardian.close()  # else it watches until the interpreter has let go of its threads
        return 0 if self._life.failed is None else 1

    # --- the life ---------------------------------------------------------------------------------

    async def _live(self) -> None:
        run = Run(self._life, self._place)
        cancel = asyncio.Event()
        serving = asyncio.create_task(self._server.run(self._life, cancel), name="control plane")
        beating = asyncio.create_task(self._beat(), name="heartbeat")
        try:
            if await self._set_up(run):
                self._become_ready()
                watching = asyncio.create_task(self._watch_idle(), name="idle")
                await self._work(run)
                watching.cancel()
        finally:
            self._life.happened(Happened.DRAINED)
            beating.cancel()
            if self._socket_fd is None and not self._life.handed_over:
                self._server.refuse_more()  # who waits is told so, and nobody comes behind
            cancel.set()
            await serving

    async def _beat(self) -> None:
        beat_s = SOCKET_CHECK_S  # the loop wakes that often anyway
        if self._notifier.watchdog_s is not None:
            beat_s = min(beat_s, self._notifier.watchdog_s / 4)
        while True:
            self._standby.heard()
            self._notifier.beat()
            await asyncio.sleep(beat_s)

    async def _set_up(self, run: Run) -> bool:
        self._reporter.enter("setup")
        stop = asyncio.create_task(self._life.wait_stop_asked())
        for hook in self._daemon.setups:
            result = hook(run)
            if not inspect.isawaitable(result):
                continue
            prepared = asyncio.ensure_future(result)
            await asyncio.wait((prepared, stop), return_when=asyncio.FIRST_COMPLETED)
            if not prepared.done():
                prepared.cancel()
                await asyncio.wait((prepared,), timeout=self._daemon.drain_timeout_s)
                break
            prepared.result()
        if stop.done() or self._life.stopping.is_set():
            raise Refused("stopped before it was ready")
        stop.cancel()
        return True

    def _become_ready(self) -> None:
        for implementation in self._daemon.services:
            self._calls.serve(implementation)
        if self._taken is not None:
            if self._taken.fields.get("paused") is True:
                self._life.happened(Happened.PAUSE_ASKED)
            self._take_over(self._taken)
        if self._daemon.whole_status_hook is None:  # or they would be looked up and not told
            self._life.more_fields.append(Fingerprint(self._life.settings, lambda: self._life.config).fields)
        self._life.happened(Happened.READY)
        assert self._record is not None
        if not self._record.ready:
            self._record = self._record.as_ready()
            record.write(self._place.record_path, self._record)
        self._life.get_status()
        try:
            registry.add(self._place)
        except (OSError, DaemonryError) as error:
            logger.warning("not listed for `daemonry ps`: %s", error)
        try:
            taken = environment.patterns_of(self._place.name, self._daemon.environment)
            environment.write_sums(self._place.environment_path, taken)
        except OSError as error:
            logger.warning("the environment's checksums could not be written: %s", error)
        if self._foreground:
            self._remember_this_start()
        if self._in_home is not None:
            self._in_home.link_socket(Endpoint.parse(self._record.endpoint))
        logger.info("ready at %s (pid %d)", self._record.endpoint, self._record.pid)
        self._release_start_lock()
        self._reporter.ready(self._record.to_fields())
        self._notifier.ready(f"serving at {self._record.endpoint}")

    def _remember_this_start(self) -> None:
        """Let a later start by the name know the program; a starter has done so for a background daemon."""
        arguments: tuple[str, ...] = ()
        if self._config_path:
            arguments += ("--config", absolute(self._config_path))
        if self._log_level != "info":
            arguments += ("--log-level", self._log_level)
        try:
            recipe.remember_if_new(self._place, recipe.recipe_of(self._daemon, arguments))
        except (TargetInvalid, StartFailed) as error:
            logger.warning("it cannot be started by its name: %s", _one_line(error))

    async def _work(self, run: Run) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.create_task(self._life.wait_stop_asked())
        self._jobs = [Job(hook, run, loop) for hook in self._daemon.works]
        await asyncio.wait((stop, *(job.done for job in self._jobs)), return_when=asyncio.FIRST_COMPLETED)
        self._note_ended_work()
        if not self._life.handed_over:
            self._notifier.stopping()
        self._mark_draining()
        retiring = asyncio.ensure_future(self._retire())
        await self._drain()
        await retiring
        stop.cancel()

    async def _watch_idle(self) -> None:
        if self._idle is not None:
            await self._idle.watch()

    def _going(self, going: bool) -> None:
        """Tell those who look for us that we may not be there soon, or that we are."""
        with self._undoing:
            if self._record is not None:
                self._record = self._record.as_draining(going)
                try:
                    record.write(self._place.record_path, self._record)
                except OSError as error:
                    logger.warning("the record could not be updated: %s", error)

    async def _retire(self) -> None:
        """Serve on what was accepted before another process took over."""
        if not self._life.handed_over:
            return
        deadline = clock.Deadline(self._daemon.drain_timeout_s)
        await self._server.retire(deadline)
        while self._life.jobs.running and not deadline.expired:  # noqa: ASYNC110  # they end in any thread
            await asyncio.sleep(_JOBS_LOOK_S)

    def _note_ended_work(self) -> None:
        for job in self._jobs:
            if not job.done.done() or self._life.stopping.is_set():
                continue
            error = None if job.done.cancelled() else job.done.exception()
            if error is None:
                logger.info("%s is done", job.name)
                self._life.happened(Happened.WORK_DONE)
            else:
                self._fail(job.name, error)

    def _fail(self, name: str, error: BaseException) -> None:
        self._life.failed = error
        logger.error("%s failed: %s", name, _one_line(error), exc_info=error)
        told = f"{self._place.name}: ended because {name} failed: {_one_line(error)}"
        crash_report.write_note(self._place, f"{told} (see {self._place.log_path})")
        self._life.happened(Happened.FAILED)

    def _mark_draining(self) -> None:
        self._tell_home_of_end()
        with self._undoing:
            if self._record is None or self._record.draining:
                return
            self._record = self._record.as_draining()
            try:
                record.write(self._place.record_path, self._record)
            except OSError as error:
                logger.warning("the record could not be updated: %s", error)

    def _tell_home_of_end(self) -> None:
        """Tell the home what the exit code does not: this end is no failure and no work done."""
        ended = self._life.ended_by
        if self._in_home is not None and ended:
            self._in_home.say_end(ended)

    async def _drain(self) -> None:
        timeout_s = self._daemon.drain_timeout_s
        deadline = clock.Deadline(timeout_s)
        calls = asyncio.create_task(self._server.drain(timeout_s), name="calls")
        try:
            result = self._daemon.stop_hook() if self._daemon.stop_hook is not None else None
            if inspect.isawaitable(result):
                async with asyncio.timeout(timeout_s):
                    await result
        except Exception:
            logger.exception("the stop hook failed")
        left = await drain(self._jobs, deadline.remaining_s() or 0.0)
        for job in self._jobs:
            error = None if job in left or job.done.cancelled() else job.done.exception()
            if error is not None and error is not self._life.failed:  # that one is why it ends
                logger.error("%s failed while it ended: %s", job.name, _one_line(error), exc_info=error)
        for job in left:
            logger.error("still at work after %g s and left behind: %s", timeout_s, job.where())
        cut_off = await calls
        for name in cut_off:
            logger.error("still running after %g s and cut off: %s", timeout_s, name)
        self._life.happened(Happened.DRAIN_EXPIRED if left or cut_off else Happened.DRAINED)

    def _held_up_by(self) -> list[str]:
        jobs = [job.where() for job in self._jobs if not job.done.done()]
        return jobs + self._server.calls_under_way

    # --- the guardian's duties ----------------------------------------------------------------------

    def _tick_standby(self, timeout_s: float) -> None:
        if self._served:
            self._standby.refuse_all(also_at_listener=False)
        else:
            self._standby.tick(timeout_s)

    def _keep_claim(self, timeout_s: float) -> None:
        """Make the lock file and the record anew if somebody removed them under us.

        Without them nobody could find us, or know that we are.
        """
        now_s = clock.monotonic()
        if now_s < self._claim_check_at_s:
            return
        self._claim_check_at_s = now_s + SOCKET_CHECK_S
        try:
            with self._undoing:
                self._claim_anew()
                self._claim_name()
            self._claim_troubled = False
        except (OSError, DaemonryError) as error:
            if not self._claim_troubled:
                logger.error("the lock file or the record is gone and cannot be made again: %s", error)
            self._claim_troubled = True

    def _claim_anew(self) -> None:
        if self._life_lock is None or self._record is None:
            return
        if not self._life_lock.file_is_there():
            single_instance.prepare(self._place)
            lock = Lock.try_take(self._place.life_lock_path)
            if lock is None:
                return  # a start tries, and will find our socket live
            self._life_lock.forget()
            self._life_lock = lock
            logger.warning("the life lock's file %s was gone; made again", lock.path)
        if not os.path.exists(self._place.record_path):
            record.write(self._place.record_path, self._record)
            logger.warning("the record %s was gone; written again", self._place.record_path)

    def _claim_name(self) -> None:
        """Take the name's lock that the daemon which handed over to this home's has let go of by now."""
        if self._in_home is not None and self._record is not None and self._name_lock is None:
            try:
                self._name_lock = take_name(self._place, self._in_home)
            except Refused:
                pass  # it still ends; until then nobody else starts, for the home says that it has the daemon

    def _release_name(self) -> None:
        if self._name_lock is not None:
            self._name_lock.release()
            self._name_lock = None

    def _cap_crash_file(self, timeout_s: float) -> None:
        now_s = clock.monotonic()
        if not self._foreground and now_s >= self._crash_cap_at_s:
            self._crash_cap_at_s = now_s + 5.0
            if crash_file.cap(self._place.crash_path):
                logger.warning("the crash file was full and has been cut")

    def _watch_drain(self, timeout_s: float) -> None:
        if not self._life.stopping.is_set() and not self._served:
            return
        now_s = clock.monotonic()
        if self._stop_at_s is None:
            self._stop_at_s = now_s + self._daemon.drain_timeout_s + DRAIN_GRACE_S
            self._mark_draining()  # a stuck loop does not
        elif now_s >= self._stop_at_s:
            logger.error("the end hangs, held up by %s; ending at once", self._where_stuck())
            self._end_at_once(EXIT_HUNG)

    def _where_stuck(self) -> str:
        return ", ".join(self._held_up_by() or _waited_for_threads()) or self._standby.stuck_at()

    def _signalled(self, number: int) -> None:
        import signal

        name = signal.Signals(number).name
        if name == "SIGHUP":
            self._on_loop(self._reload)
        elif name == "SIGUSR1":
            self._on_loop(self._check_file)
        elif self._life.stopping.is_set():
            logger.warning("%s again: ending at once", name)
            self._end_at_once(128 + number)
        else:
            logger.info("%s", name)
            self._life.happened(Happened.STOP_ASKED)

    def _on_loop(self, action: Any) -> None:
        assert self._life.loop is not None
        self._life.loop.call_soon_threadsafe(action)

    def _reload(self) -> None:
        self._reloading = asyncio.ensure_future(self._reload_and_tell())

    async def _reload_and_tell(self) -> None:
        """Reload for SIGHUP, telling a service manager the beginning and the end (Type=notify-reload)."""
        self._notifier.reloading()
        await _reload(self._life)
        self._notifier.ready("reloaded")

    def _check_file(self) -> None:
        try:
            self._server.check_file()
        except DaemonryError as error:
            logger.error("%s", error)

    def _end_at_once(self, code: int) -> None:
        try:
            # A socket that a service manager keeps is the next daemon's too, and so is who waits there.
            self._standby.refuse_all(also_at_listener=self._socket_fd is None)
        except Exception:
            logger.exception("clients that wait could not be refused")
        self._undo()
        os._exit(code)

    # --- the end ----------------------------------------------------------------------------------

    def _release_start_lock(self) -> None:
        if self._start_lock is not None:
            self._start_lock.release()
            self._start_lock = None

    def _undo(self) -> None:
        with self._undoing:
            if self._life_lock is None or self._record is None:
                return
            self._server.cleanup()
            self._remove_empty_directory()
            registry.remove(self._place)
            # The record goes last: while it is there, the next client knows that we did not finish.
            try:
                os.unlink(self._place.record_path)
            except OSError as error:
                logger.warning("the record could not be removed: %s", error)
            self._record = None
            # The life lock stays held until the process is gone.

    def _remove_empty_directory(self) -> None:
        # /tmp is everybody's and not cleared when a session ends.  We hold the life lock, so nobody is
        # about to bind in there.
        if self._place.runtime_dir_in_tmp:
            try:
                os.rmdir(self._place.runtime_dir)
            except OSError:
                pass  # there is something in it, or it was never made


async def _reload(life: Life) -> None:
    try:
        result = life.reload_config()
        if inspect.isawaitable(result):
            await result
    except Exception:  # noqa: BLE001, S110  # logged by `life`; nobody waits for an answer to a signal
        pass


def _one_line(error: BaseException) -> str:
    from daemonry.terminal_text import printable

    missing = scarcity.reason(error)
    if missing is not None:
        return missing
    if isinstance(error, (DaemonryError, OSError)) and str(error):
        return printable(str(error))
    return printable(": ".join(filter(None, (type(error).__name__, str(error)))))


def _waited_for_threads() -> list[str]:
    """Return the threads that the interpreter waits for before it ends, and where they are."""
    return [
        f"thread {thread.name} at {where(frame_of(thread.ident))}"
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.main_thread()
    ]


def _trace_of(error: BaseException) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    """Return what to log a trace of: an error that we did not expect."""
    if isinstance(error, DaemonryError) or scarcity.reason(error) is not None:
        return None
    return type(error), error, _of_the_program(error.__traceback__)


def _of_the_program(trace: TracebackType | None) -> TracebackType | None:
    """Return a trace from where the program's own code begins; all of it if none of it is there."""
    within = trace
    while within is not None and _is_machinery(within.tb_frame.f_code.co_filename):
        within = within.tb_next
    return within or trace


def _is_machinery(path: str) -> bool:
    return path.startswith((_OURS, _ASYNCIO, "uvloop/"))


def _loop_factory() -> Any:
    """Return uvloop's loop factory where it is installed, else None for asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
