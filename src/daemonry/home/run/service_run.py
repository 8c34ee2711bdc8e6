"""One run of a service: started or adopted, awaited until it is ready, checked, and followed to its end.

Owns the order of these steps.  Its process is `process_run`'s, the checks are `checks`'s, and the service's
state, its hooks and its restarts `keeper`'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from daemonry.home.child import ServiceState
from daemonry.home.run.checks import until_idle, until_not_alive, until_over_limits
from daemonry.home.run.commands import Commands
from daemonry.home.run.end import RunEnd
from daemonry.home.run.liveness import Look
from daemonry.home.run.process_run import AdoptedRun, Minders, ProcessRun
from daemonry.home.run.readiness import Channel, NotReady, wait_ready
from daemonry.home.run.resource_use import Limits
from daemonry.home.run.service_cgroup import delegated
from daemonry.home.run.start import start_run, why_not
from daemonry.home.service import Service
from daemonry.home.service_files import ServiceFiles
from daemonry.home.service_log import Output, ServiceLog
from daemonry.home.service_trigger import ServiceTrigger
from daemonry.process import platform

logger: logging.Logger = logging.getLogger("daemonry.home")


class RunKeeper(Protocol):
    """The keeper, as a run needs it.

    Attributes:
        commands: runs the service's commands.
        files: the service's files.
        log: the service's log.
        restarts: how often it was started again by itself.
        service: the service, as its file defines it now.
        trigger: its trigger.
    """

    commands: Commands
    files: ServiceFiles
    log: ServiceLog
    restarts: int
    service: Service
    trigger: ServiceTrigger

    @property
    def minders(self) -> Minders:
        """Those who see processes end."""

    @property
    def state(self) -> ServiceState:
        """Its state."""

    def ready(self, message: str) -> bool:
        """Enter the state "ready"; return whether the service was not asked to stop meanwhile."""

    def ill(self, reason: str) -> None:
        """Enter the state "unhealthy"."""

    def well(self) -> None:
        """Leave the state "unhealthy"."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something meanwhile; a failure is logged."""


