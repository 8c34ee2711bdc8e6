"""Ending a daemon that nobody needs: when it is idle, and how nobody is lost by it.

Owns the decision and the order.  Idle is a daemon in which no call runs (streams and subscriptions
are calls that run), no job is marked by `run.busy()`, and for whose interfaces no call has come for
`idle_timeout_s`.  Asking for its status does not keep it alive, and neither does an open connection.

Time is the monotonic clock's, which stands still while the machine is suspended; after a suspend, or
after the process itself stood still, the whole time is given again.

The end is decided in one turn of the loop.  Further connections are refused, which a client learns
before it has sent anything, and those that wait are taken in.  Idle connections are closed for reading:
what had come is answered, and what comes later fails on the client's side, unsent.  Only if nobody turns
out to have come with that does the daemon end; else it listens again and goes on.  A socket that a
service manager keeps is only let go of: who waits there has the next daemon started.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from daemonry import clock
from daemonry.daemon.lifecycle import Phase
from daemonry.errors import DaemonryError
from daemonry.transport.endpoint import UNIX

if TYPE_CHECKING:
    from daemonry.runtime.busy import Jobs
    from daemonry.runtime.control_state import Life
    from daemonry.service.server.dispatch import Calls
    from daemonry.service.server.server import Server

logger = logging.getLogger("daemonry.daemon")

_LOOK_MAX_S: Final = 1.0
_LOOKS_PER_TIMEOUT: Final = 10
# A suspend or a stopped process, and not a busy machine.
_STOOD_STILL_S: Final = 5.0


def suspended_s() -> float:
    """Return for how long the machine has been suspended since it was booted, where that is told."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return (
        0.0 if boottime is None else time.clock_gettime(boottime) - time.clock_gettime(time.CLOCK_MONOTONIC)
    )


class Idle:
    """Watches for the time to end.

    Args:
        timeout_s: how long the daemon may be idle, in seconds.
        life: the daemon's life.
        calls: its calls.
        server: its server.
        jobs: its jobs.
        going: is told that the end is near, and, should it not come, that it is not: True, then False.
        held: whether something forbids the end now, such as a hand-over under way.
        kept: whether a service manager keeps the socket, and starts the next daemon when somebody comes.
    """

    def __init__(  # noqa: PLR0913  # all that an idle end touches
        self,
        timeout_s: float,
        life: Life,
        calls: Calls,
        server: Server,
        jobs: Jobs,
        going: Callable[[bool], None],
        held: Callable[[], bool],
        *,
        kept: bool,
    ) -> None:
        self._timeout_s = timeout_s
        self._life = life
        self._calls = calls
        self._server = server
        self._jobs = jobs
        self._going = going
        self._held = held
        self._kept = kept
        self._seen = (-1, -1)
        self._active_at_s = clock.monotonic()

    @property
    def in_flight(self) -> int:
        """How many calls and jobs there are."""
        return self._calls.running + self._jobs.running

    def fields(self) -> dict[str, Any]:
        """Return what STATUS tells of it."""
        idle_s = 0.0 if self._is_busy() else clock.monotonic() - self._active_at_s
        return {"idle_secs": int(idle_s), "idle_timeout_secs": self._timeout_s, "in_flight": self.in_flight}

    async def watch(self) -> None:
        """End the daemon when it has been idle for long enough; returns when it ends."""
        look_s = min(_LOOK_MAX_S, self._timeout_s / _LOOKS_PER_TIMEOUT)
        self._active_at_s = looked_at_s = clock.monotonic()
        suspended = suspended_s()
        while not self._life.stopping.is_set():
            await asyncio.sleep(look_s)
            now_s, now_suspended = clock.monotonic(), suspended_s()
            stood_still = (
                now_s - looked_at_s > look_s + self._timeout_s / 2 or now_suspended - suspended > 1.0
            )
            looked_at_s, suspended = now_s, now_suspended
            if self._is_busy() or stood_still:
                self._active_at_s = now_s
            elif now_s - self._active_at_s >= self._timeout_s and self._end():
                return

    def _is_busy(self) -> bool:
        """Whether anything is in hand, or has come since this was asked last."""
        seen = (self._calls.begun, self._jobs.begun)
        if (
            seen == self._seen
            and not self.in_flight
            and self._life.phase is Phase.RUNNING
            and not self._held()
        ):
            return False
        self._seen = seen
        self._active_at_s = clock.monotonic()
        return True

    def _end(self) -> bool:
        """End the daemon unless somebody is just coming; all in one turn of the loop."""
        if self._server.newcomers:
            return False  # asked again at the next look
        self._going(True)
        if not self._refuse_more():
            self._server.retire_idle()  # what such a client has just sent is answered here
            if not self._is_busy():
                logger.info("idle for %g s", self._timeout_s)
                if self._life.end_idle():
                    return True
        logger.info("somebody came as the idle end began; going on")
        try:
            self._let_in()
        except DaemonryError as error:
            logger.error("the socket cannot be made again: %s", error)
        self._going(False)
        return False

    def _refuse_more(self) -> int:
        """Let nobody else in, but who waits; return how many did."""
        if self._kept:
            # To refuse would be to refuse for ever: it is the manager's socket too.  Who waits there
            # is the next daemon's, which is started for it.
            self._server.stop_accepting()
            return 0
        return self._server.refuse_more()

    def _let_in(self) -> None:
        """Listen as before."""
        if self._kept or self._server.endpoint.kind != UNIX:
            # Nothing was refused, and a second listener could not have the first one's port.
            self._server.accept_from_now()
        else:
            self._server.listen_again()
