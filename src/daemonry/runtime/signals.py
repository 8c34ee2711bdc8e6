"""What each signal does: stop, stop at once, reload, look after the socket file, count idle time from now.

Owns the reactions.  Noting signals is `watchdog`'s; these are called in its thread.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from daemonry.daemon.lifecycle import Happened
from daemonry.errors import DaemonryError

if TYPE_CHECKING:
    from daemonry.process.notify import Notifier
    from daemonry.runtime.control_state import Life
    from daemonry.runtime.idle_shutdown import Idle
    from daemonry.runtime.shutdown import ImmediateEnd
    from daemonry.service.server.server import Server

logger: logging.Logger = logging.getLogger("daemonry.daemon")


class Signals:
    """Reacts to the signals of one daemon."""

    def __init__(
        self,
        state: Life,
        server: Server,
        notifier: Notifier,
        end_at_once: ImmediateEnd,
        idle: Idle | None = None,
    ) -> None:
        self._idle = idle
        self._state = state
        self._server = server
        self._notifier = notifier
        self._end_at_once = end_at_once
        self._reloads: set[asyncio.Future[None]] = set()

    def react(self, number: int) -> None:
        """React to the signal with a number."""
        name = signal.Signals(number).name
        if name == "SIGHUP":
            self._on_loop(self._start_reload)
        elif name == "SIGUSR1":
            self._on_loop(self._check_file)
        elif name == "SIGCONT":  # it may have stood still for long
            if self._idle is not None:
                self._on_loop(self._idle.begin_again)
        elif self._state.stopping.is_set():
            logger.warning("%s again: ending at once", name)
            self._end_at_once(128 + number)
        else:
            logger.info("%s", name)
            self._state.happened(Happened.STOP_ASKED)

    def _on_loop(self, action: Callable[[], None]) -> None:
        assert self._state.loop is not None
        self._state.loop.call_soon_threadsafe(action)

    def _start_reload(self) -> None:
        reload = asyncio.ensure_future(self._reload())
        self._reloads.add(reload)
        reload.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        """Reload, telling a service manager the beginning and the end (Type=notify-reload)."""
        self._notifier.reloading()
        try:
            result = self._state.reload_config()
            if inspect.isawaitable(result):
                await result
        except Exception:  # noqa: BLE001, S110  # the state logs it; nobody waits for an answer to a signal
            pass
        self._notifier.ready("reloaded")

    def _check_file(self) -> None:
        try:
            self._server.check_file()
        except DaemonryError as error:
            logger.error("%s", error)