class ServiceRun:
    """One run of a service.

    Args:
        keeper: its keeper.

    Attributes:
        process: its process; None before it is there and after its end.
    """

    def __init__(self, keeper: RunKeeper) -> None:
        self.process: ProcessRun | None = None
        self._keeper = keeper
        self._channel: Channel | None = None
        self._failure = ""
        self._is_idle = False
        self._limits: Limits | None = None
        self._checks: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        where = "no process" if self.process is None else f"pid {self.process.pid}"
        return f"<ServiceRun of {self._keeper.service.name}: {where}>"

    @property
    def tells(self) -> str:
        """The service's last words about its state, or ""."""
        return self._channel.tells if self._channel is not None else ""

    # --- from its start to its end --------------------------------------------------------------

    async def perform(self) -> RunEnd:
        """Start the service's process, and return how the run ended."""
        keeper = self._keeper
        socket = keeper.trigger.socket
        try:
            started = start_run(
                keeper.service,
                keeper.files,
                keeper.minders,
                keeper.log.take,
                restarts=keeper.restarts,
                socket_fd=None if socket is None else socket.for_service(),
            )
        except OSError as error:
            reason = why_not(error, keeper.service.process, keeper.files.out_path)
            return RunEnd(None, f"cannot be started: {reason}")
        self._channel = started.channel
        keeper.log.event(f"started (pid {started.process.pid})", logging.INFO)
        return await self._follow(started.process, started.output, self._await_ready(started.process))

    async def perform_adopted(self, process: AdoptedRun) -> RunEnd:
        """Go on with the process of a supervisor before this one, and return how the run ended."""
        keeper = self._keeper
        try:
            fd = keeper.files.open_out()
        except OSError as error:
            keeper.log.event(f"its output is lost: {keeper.files.out_path}: {error.strerror}", logging.ERROR)
            fd, near = os.pipe()
            os.close(near)
        output = Output(asyncio.get_running_loop(), fd, keeper.log.take)
        return await self._follow(process, output, self._be_ready(process, f"adopted (pid {process.pid})"))

    async def _follow(
        self, process: ProcessRun, output: Output, becoming_ready: Coroutine[Any, Any, None]
    ) -> RunEnd:
        self.process = process
        process.paused = self._paused
        readiness = asyncio.get_running_loop().create_task(becoming_ready)
        readiness.add_done_callback(self._checked)
        try:
            code = await process.ended
        finally:
            checks = [readiness, *self._checks]
            for task in checks:
                task.cancel()
            await asyncio.wait(checks)
            self._checks = []
        if self._channel is not None:
            self._channel.close()
            if self._keeper.state is ServiceState.STARTING:
                self._failure = self._failure or self._channel.refusal
        stubborn = await process.sweep()
        if stubborn:
            self._keeper.log.event(f"cannot be ended: {', '.join(map(str, stubborn))}", logging.ERROR)
        if self._limits is not None:
            explained = self._failure or self._keeper.state is ServiceState.STOPPING
            self._failure = self._limits.ended(None if explained else code) or self._failure
        self.process = None
        output.finish()
        return RunEnd(code, self._failure, self._keeper.files.said_end(process.mark), self._is_idle)

    # --- ready ----------------------------------------------------------------------------------

    async def _await_ready(self, process: ProcessRun) -> None:
        keeper = self._keeper
        assert self._channel is not None
        try:
            await wait_ready(keeper.service, process, self._channel, keeper.log, keeper.commands.run)
        except NotReady as error:
            await self._end(process, str(error))
            return
        took_s = time.time() - process.started_at
        await self._be_ready(process, f"ready after {took_s:.2f} s (pid {process.pid})")

    async def _be_ready(self, process: ProcessRun, message: str) -> None:
        if not self._keeper.ready(message):
            return
        if platform.is_stopped(process.pid):
            self._paused(is_stopped=True)
        self._checks = [asyncio.get_running_loop().create_task(one) for one in self._begin_checks(process)]
        for task in self._checks:
            task.add_done_callback(self._checked)

    def _begin_checks(self, process: ProcessRun) -> list[Coroutine[Any, Any, None]]:
        keeper, service = self._keeper, self._keeper.service
        checks: list[Coroutine[Any, Any, None]] = []
        if service.alive is not None:
            look = Look(service, service.alive.way, process, self._channel, keeper.log, keeper.commands.run)
            check = partial(until_not_alive, service.alive, look, keeper.well, keeper.ill)
            checks.append(self._end_after(process, check))
        if service.idle_timeout_s and keeper.trigger.holds_socket:
            checks.append(self._end_when_idle(process, service.idle_timeout_s))
        if service.memory_max or service.cpu_max:
            limits = self._limits = self._limited(process.pid)
            checks.append(self._end_after(process, partial(until_over_limits, limits)))
        return checks

    def _limited(self, pid: int) -> Limits:
        service = self._keeper.service
        given = delegated()
        most = service.memory_max, service.cpu_max
        group = None if given is None else given.limit(service.name, pid, *most)
        return Limits(pid, *most, group)

    async def _end_after(self, process: ProcessRun, check: Callable[[], Awaitable[str]]) -> None:
        await self._end(process, await check())

    async def _end_when_idle(self, process: ProcessRun, timeout_s: float) -> None:
        await until_idle(timeout_s, self._keeper.trigger.connections)
        self._is_idle = True
        self._keeper.log.event(f"nobody was connected for {timeout_s:g} s; ending it", logging.INFO)
        await self._ask_to_end(process)

    def _paused(self, is_stopped: bool) -> None:
        """Take note that a signal has stopped its first process, or that it goes on."""
        if self._keeper.state not in (ServiceState.READY, ServiceState.UNHEALTHY):
            return
        if is_stopped:
            self._keeper.ill("stopped by a signal: it does nothing until SIGCONT")
        else:
            self._keeper.well()

    def _checked(self, check: asyncio.Task[None]) -> None:
        """End a run of which a check failed by itself."""
        if not check.cancelled() and (error := check.exception()) is not None:
            logger.error("%s: a mistake in the supervisor", self._keeper.service.name, exc_info=error)
            self._failure = f"the supervisor cannot see whether it is ready: {error!r}"
            self._keeper.spawn(self.terminate())

    # --- its end --------------------------------------------------------------------------------

    async def _end(self, process: ProcessRun, reason: str) -> None:
        self._failure = reason
        self._keeper.log.event(f"{reason}; ending it", logging.WARNING)
        await self._ask_to_end(process)

    async def _ask_to_end(self, process: ProcessRun) -> None:
        service = self._keeper.service
        await process.terminate(service.stop_signals, service.stop_timeout_s)

    async def terminate(self) -> None:
        """End it by its signals, and kill it where that fails."""
        process = self.process
        if process is None:  # `perform` has not begun, and will not
            return
        try:
            await self._ask_to_end(process)
        except Exception:
            logger.exception("%s: a mistake in the supervisor; killing it", self._keeper.service.name)
            process.kill()

    def kill(self) -> None:
        """Kill all of its processes at once."""
        if self.process is not None:
            self.process.kill()

    async def abandon(self) -> None:
        """Kill it and sweep, after a mistake in the supervisor."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            await process.sweep()
