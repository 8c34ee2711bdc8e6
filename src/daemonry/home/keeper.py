"""The keeper of one service: performs its life.

Owns the way from state to state: starts, stops, restarts, triggers and hooks.  Which state follows is
`child`'s to say, one run `service_run`'s, the meaning of its end `run.end`'s; the supervisor decides when a
service may start or stop.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol

from daemonry.home.child import ALIVE, ServiceHappened, ServiceState
from daemonry.home.home import Home
from daemonry.home.life_state import LifeState
from daemonry.home.own_files import OwnFiles
from daemonry.home.policy import GiveUp, Leave, Restart
from daemonry.home.run.commands import Commands
from daemonry.home.run.end import EndedIdle, Expectation, RunEnd, Stopped, StoppedByCommand, given_up, judge
from daemonry.home.run.process_run import AdoptedRun, Minders, ProcessRun
from daemonry.home.run.readiness import how_it_ended
from daemonry.home.run.service_run import ServiceRun
from daemonry.home.service import Orphan, Service
from daemonry.home.service_files import ServiceFiles
from daemonry.home.service_log import ServiceLog
from daemonry.home.service_record import ServiceRecord
from daemonry.home.service_trigger import ServiceTrigger
from daemonry.limits import TRIGGER_LINGER_S
from daemonry.process.homes import Claim

logger: logging.Logger = logging.getLogger("daemonry.home")

_NOT_NEEDED: Final = "idle (nobody needed it; it starts again when somebody does)"


class Supervising(Protocol):
    """The supervisor, as a keeper needs it."""

    home: Home
    minders: Minders
    files: OwnFiles

    def changed(self, keeper: Keeper, message: str, level: int) -> None:
        """Take note that a keeper's state has changed; `message` says it for people."""


