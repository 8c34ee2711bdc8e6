"""A daemon's answers while its loop is stuck, given from another thread.

Owns what each command does then.  Nothing here waits for a hook: phases change at once, and the
hooks run when the loop is back.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from daemonry.daemon.lifecycle import Happened
from daemonry.limits import GUARDIAN_TICK_S

if TYPE_CHECKING:
    from daemonry.runtime.control_state import Life
    from daemonry.service.server.standby import Standby

logger: logging.Logger = logging.getLogger("daemonry.daemon")


class StuckControl:
    """The control state of a daemon whose loop is stuck.

    Args:
        life: the daemon's life, as the loop's thread knows it.
        standby: what noticed, and serves meanwhile.
    """

    def __init__(self, life: Life, standby: Standby) -> None:
        self._life = life
        self._standby = standby
        self._asking: threading.Thread | None = None

    def get_status(self) -> Mapping[str, Any]:
        """Return the last known fields, with those that are known now, and where the loop is stuck."""
        return {
            **self._fields(),
            "stuck_secs": round(self._standby.stuck_for_s or 0.0, 1),
            "stuck_at": self._standby.stuck_at(),
        }

    def get_stacks(self) -> Mapping[str, Any]:
        """Return the stacks of threads and tasks."""
        return self._life.get_stacks()

    def _fields(self) -> Mapping[str, Any]:
        # The hook gets a thread and a moment: it may be stuck itself, or wait for the code that is.
        if self._asking is None or not self._asking.is_alive():
            self._asking = threading.Thread(target=self._life.get_status, daemon=True)
            self._asking.start()
            self._asking.join(GUARDIAN_TICK_S)
        known = self._life.snapshot or self._life.own_fields()
        if self._asking.is_alive() and self._life.daemon.whole_status_hook is None:
            return {**known, **self._life.own_fields()}  # what the hook knew is old; the phase need not be
        return known

    def pause(self) -> None:
        """Pause now; the hook follows."""
        self._life.check_pausable()
        self._life.enter(Happened.PAUSE_ASKED)
        self._follow(self._life.daemon.pause_hook)

    def resume(self) -> None:
        """Resume now; the hook follows."""
        self._life.check_resumable()
        self._life.enter(Happened.RESUME_ASKED)
        self._follow(self._life.daemon.resume_hook)

    def reload_config(self) -> str | None:
        """Check the configuration now; it counts once the loop has told the hook."""
        try:
            _, restart_needed = self._life.configuration.read()
        except Exception as error:
            self._life.configuration.refuse(error)
            raise
        self._follow(self._life.reload_config)
        note = "checked; it counts once the daemon's loop is no longer stuck"
        return (
            f"{note}; needs a restart to take effect: {', '.join(restart_needed)}" if restart_needed else note
        )

    def stop(self) -> None:
        """Ask the daemon to end; the guardian sees to it if the loop does not."""
        self._life.stop()

    def version(self) -> str:
        """Return the program's version."""
        return self._life.version()

    def _follow(self, hook: Callable[[], Any] | None) -> None:
        loop = self._life.loop
        if hook is not None and loop is not None:
            loop.call_soon_threadsafe(_start, loop, hook)


_followers: set[asyncio.Future[Any]] = set()


def _start(loop: asyncio.AbstractEventLoop, hook: Callable[[], Any]) -> None:
    """Run a hook whose sender has its answer already; a failure is logged."""
    try:
        result = hook()
    except Exception:
        logger.exception("a hook failed after its command was answered")
        return
    if inspect.isawaitable(result):
        follower = asyncio.ensure_future(_logged(result), loop=loop)
        _followers.add(follower)
        follower.add_done_callback(_followers.discard)


async def _logged(result: Awaitable[Any]) -> None:
    try:
        await result
    except Exception:
        logger.exception("a hook failed after its command was answered")
