"""The keeper of one service: performs its life.

Owns what happens on the way from state to state: starting the process, waiting for its readiness,
its end, its restarts, its hooks, its log and its record.  Which state follows is `child`'s to say,
whether it is started again `policy`'s, and when it may start or stop the supervisor's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from daemonry.home import process_run, service_record
from daemonry.home.child import ALIVE, SETTLED, Happened, State, step
from daemonry.home.commands import Commands
from daemonry.home.home import Home
from daemonry.home.liveness import Look
from daemonry.home.own_files import OwnFiles
from daemonry.home.policy import GiveUp, Leave, Restart, after_end
from daemonry.home.process_run import AdoptedRun, Run
from daemonry.home.readiness import Channel, NotReady, how_it_ended, wait_ready
from daemonry.home.resource_use import Limits
from daemonry.home.service import Orphan, Service
from daemonry.home.service_files import ServiceFiles
from daemonry.home.service_log import Output, ServiceLog
from daemonry.home.service_record import ServiceRecord
from daemonry.home.trigger.schedule import ScheduleInvalid
from daemonry.home.trigger.triggers import ByClock, OnDemand, Trigger
from daemonry.limits import LIMITS_LOOK_S, TRIGGER_LINGER_S
from daemonry.process import homes, platform
from daemonry.process.homes import Claim
from daemonry.process.lifeline import new_mark
from daemonry.process.reaping import Reaper

logger = logging.getLogger("daemonry.home")


class Supervising(Protocol):
    """What a keeper asks of its supervisor."""

    home: Home
    reaper: Reaper
    files: OwnFiles

    def changed(self, keeper: Keeper, message: str, level: int) -> None:
        """Be told that a keeper's state has changed, and how people say it."""


