"""Is it still alive?  The ways of `readiness`, looked at again and again once a service is ready.

    message     a line {"alive": {}} on the descriptor in DAEMONRY_READY_FD
    notify      WATCHDOG=1 to the socket in NOTIFY_SOCKET (sd_watchdog_enabled(3))
    socket, http, command     tried as for readiness
    output      a line of its output that a regular expression finds

Whatever the way, a first process that a signal has stopped is not alive: the kernel accepts connections
for it all the same.

Owns one look: waiting, and saying why it failed.  How often, and what follows, is `keeper`'s.
"""

from __future__ import annotations

import asyncio
import re

from daemonry.home.run.process_run import ProcessRun
from daemonry.home.run.readiness import Channel, ProbeAttempts, RunCommand
from daemonry.home.service import Kind, Ready, Service
from daemonry.home.service_log import ServiceLog
from daemonry.process import platform


class Look:
    """Looks whether a service is alive.

    Args:
        service: the service.
        way: how it shows it.
        run: its process.
        channel: its own messages come in there; None for an adopted run, which has none.
        log: its log.
        command: runs the command that its file names.
    """

    def __init__(
        self,
        service: Service,
        way: Ready,
        run: ProcessRun,
        channel: Channel | None,
        log: ServiceLog,
        command: RunCommand,
    ) -> None:
        self._way = way
        self._run = run
        self._channel = channel
        self._log = log
        self._attempts = ProbeAttempts(way, service.socket_path, run, command)

    async def after(self, every_s: float, timeout_s: float) -> str:
        """Wait for `every_s` seconds, look, and return why it does not seem alive, or ""."""
        kind = self._way.kind
        if kind is Kind.OUTPUT:
            seen = await self._line_within(every_s)
            reason = "" if seen else f"no line with {self._way.target!r} within {every_s:g} s"
        elif kind in (Kind.MESSAGE, Kind.NOTIFY) and self._channel is not None:
            seen = await self._channel.beat_within(every_s)
            what = '{"alive": {}}' if kind is Kind.MESSAGE else "WATCHDOG=1"
            reason = "" if seen else f"no {what} within {every_s:g} s"
        else:
            await asyncio.sleep(every_s)
            reason = await self._tried(timeout_s) if kind in ProbeAttempts.KINDS else ""
        return f"{self._stopped()}{reason}" if reason else self._stopped().removesuffix("; ")

    async def _tried(self, timeout_s: float) -> str:
        return "" if await self._attempts.once(timeout_s) else self._attempts.last

    def _stopped(self) -> str:
        stopped = platform.is_stopped(self._run.pid)
        return f"process {self._run.pid} is stopped by a signal; " if stopped else ""

    async def _line_within(self, every_s: float) -> bool:
        """Wait the whole time, and say whether a line came."""
        pattern = re.compile(self._way.target)
        found = False

        def look(line: str) -> None:
            nonlocal found
            found = found or pattern.search(line) is not None

        self._log.watches.append(look)
        try:
            await asyncio.sleep(every_s)
        finally:
            self._log.watches.remove(look)
        return found
