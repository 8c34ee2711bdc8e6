"""The signals of a home's supervisor: the end of a child, stop, stop at once, and reload.

Owns their meaning, and the pipe that they come by.  A second SIGTERM or SIGINT kills the services instead of
waiting for them.

asyncio has a socket for signals that holds 278 of them.  Where a thousand services end while one turn of the
loop lasts, their SIGCHLDs fill it, and a SIGTERM that comes then is lost.  A pipe holds 65,536.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Final

from daemonry.errors import DaemonryError
from daemonry.home.fleet import Fleet
from daemonry.process.children.reaping import Reaper

logger: logging.Logger = logging.getLogger("daemonry.home")

_PIPE_BYTES: Final = 1 << 16


class HomeSignals:
    """What each signal does.

    Args:
        fleet: the services; they tell whether the home ends already.
        reaper: collects children that have ended.
        begin_end: begins to stop all services.
        hurry: kills all services.
        reload: reads home.toml again; see `control.HomeControl.reload`.
    """

    def __init__(
        self,
        fleet: Fleet,
        reaper: Reaper,
        begin_end: Callable[[], None],
        hurry: Callable[[], None],
        reload: Callable[[], Awaitable[str]],
    ) -> None:
        self._fleet = fleet
        self._reaper = reaper
        self._begin_end = begin_end
        self._hurry = hurry
        self._reload = reload
        self._reloads: set[asyncio.Task[None]] = set()

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Handle signals on a loop from now on, until the process ends; only the main thread may."""
        read_fd, write_fd = os.pipe()
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _noted)
            signal.siginterrupt(number, False)
        loop.add_reader(read_fd, self._read, read_fd)
        # As process 1 the supervisor has to collect children that ended before the handler was there.
        loop.call_soon(self._reaper.reap)

    def _read(self, fd: int) -> None:
        numbers = os.read(fd, _PIPE_BYTES)
        if signal.SIGCHLD in numbers:  # however many came: all that have ended are collected
            self._reaper.reap()
        for number in numbers:
            if number == signal.SIGHUP:
                self._begin_reload()
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._stop(number)

    def _stop(self, number: int) -> None:
        if self._fleet.ending:
            logger.warning("%s again: killing what is left", signal.Signals(number).name)
            self._hurry()
        else:
            logger.info("%s: stopping", signal.Signals(number).name)
            self._begin_end()

    def _begin_reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload_now())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload_now(self) -> None:
        try:
            await self._reload()
        except DaemonryError as error:
            logger.error("not reloaded: %s", error)


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: its number is in the pipe."""