class Keeper:
    """The life of one service.

    Attributes:
        service: what it is.
        state: where it is in its life.
        hurried: whether it is to end at once, without hooks.
        log: its log.
        message: what happened to it last, as people say it.
        restarts: how often it was started again by itself.
        last_end: how its last run ended, or "".
        reason: why it is not ready, or "".
        since_s: when it came into its state, in seconds since 1970.
        stop_wanted: whether the supervisor will stop it, or has.
        anew: whether it was ready before in this life of the supervisor, and has ended otherwise than idle.
        unhelped: a version of its daemon for which a start anew brought no other one, or "".
    """

    def __init__(self, service: Service, world: Supervising, log_bytes: int) -> None:
        self.service = service
        self.state = State.WAITING
        self.log = ServiceLog(world.home.path(service.name, "log"), log_bytes)
        self.hurried = False
        self.message = ""
        self.restarts = 0
        self.last_end = ""
        self.reason = ""
        self.since_s = time.time()
        self.stop_wanted = False
        self._world = world
        self.unhelped = ""
        self.anew = False
        self._was_ready = False
        self._run: Run | None = None
        self._channel: Channel | None = None
        self._restarts_s: list[float] = []
        self._failure = ""
        self._files = ServiceFiles(world.home, service.name, world.files)
        self._trigger = trigger_of(service)
        self._triggered = False
        self._commands = Commands(lambda: self.service.process, self.log, world.reaper)
        self._looks: list[asyncio.Task[None]] = []
        self._ends_idle = False
        self._delay: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiters: list[tuple[Callable[[State], bool], asyncio.Future[None]]] = []

    def __repr__(self) -> str:
        return f"<Keeper {self.service.name} {self.state.value}>"

    # --- what is asked of it --------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """Its process id while it has a process."""
        return self._run.pid if self._run is not None and self.state in ALIVE else None

    @property
    def claim(self) -> Claim | None:
        """Which daemon of daemonry it is; None if it is none, or has not said so in this run."""
        found = homes.read_claim(self._world.home.directory, self.service.name)
        if found is None or (self._run is not None and found.mark != self._run.mark):
            return None
        return found

    @property
    def tells(self) -> str:
        """What the service said last about how it is, or ""."""
        return self._channel.tells if self._channel is not None else ""

    def ask_start(self) -> None:
        """Have it start once what it needs is ready, with its trigger, or now where that is waited for."""
        self._triggered = self.state is State.IDLE
        self._ask_start()

    def _fired(self) -> None:
        if self.state in (State.IDLE, State.FAILED) and not self.stop_wanted:
            self._triggered = True
            self._ask_start()

    def redefine(self, service: Service) -> None:
        """Be the same service by another definition, which is used where it is needed next."""
        old, self.service = self.service, service
        if (old.listens_at, old.schedule) != (service.listens_at, service.schedule):
            if self._trigger is not None:
                self._trigger.close()
            self._trigger = trigger_of(service)

    def _ask_start(self) -> None:
        self._restarts_s.clear()
        self.stop_wanted = False
        self._cancel_delay()
        self._step(Happened.START_ASKED, "waiting", logging.DEBUG)

    def leave_stopped(self) -> None:
        """Leave it stopped until it is asked to start; it waits for what it needs."""
        self.stop_wanted = True
        self._step(Happened.STOP_ASKED, "stopped", logging.DEBUG)

    def start(self) -> None:
        """Start it, or wait for its trigger: what it needs is ready."""
        self._failure = self.reason = ""
        if self._trigger is not None and not self._triggered:
            self._arm()
            return
        if self._trigger is not None:
            self._trigger.disarm()
        if self._step(Happened.NEEDS_READY, "starting", logging.DEBUG):
            self._spawn(self._lived(self._live()))

    def _arm(self) -> None:
        assert self._trigger is not None
        self._triggered = False
        try:
            self.reason = self._trigger.arm(self._fired)
        except (OSError, ScheduleInvalid) as error:
            self.reason = f"cannot be waited for: {error}"
            self._step(Happened.ENDED_FAILED, self.reason, logging.ERROR)
        else:
            self._step(Happened.LEFT_FOR_LATER, f"idle: {self.reason}")

    def _close_trigger(self) -> None:
        """Give the trigger's socket back, unless it was only a restart."""
        if self._trigger is not None and self.state in (State.STOPPED, State.FAILED):
            self._trigger.close()

    def stop(self) -> None:
        """Have it end, whatever it is doing."""
        self._cancel_delay()
        if self._trigger is not None:
            self._trigger.disarm()
            asyncio.get_running_loop().call_later(TRIGGER_LINGER_S, self._close_trigger)
        if self.state in (State.STARTING, State.READY, State.UNHEALTHY):
            self._step(Happened.STOP_ASKED, "stopping", logging.DEBUG)
            self._spawn(self._terminate())
        elif self.state is not State.STOPPING:
            self._step(Happened.STOP_ASKED, "stopped")

    def kill(self) -> None:
        """Kill all of it at once, its hooks too."""
        self.hurried = True
        if self._run is not None:
            self._run.kill()
        self._commands.kill()

    def adopt(self, record: ServiceRecord, run: AdoptedRun) -> None:
        """Take over a run that outlived the supervisor before us, and was ready."""
        self.restarts = record.restarts
        self._files.record = record
        self._step(Happened.NEEDS_READY, "found", logging.DEBUG)
        self._spawn(self._lived(self._go_on(run)))

    async def until(self, condition: Callable[[State], bool]) -> None:
        """Return once its state fulfils a condition."""
        if not condition(self.state):
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((condition, future))
            await future

    async def until_settled(self) -> None:
        """Return once it goes no further by itself."""
        await self.until(SETTLED.__contains__)

    async def close(self) -> None:
        """Wait for what is still under way, such as a hook, and close its log."""
        if self._trigger is not None:
            self._trigger.close()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.log.close()

    # --- a run ----------------------------------------------------------------------------------

    async def _lived(self, life: Coroutine[Any, Any, None]) -> None:
        """Perform a run.  What breaks it ends it, so that nobody waits for a step that never comes."""
        try:
            await life
        except Exception as error:
            logger.exception("%s: a mistake in the supervisor", self.service.name)
            run, self._run = self._run, None
            if run is not None:
                run.kill()
                await run.sweep()
            self._files.forget("" if isinstance(self._trigger, OnDemand) else self.service.socket_path)
            self._after_end(None, f"the supervisor cannot go on with it: {error!r}")

    async def _live(self) -> None:
        if self.state is State.STOPPING:
            self._after_end(None, "not started")
            return
        try:
            run, output = self._start_process()
        except OSError as error:
            self._files.forget("" if isinstance(self._trigger, OnDemand) else self.service.socket_path)
            self._after_end(None, f"cannot be started: {self._why_not(error)}")
            return
        self.log.event(f"started (pid {run.pid})", logging.INFO)
        await self._see_through(run, output, self._await_ready(run))

    def _why_not(self, error: OSError) -> str:
        process = self.service.process
        program = process.words[0]
        if (
            error.filename == process.directory
        ):  # the kernel has one message for a directory and for a program
            return f"its directory {process.directory}: {error.strerror}"
        if error.filename == self._files.out_path:
            return f"{error.filename}: {error.strerror}"
        if isinstance(error, FileNotFoundError):
            # The kernel says the same of a script whose interpreter is missing.
            missing = "the interpreter in its first line is not there"
            return f"{program}: {missing if os.path.isfile(program) else error.strerror}"
        return error.strerror or str(error)

    async def _go_on(self, run: AdoptedRun) -> None:
        try:
            fd = self._files.open_out()
        except OSError as error:
            self.log.event(f"its output is lost: {self._files.out_path}: {error.strerror}", logging.ERROR)
            fd, near = os.pipe()
            os.close(near)
        output = Output(asyncio.get_running_loop(), fd, self.log.take)
        await self._see_through(run, output, self._be_ready(f"adopted (pid {run.pid})"))

    async def _see_through(self, run: Run, output: Output, becoming_ready: object) -> None:
        self._run = run
        run.paused = self._paused
        assert asyncio.iscoroutine(becoming_ready)
        readiness = asyncio.get_running_loop().create_task(becoming_ready)
        readiness.add_done_callback(self._looked)
        try:
            code = await run.ended
        finally:
            looks = [readiness, *self._looks]
            for task in looks:
                task.cancel()
            await asyncio.wait(looks)
            self._looks = []
        if self._channel is not None:
            self._channel.close()
            if self.state is State.STARTING:
                self._failure = self._failure or self._channel.refusal
        stubborn = await run.sweep()
        if stubborn:
            self.log.event(f"cannot be ended: {', '.join(map(str, stubborn))}", logging.ERROR)
        self._run = None
        output.finish()
        ended = self._said_end(run)
        self._files.forget("" if isinstance(self._trigger, OnDemand) else self.service.socket_path)
        self._after_end(code, self._failure, ended)

    def _start_process(self) -> tuple[Run, Output]:
        process = self.service.process
        mark = new_mark()
        made_of = service_record.fingerprint(process)
        record = ServiceRecord(service=self.service.name, mark=mark, made_of=made_of, restarts=self.restarts)
        self._files.write(record)
        held = self._trigger.held if isinstance(self._trigger, OnDemand) else None
        if held is None:
            self._files.remove_stale_socket(self.service.socket_path)
        far, near = self._files.output_pipe(process.orphan)
        try:
            self._channel = Channel(process.channels, self.service.beat_s)
            run = process_run.start(
                process,
                mark,
                self._channel.extra,
                (far, near),
                self._channel.pass_fds,
                self._world.reaper,
                held.fileno() if held is not None else None,
            )
            self._channel.started()
        except BaseException:
            os.close(far)
            if self._channel is not None:
                self._channel.close()
            raise
        finally:
            os.close(near)
        record = record.of(run.identity, run.started_at)
        if process.orphan is Orphan.ADOPT:  # nobody looks for the process of one that ends with us
            self._files.write(record)
        return run, Output(asyncio.get_running_loop(), far, self.log.take)

    async def _await_ready(self, run: Run) -> None:
        assert self._channel is not None
        try:
            await wait_ready(self.service, run, self._channel, self.log, self._commands.run)
        except NotReady as error:
            self._failure = str(error)
            self.log.event(f"{error}; ending it", logging.WARNING)
            await run.terminate(self.service.stop_signals, self.service.stop_timeout_s)
            return
        took_s = time.time() - run.started_at
        await self._be_ready(f"ready after {took_s:.2f} s (pid {run.pid})")

    async def _be_ready(self, message: str) -> None:
        if self._run is not None and self.claim is None:
            homes.remove_claim(
                self._world.home.directory, self.service.name
            )  # it was a daemon, and is none now
        self.anew, self._was_ready = self._was_ready, True
        if not self._step(Happened.READY, message):
            return
        if self._files.record is not None and self.service.process.orphan is Orphan.ADOPT:
            self._files.write(self._files.record.as_ready())
        self._hook("ready")
        if self._run is not None and platform.is_stopped(self._run.pid):
            self._paused(is_stopped=True)
        if self._run is not None:
            self._begin_looks(self._run)

    def _begin_looks(self, run: Run) -> None:
        looks: list[Coroutine[Any, Any, None]] = []
        if self.service.alive is not None:
            looks.append(self._look_after(run))
        if self.service.idle_timeout_s and isinstance(self._trigger, OnDemand):
            looks.append(self._end_when_idle(run, self._trigger))
        if self.service.memory_max or self.service.cpu_max:
            looks.append(self._hold_limits(run))
        self._looks = [asyncio.get_running_loop().create_task(one) for one in looks]
        for task in self._looks:
            task.add_done_callback(self._looked)

    async def _hold_limits(self, run: Run) -> None:
        limits = Limits(run.pid, self.service.memory_max, self.service.cpu_max)
        reason = ""
        while not reason:
            await asyncio.sleep(LIMITS_LOOK_S)
            reason = limits.exceeded()
        self._failure = reason
        self.log.event(f"{reason}; ending it", logging.WARNING)
        await run.terminate(self.service.stop_signals, self.service.stop_timeout_s)

    async def _end_when_idle(self, run: Run, trigger: OnDemand) -> None:
        """End it once nobody has been connected for its idle timeout."""
        timeout_s = self.service.idle_timeout_s
        quiet_since_s = time.monotonic()
        while time.monotonic() - quiet_since_s < timeout_s:
            await asyncio.sleep(timeout_s / 4)
            if trigger.held is not None and trigger.held.connections():
                quiet_since_s = time.monotonic()
        self._ends_idle = True
        self.log.event(f"nobody was connected for {timeout_s:g} s; ending it", logging.INFO)
        await run.terminate(self.service.stop_signals, self.service.stop_timeout_s)

    async def _look_after(self, run: Run) -> None:
        """Look again and again whether it is alive, and end it when it has not been for too long."""
        alive = self.service.alive
        assert alive is not None
        look = Look(self.service, alive.way, run, self._channel, self.log, self._commands.run)
        failed = 0
        while failed < alive.failures:
            reason = await look.after(alive.every_s, alive.way.timeout_s)
            failed = failed + 1 if reason else 0
            if not reason:
                self._well()
            elif failed < alive.failures:
                self._ill(f"not alive ({failed} of {alive.failures}): {reason}")
        self._failure = f"not alive: {reason}"
        self.log.event(f"{self._failure}; ending it", logging.WARNING)
        await run.terminate(self.service.stop_signals, self.service.stop_timeout_s)

    def _ill(self, reason: str) -> None:
        self.reason = reason
        self._step(Happened.ILL, reason, logging.WARNING)

    def _well(self) -> None:
        if self.state is State.UNHEALTHY:
            self.reason = ""
            self.anew = False  # those that need it have lost nothing
            self._step(Happened.WELL, f"ready again (pid {self.pid})")

    def _paused(self, is_stopped: bool) -> None:
        """Take note that a signal has stopped its first process, or that it goes on."""
        if self.state not in (State.READY, State.UNHEALTHY):
            return
        if is_stopped:
            self._ill("stopped by a signal: it does nothing until SIGCONT")
        else:
            self._well()

    def _looked(self, readiness: asyncio.Task[None]) -> None:
        """End a run for which looking whether it is ready has failed by itself."""
        if not readiness.cancelled() and (error := readiness.exception()) is not None:
            logger.error("%s: a mistake in the supervisor", self.service.name, exc_info=error)
            self._failure = f"the supervisor cannot see whether it is ready: {error!r}"
            self._spawn(self._terminate())

    async def _terminate(self) -> None:
        run = self._run
        if run is None:  # `_live` has not begun, and will not
            return
        try:
            await run.terminate(self.service.stop_signals, self.service.stop_timeout_s)
        except Exception:
            logger.exception("%s: a mistake in the supervisor; killing it", self.service.name)
            run.kill()

    # --- after a run ----------------------------------------------------------------------------

    def _said_end(self, run: Run) -> str:
        """Return how a daemon says that this run has ended: `homes.IDLE`, `homes.BY_COMMAND`, or ""."""
        found = homes.read_claim(self._world.home.directory, self.service.name)
        return found.ended if found is not None and found.mark == run.mark else ""

    def _after_end(self, code: int | None, failure: str, ended: str = "") -> None:
        self.last_end = failure or how_it_ended(code)
        if self.state is State.STOPPING:
            expected = code in (0, *(-number for number in self.service.stop_signals), None)
            self._step(Happened.ENDED, "stopped" if expected else f"stopped ({self.last_end})")
            self._hook("stop")
            return
        if ended == homes.BY_COMMAND:
            self.reason = "stopped by command"
            self._step(Happened.ENDED_BY_COMMAND, "stopped (by command)")
            self._hook("stop")
            return
        # What a predecessor started and has ended meanwhile left no exit code, but its own word.
        ends_idle, self._ends_idle = self._ends_idle, False
        meant = ends_idle or code == 0 or (code is None and ended == homes.IDLE)
        failed = bool(failure) or not meant
        if ended == homes.IDLE and not failed:
            self._was_ready = False  # nobody who needs it missed it
            self._step(Happened.ENDED_IDLE, "idle (nobody needed it; it starts again when somebody does)")
            self._hook("stop")
            return
        if self._trigger is not None and not failed:
            self._step(Happened.ENDED_IDLE, f"idle ({self.last_end})")
            self._hook("stop")
            self._arm_again()
            return
        now_s = time.monotonic()
        decided = after_end(self.service.policy, failed, self._restarts_s, now_s, random.random())  # noqa: S311
        if isinstance(decided, Restart):
            self._restart(decided, now_s)
        elif isinstance(decided, Leave):
            self._step(Happened.ENDED_DONE, f"done ({self.last_end})")
            self._hook("stop")
        else:
            self._give_up(decided)

    def _restart(self, decided: Restart, now_s: float) -> None:
        self.reason = f"{self.last_end}; again in {decided.delay_s:.1f} s"
        if self._step(Happened.ENDED_AGAIN, self.reason, logging.WARNING):
            self.restarts += 1
            kept = self.service.policy.most
            self._restarts_s = [*self._restarts_s[-kept:], now_s]
            self._delay = asyncio.get_running_loop().call_later(decided.delay_s, self._delay_over)

    def _give_up(self, decided: GiveUp) -> None:
        span_s = self.service.policy.within_s
        restarts = "1 restart" if decided.restarts == 1 else f"{decided.restarts} restarts"
        after = f" after {restarts} within {span_s:g} s" if decided.restarts else ""
        self.reason = f"given up{after}: {self.last_end}"
        if self._step(Happened.ENDED_FAILED, self.reason, logging.ERROR):
            self._hook("fail")
            if isinstance(self._trigger, ByClock):  # the next moment may go better
                self._arm_again()
            elif self._trigger is not None:
                self._trigger.close()  # who connects is refused, and waits for nothing

    def _arm_again(self) -> None:
        assert self._trigger is not None
        self._triggered = False
        try:
            told = self._trigger.arm(self._fired)
        except (OSError, ScheduleInvalid) as error:
            told = f"cannot be waited for: {error}"
        self.reason = f"{self.reason}; {told}" if self.state is State.FAILED else told

    def _delay_over(self) -> None:
        self._delay = None
        self._step(Happened.DELAY_OVER, "waiting", logging.DEBUG)

    def _cancel_delay(self) -> None:
        if self._delay is not None:
            self._delay.cancel()
            self._delay = None

    # --- hooks ----------------------------------------------------------------------------------

    def _hook(self, at: str) -> None:
        words = self.service.hook(at)
        if words and not self.hurried:
            extra = {"DAEMONRY_EVENT": at, "DAEMONRY_REASON": self.reason or self.last_end}
            if self._run is not None:
                extra["DAEMONRY_PID"] = str(self._run.pid)
            self._spawn(self._commands.hook(at, words, extra))

    # --- small things ---------------------------------------------------------------------------

    def _step(self, happened: Happened, message: str, level: int = logging.INFO) -> bool:
        """Take the step that the table says; whether there is one."""
        following = step(self.state, happened)
        if following is None:
            return False
        if following is not self.state:
            self.state = following
            self.since_s = time.time()
            if level >= logging.INFO:
                self.message = message
                self.log.event(message, level)
            for condition, future in list(self._waiters):
                if condition(following) and not future.done():
                    future.set_result(None)
            self._waiters = [one for one in self._waiters if not one[1].done()]
            self._world.changed(self, message, level)
        return True

    def _spawn(self, work: object) -> None:
        assert asyncio.iscoroutine(work)
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: a mistake in the supervisor", self.service.name, exc_info=error)


def trigger_of(service: Service) -> Trigger | None:
    """Return what starts a service later than `up`; None where nothing does."""
    if service.listens_at:
        return OnDemand(service.listens_at)
    return ByClock(service.schedule) if service.schedule is not None else None
