"""Ending a daemon that nobody needs: when it is idle, and how nobody is lost by it.

Owns the decision and the order.  Idle is a daemon in which no call runs (streams and subscriptions
are calls that run), no job is marked by `run.busy()`, and for whose interfaces no call has come for
`idle_timeout_s`.  Asking for its status does not keep it alive, and neither does an open connection.

Time is the monotonic clock's, which stands still while the machine is suspended; after a suspend, or
after the process itself stood still, the whole time is given again.

While there is something to do the daemon is looked at, several times in each `idle_timeout_s`.  Once it has
nothing to do there is one timer, for the moment of the end, and the next thing that begins ends the wait.

The end is decided in one turn of the loop.  Further connections are refused, which a client learns
before it has sent anything, and those that wait are taken in.  Idle connections are closed for reading:
requests that had come are answered, and later ones fail on the client's side, unsent.  Only if nobody turns
out to have come with that does the daemon end; else it listens again and goes on.  A socket that a
service manager keeps is only let go of: a client that waits there causes the next start.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from daemonry import clock
from daemonry.errors import DaemonryError

logger: logging.Logger = logging.getLogger("daemonry.daemon")

_LOOK_MAX_S: Final = 1.0
_LOOKS_PER_TIMEOUT: Final = 10
# A suspend or a stopped process, and not a busy machine.
_STOOD_STILL_S: Final = 5.0


def suspended_s() -> float:
    """Return for how long the machine has been suspended since it was booted, where that is known."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return (
        0.0 if boottime is None else time.clock_gettime(boottime) - time.clock_gettime(time.CLOCK_MONOTONIC)
    )


class IdleHost(Protocol):
    """The running daemon, as its idle end needs it."""

    @property
    def begun(self) -> tuple[int, int]:
        """How many calls, and how many jobs, have begun so far."""
        ...

    @property
    def in_flight(self) -> int:
        """How many calls and jobs there are."""
        ...

    def tell_when_begun(self, tell: Callable[[], None]) -> None:
        """Call `tell`, on the loop, when the next call or job begins, or the phase changes."""
        ...

    @property
    def is_ending(self) -> bool:
        """Whether the daemon ends."""
        ...

    @property
    def may_end(self) -> bool:
        """Whether it runs, and nothing such as a hand-over is under way."""
        ...

    @property
    def newcomers(self) -> int:
        """How many clients have sent nothing yet."""
        ...

    def announce_end(self, ends: bool) -> None:
        """Tell those who look for the daemon that it ends soon; or that it does not, after all."""
        ...

    def refuse_more(self) -> int:
        """Let nobody else in but those who wait, and return how many did."""
        ...

    def retire_idle(self) -> None:
        """Have connections on which nothing is in hand take no further call."""
        ...

    def accept_again(self) -> None:
        """Listen as before.

        Raises:
            DaemonryError: it cannot be done now.
        """
        ...

    def end(self) -> bool:
        """Begin to end; False where that is not possible now."""
        ...


class Idle:
    """Watches for the time to end.

    Args:
        timeout_s: how long the daemon may be idle, in seconds.
        host: the daemon.
    """

    def __init__(self, timeout_s: float, host: IdleHost) -> None:
        self._timeout_s = timeout_s
        self._host = host
        self._seen = (-1, -1)
        self._active_at_s = clock.monotonic()
        self._stirred = asyncio.Event()

    def __repr__(self) -> str:
        return f"Idle(in flight: {self._host.in_flight}, ends after {self._timeout_s:g} s)"

    def fields(self) -> dict[str, Any]:
        """Return the fields of STATUS about it."""
        idle_s = 0.0 if self._is_busy() else clock.monotonic() - self._active_at_s
        return {
            "idle_secs": int(idle_s),
            "idle_timeout_secs": self._timeout_s,
            "in_flight": self._host.in_flight,
        }

    async def watch(self) -> None:
        """End the daemon when it has been idle for long enough; returns when it ends."""
        look_s = min(_LOOK_MAX_S, self._timeout_s / _LOOKS_PER_TIMEOUT)
        self.begin_again()
        suspended = suspended_s()
        wait_s, quiet = look_s, False
        while not self._host.is_ending:
            until_s = clock.monotonic() + wait_s
            await (self._sleep_unless_stirred(wait_s) if quiet else asyncio.sleep(wait_s))
            now_s, now_suspended = clock.monotonic(), suspended_s()
            late_s = now_s - until_s
            if now_suspended - suspended > 1.0 or late_s > min(_STOOD_STILL_S, self._timeout_s / 2):
                self._active_at_s = now_s
            suspended = now_suspended
            quiet = not self._is_busy()
            left_s = self._active_at_s + self._timeout_s - now_s
            if quiet and left_s <= 0:
                if self._end():
                    return
                quiet = False
            wait_s = left_s if quiet else look_s

    def begin_again(self) -> None:
        """Give the whole time again; on the loop."""
        self._active_at_s = clock.monotonic()

    async def _sleep_unless_stirred(self, wait_s: float) -> None:
        self._stirred.clear()
        self._host.tell_when_begun(self._stirred.set)
        if self._host.begun != self._seen:
            return  # a job began meanwhile, in another thread
        try:
            async with asyncio.timeout(wait_s):
                await self._stirred.wait()
        except TimeoutError:
            pass

    def _is_busy(self) -> bool:
        """Whether anything is in hand, or has come since this was asked last."""
        seen = self._host.begun
        if seen == self._seen and not self._host.in_flight and self._host.may_end:
            return False
        self._seen = seen
        self._active_at_s = clock.monotonic()
        return True

    def _end(self) -> bool:
        """End the daemon unless somebody is just coming; all in one turn of the loop."""
        if self._host.newcomers:
            return False  # asked again at the next look
        self._host.announce_end(True)
        if not self._host.refuse_more():
            self._host.retire_idle()  # what such a client has just sent is answered here
            if not self._is_busy():
                logger.info("idle for %g s", self._timeout_s)
                if self._host.end():
                    return True
        logger.info("somebody came as the idle end began; going on")
        try:
            self._host.accept_again()
        except DaemonryError as error:
            logger.error("the socket cannot be made again: %s", error)
        self._host.announce_end(False)
        return False