class Keeper:
    """The life of one service.

    Attributes:
        commands: runs its hooks and the commands of its checks.
        files: its record, its output and its socket.
        hurried: whether it is to end at once, without hooks.
        last_end: how its last run ended, or "".
        life: its state, since when, and those that wait for another one.
        log: its log.
        reason: why it is not ready, or "".
        restarts: how often it was started again by itself.
        service: its definition.
        stop_wanted: whether the supervisor will stop it, or has.
        trigger: starts it later than `up`; false where nothing does.
        unhelped: a version of its daemon for which another start brought no other one, or "".
        was_lost: whether it was ready before in this life of the supervisor, and has ended otherwise than
            idle: those that need it have lost it.
    """

    def __init__(self, service: Service, world: Supervising, log_bytes: int) -> None:
        self.service: Service = service
        self.log: ServiceLog = ServiceLog(world.home.path(service.name, "log"), log_bytes)
        self.files: ServiceFiles = ServiceFiles(world.home, service.name, world.files)
        self.commands: Commands = Commands(lambda: self.service.process, self.log, world.minders)
        self.trigger: ServiceTrigger = ServiceTrigger(service, self._fired)
        self.hurried: bool = False
        self.restarts: int = 0
        self.last_end: str = ""
        self.reason: str = ""
        self.stop_wanted: bool = False
        self.unhelped = ""
        self.was_lost: bool = False
        self._world = world
        self.life: LifeState = LifeState(self._changed)
        self._was_ready = False
        self._run: ServiceRun | None = None
        self._restarts_s: list[float] = []
        self._delay: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Keeper {self.service.name} {self.state.value}>"

    @property
    def minders(self) -> Minders:
        """Those who see processes end."""
        return self._world.minders

    @property
    def state(self) -> ServiceState:
        """Its state."""
        return self.life.now

    @property
    def _process(self) -> ProcessRun | None:
        return None if self._run is None else self._run.process

    @property
    def pid(self) -> int | None:
        """Its process id while it has a process."""
        process = self._process
        return process.pid if process is not None and self.state in ALIVE else None

    @property
    def claim(self) -> Claim | None:
        """Which daemon of daemonry it is; None before it says so in this run."""
        process = self._process
        return self.files.claim(None if process is None else process.mark)

    @property
    def tells(self) -> str:
        """The service's last words about its state, or ""."""
        return "" if self._run is None else self._run.tells

    # --- requests of the supervisor --------------------------------------------------------------

    def ask_start(self) -> None:
        """Start it once what it needs is ready: with its trigger, or at once if it waits for that one."""
        self.trigger.is_due = self.state is ServiceState.IDLE
        self._ask_start()

    def _fired(self) -> None:
        if self.state in (ServiceState.IDLE, ServiceState.FAILED) and not self.stop_wanted:
            self.trigger.is_due = True
            self._ask_start()

    def redefine(self, service: Service) -> None:
        """Change its definition; each part of it counts where it is needed next."""
        self.trigger.redefine(self.service, service)
        self.service = service

    def _ask_start(self) -> None:
        self._restarts_s.clear()
        self.stop_wanted = False
        self._cancel_delay()
        self._step(ServiceHappened.START_ASKED, "waiting", logging.DEBUG)

    def leave_stopped(self) -> None:
        """Leave it stopped until it is asked to start; it then waits for the services it needs."""
        self.stop_wanted = True
        self._step(ServiceHappened.STOP_ASKED, "stopped", logging.DEBUG)

    def start(self) -> None:
        """Start it, or wait for its trigger; the services that it needs are ready."""
        self.reason = ""
        if self.trigger.must_wait:
            self._arm()
            return
        self.trigger.disarm()
        if self._step(ServiceHappened.NEEDS_READY, "starting", logging.DEBUG):
            run = self._run = ServiceRun(self)
            self.spawn(self._perform(run, run.perform))

    def stop(self) -> None:
        """End it, in whatever state it is."""
        self._cancel_delay()
        self.trigger.disarm()
        if self.trigger:
            asyncio.get_running_loop().call_later(TRIGGER_LINGER_S, self._close_trigger)
        if self.state in (ServiceState.STARTING, ServiceState.READY, ServiceState.UNHEALTHY):
            self._step(ServiceHappened.STOP_ASKED, "stopping", logging.DEBUG)
            if self._run is not None:
                self.spawn(self._run.terminate())
        elif self.state is not ServiceState.STOPPING:
            self._step(ServiceHappened.STOP_ASKED, "stopped")

    def kill(self) -> None:
        """Kill all of its processes at once, its hooks too."""
        self.hurried = True
        if self._run is not None:
            self._run.kill()
        self.commands.kill()

    def adopt(self, record: ServiceRecord, process: AdoptedRun) -> None:
        """Take over a process that outlived the supervisor before this one, and was ready."""
        self.restarts = record.restarts
        self.files.record = record
        self._step(ServiceHappened.NEEDS_READY, "found", logging.DEBUG)
        run = self._run = ServiceRun(self)
        self.spawn(self._perform(run, partial(run.perform_adopted, process)))

    async def close(self) -> None:
        """Wait for work that is still under way, such as a hook, and close its log."""
        self.trigger.close()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.log.close()

    # --- a run: see `service_run.RunKeeper` ------------------------------------------------------

    async def _perform(self, run: ServiceRun, perform: Callable[[], Coroutine[Any, Any, RunEnd]]) -> None:
        """Perform a run.  A mistake in it ends it, so that nobody waits for a step that never comes."""
        if self.state is ServiceState.STOPPING:
            self._after_end(RunEnd(None, "not started"))
            return
        try:
            self._over(await perform())
        except Exception as error:
            logger.exception("%s: a mistake in the supervisor", self.service.name)
            await run.abandon()
            self._over(RunEnd(None, f"the supervisor cannot go on with it: {error!r}"))

    def _over(self, end: RunEnd) -> None:
        self.files.forget("" if self.trigger.holds_socket else self.service.socket_path)
        self._after_end(end)

    def ready(self, message: str) -> bool:
        """Enter the state "ready"; return whether it was not asked to stop meanwhile."""
        if self.claim is None:  # it was a daemon, and is not one now
            self.files.remove_claim()
        self.was_lost, self._was_ready = self._was_ready, True
        if not self._step(ServiceHappened.READY, message):
            return False
        if self.files.record is not None and self.service.process.orphan is Orphan.ADOPT:
            self.files.write(self.files.record.as_ready())
        self._hook("ready")
        return True

    def ill(self, reason: str) -> None:
        """Enter the state "unhealthy"."""
        self.reason = reason
        self._step(ServiceHappened.ILL, reason, logging.WARNING)

    def well(self) -> None:
        """Leave the state "unhealthy", if it is in it."""
        if self.state is ServiceState.UNHEALTHY:
            self.reason = ""
            self.was_lost = False  # those that need it have lost nothing
            self._step(ServiceHappened.WELL, f"ready again (pid {self.pid})")

    # --- after a run ----------------------------------------------------------------------------

    def _after_end(self, end: RunEnd) -> None:
        self.last_end = end.failure or how_it_ended(end.code)
        service, now_s = self.service, time.monotonic()
        rules = Expectation(
            self.state is ServiceState.STOPPING, service.stop_signals, bool(self.trigger), service.policy
        )
        judged = judge(end, rules, self._restarts_s, now_s, random.random())  # noqa: S311
        match judged:
            case Stopped():
                self._rest(
                    ServiceHappened.ENDED, "stopped" if judged.as_expected else f"stopped ({self.last_end})"
                )
            case StoppedByCommand():
                self.reason = "stopped by command"
                self._rest(ServiceHappened.ENDED_BY_COMMAND, "stopped (by command)")
            case EndedIdle():
                self._idle(judged)
            case Leave():
                self._rest(ServiceHappened.ENDED_DONE, f"done ({self.last_end})")
            case Restart():
                self._restart(judged, now_s)
            case GiveUp():
                self._give_up(judged)

    def _rest(self, happened: ServiceHappened, message: str) -> None:
        self._step(happened, message)
        self._hook("stop")

    def _idle(self, ended: EndedIdle) -> None:
        if ended.starts_itself:
            self._was_ready = False  # nobody who needs it missed it
            self._rest(ServiceHappened.ENDED_IDLE, _NOT_NEEDED)
        else:
            self._rest(ServiceHappened.ENDED_IDLE, f"idle ({self.last_end})")
            self._arm_again()

    def _restart(self, decided: Restart, now_s: float) -> None:
        self.reason = f"{self.last_end}; again in {decided.delay_s:.1f} s"
        if self._step(ServiceHappened.ENDED_AGAIN, self.reason, logging.WARNING):
            self.restarts += 1
            self._restarts_s = [*self._restarts_s[-self.service.policy.most :], now_s]
            self._delay = asyncio.get_running_loop().call_later(decided.delay_s, self._delay_over)

    def _give_up(self, decided: GiveUp) -> None:
        self.reason = f"{given_up(decided, self.service.policy.within_s)}: {self.last_end}"
        if self._step(ServiceHappened.ENDED_FAILED, self.reason, logging.ERROR):
            self._hook("fail")
            if self.trigger.is_by_clock:  # the next moment may go better
                self._arm_again()
            else:
                self.trigger.close()  # clients are refused, and wait for nothing

    def _delay_over(self) -> None:
        self._delay = None
        self._step(ServiceHappened.DELAY_OVER, "waiting", logging.DEBUG)

    def _cancel_delay(self) -> None:
        if self._delay is not None:
            self._delay.cancel()
            self._delay = None

    def _hook(self, at: str) -> None:
        words = self.service.hook(at)
        if words and not self.hurried:
            extra = {"DAEMONRY_EVENT": at, "DAEMONRY_REASON": self.reason or self.last_end}
            if self._process is not None:
                extra["DAEMONRY_PID"] = str(self._process.pid)
            self.spawn(self.commands.hook(at, words, extra))

    # --- its trigger ----------------------------------------------------------------------------

    def _arm(self) -> None:
        self.reason, is_armed = self.trigger.arm()
        if is_armed:
            self._step(ServiceHappened.LEFT_FOR_LATER, f"idle: {self.reason}")
        else:
            self._step(ServiceHappened.ENDED_FAILED, self.reason, logging.ERROR)

    def _arm_again(self) -> None:
        reason, _ = self.trigger.arm()
        self.reason = f"{self.reason}; {reason}" if self.state is ServiceState.FAILED else reason

    def _close_trigger(self) -> None:
        """Give the trigger's socket back, unless this was only a restart."""
        if self.state in (ServiceState.STOPPED, ServiceState.FAILED):
            self.trigger.close()

    # --- steps and tasks ------------------------------------------------------------------------

    def _step(self, happened: ServiceHappened, message: str, level: int = logging.INFO) -> bool:
        return self.life.take(happened, message, level)

    def _changed(self, message: str, level: int) -> None:
        if level >= logging.INFO:
            self.log.event(message, level)
        self._world.changed(self, message, level)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something meanwhile; a failure is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: a mistake in the supervisor", self.service.name, exc_info=error)
