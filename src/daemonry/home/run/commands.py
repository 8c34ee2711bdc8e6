"""Commands that a service's file names: hooks, and looks whether it is ready or alive.

Owns running them as the service itself is run, with their output in its log, and ending them in time.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from daemonry.home.run import process_run
from daemonry.home.run.process_run import Minders, ProcessRun
from daemonry.home.run.readiness import how_it_ended
from daemonry.home.service import Orphan, Process
from daemonry.home.service_log import Output, ServiceLog, by_line, output_pipe
from daemonry.limits import HOME_HOOK_TIMEOUT_S
from daemonry.process.lifeline import new_mark


class Commands:
    """Runs the commands of one service.

    Args:
        process: the service's process, as its file has it now.
        log: the service's log.
        minders: those who see their ends.
    """

    def __init__(self, process: Callable[[], Process], log: ServiceLog, minders: Minders) -> None:
        self._process = process
        self._log = log
        self._minders = minders
        self._running: set[ProcessRun] = set()

    def kill(self) -> None:
        """Kill those that run."""
        for run in list(self._running):
            run.kill()

    async def hook(self, at: str, words: tuple[str, ...], extra: dict[str, str]) -> None:
        """Run a hook; its failure is logged."""
        try:
            code = await self.run(words, HOME_HOOK_TIMEOUT_S, extra)
        except TimeoutError:
            self._warn(f"the hook on {at} was killed after {HOME_HOOK_TIMEOUT_S:g} s")
        except OSError as error:
            self._warn(f"the hook on {at} cannot be started: {error.strerror or error}")
        else:
            if code:
                self._warn(f"the hook on {at} {how_it_ended(code)}")

    def _say(self, line: str) -> None:
        self._log.event(line, logging.INFO)

    def _warn(self, message: str) -> None:
        self._log.event(message, logging.WARNING)

    async def run(self, words: tuple[str, ...], timeout_s: float, extra: dict[str, str] | None = None) -> int:
        """Run a command and return its exit code.

        Raises:
            OSError: it cannot be started.
            TimeoutError: it took longer, and was killed.
        """
        process = self._process()
        given = Process(words, process.directory, process.environment, Orphan.END, ())
        far, near = output_pipe()
        try:
            run = process_run.start(given, new_mark(), extra or {}, near, (), self._minders)
        except BaseException:
            os.close(far)
            raise
        finally:
            os.close(near)
        output = Output(asyncio.get_running_loop(), far, by_line(self._say))
        self._running.add(run)
        try:
            async with asyncio.timeout(timeout_s):
                code = await asyncio.shield(run.ended)
        finally:
            self._running.discard(run)
            run.kill()
            await run.sweep()
            output.finish()
        return code or 0
