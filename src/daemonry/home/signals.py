"""The signals of a home's supervisor: the end of a child, stop, stop at once, and reload.

Owns their meaning.  A second SIGTERM or SIGINT kills the services instead of waiting for them.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable

from daemonry.home.control import HomeFileInvalid
from daemonry.home.fleet import Fleet
from daemonry.process.children.reaping import Reaper

logger: logging.Logger = logging.getLogger("daemonry.home")


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
        """Handle signals on a loop from now on."""
        loop.add_signal_handler(signal.SIGCHLD, self._reaper.reap)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._begin_reload)
        # As process 1 the supervisor has to collect children that ended before the handler was there.
        loop.call_soon(self._reaper.reap)

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
        except HomeFileInvalid as error:
            logger.error("not reloaded: %s", error.parameters["reason"])
