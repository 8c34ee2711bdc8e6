"""What starts a service later than `up`: the first connection to its socket, or a moment of its schedule.

Owns waiting for it.  What a start is, and when the wait begins, is `keeper`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

from daemonry.home.trigger.held_socket import HeldSocket
from daemonry.home.trigger.schedule import Schedule

# A clock that is set, and a machine that slept, are noticed that late.
_LOOK_S: Final = 60.0

Fire = Callable[[], object]


class Trigger(Protocol):
    """Starts a service once something happens."""

    def arm(self, fire: Fire) -> str:
        """Wait for it, call `fire` once, and return a sentence about the event that it waits for.

        Raises:
            OSError: it cannot be waited for.
        """

    def disarm(self) -> None:
        """Wait no more; it can be armed again.  Twice is not an error."""

    def close(self) -> None:
        """Wait no more, and give back what it holds.  Twice is not an error."""


class OnDemand:
    """Fires at a connection.

    Args:
        target: where it listens: `unix:PATH` or `tcp:HOST:PORT`.

    Attributes:
        held: the socket, while there is one.
    """

    def __init__(self, target: str) -> None:
        self.held: HeldSocket | None = None
        self._target = target

    def arm(self, fire: Fire) -> str:
        """See `Trigger.arm`."""
        if self.held is None:
            self.held = HeldSocket(self._target)
        self.held.on_connection(fire)
        return f"starts when somebody connects to {self._target}"

    def disarm(self) -> None:
        """See `Trigger.disarm`."""
        if self.held is not None:
            self.held.leave_alone()

    def close(self) -> None:
        """See `Trigger.close`."""
        if self.held is not None:
            self.held.close()
            self.held = None


class ByClock:
    """Fires at the moments of a schedule.

    Args:
        schedule: the schedule.
        now: returns the present time, in local time without a zone.
    """

    def __init__(self, schedule: Schedule, now: Callable[[], datetime] = datetime.now) -> None:
        self._schedule = schedule
        self._now = now
        self._timer: asyncio.TimerHandle | None = None
        self._fired_at: datetime | None = None

    def arm(self, fire: Fire) -> str:
        """See `Trigger.arm`."""
        now = self._now()
        due = self._schedule.next_after(self._fired_at or now)
        if due <= now:  # the last run took longer than that
            due = now if self._schedule.every_s else self._schedule.next_after(now)
        self._wait(due, fire)
        return f"runs next at {due:%Y-%m-%d %H:%M:%S}"

    def _wait(self, due: datetime, fire: Fire) -> None:
        self.disarm()
        left_s = (due - self._now()) / timedelta(seconds=1)
        loop = asyncio.get_running_loop()
        if left_s <= 0:
            self._timer = loop.call_soon(self._fire, fire)  # type: ignore[assignment]
        else:
            self._timer = loop.call_later(min(left_s, _LOOK_S), self._wait, due, fire)

    def _fire(self, fire: Fire) -> None:
        self._timer = None
        self._fired_at = self._now()
        fire()

    def disarm(self) -> None:
        """See `Trigger.disarm`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """See `Trigger.close`."""
        self.disarm()
