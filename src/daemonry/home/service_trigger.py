"""The trigger of one service, or none: armed, fired, and given back.

Owns whether the next start waits for the trigger.  Waiting itself is `triggers`'s.
"""

from __future__ import annotations

from collections.abc import Callable

from daemonry.home.service import Service
from daemonry.home.trigger.held_socket import HeldSocket
from daemonry.home.trigger.schedule import ScheduleInvalid
from daemonry.home.trigger.triggers import ByClock, OnDemand, Trigger


class ServiceTrigger:
    """The trigger of a service.

    Args:
        service: the service.
        fire: called when the service is due; `is_due` is True then.

    Attributes:
        is_due: whether the next start does not wait for the trigger.
    """

    def __init__(self, service: Service, fire: Callable[[], None]) -> None:
        self.is_due: bool = False
        self._trigger = _trigger_of(service)
        self._fire = fire

    def __bool__(self) -> bool:
        return self._trigger is not None

    @property
    def must_wait(self) -> bool:
        """Whether a start has to wait for it."""
        return self._trigger is not None and not self.is_due

    @property
    def is_by_clock(self) -> bool:
        """Whether it fires at moments of a schedule."""
        return isinstance(self._trigger, ByClock)

    @property
    def holds_socket(self) -> bool:
        """Whether the service's socket is the trigger's, from one run to the next."""
        return isinstance(self._trigger, OnDemand)

    @property
    def socket(self) -> HeldSocket | None:
        """The socket that it holds now."""
        return self._trigger.held if isinstance(self._trigger, OnDemand) else None

    def connections(self) -> int:
        """Return how many connections are open at its socket, or wait there."""
        return 0 if self.socket is None else self.socket.connections()

    def redefine(self, old: Service, new: Service) -> None:
        """Replace it where the service's definition has another one."""
        if (old.listens_at, old.schedule) != (new.listens_at, new.schedule):
            self.close()
            self._trigger = _trigger_of(new)

    def arm(self) -> tuple[str, bool]:
        """Wait for it; return a sentence about what it waits for, and whether it could be armed."""
        assert self._trigger is not None
        self.is_due = False
        try:
            return self._trigger.arm(self._fire), True
        except (OSError, ScheduleInvalid) as error:
            return f"cannot be waited for: {error}", False

    def disarm(self) -> None:
        """Wait no more; it can be armed again.  Twice is not an error."""
        if self._trigger is not None:
            self._trigger.disarm()

    def close(self) -> None:
        """Wait no more, and give its socket back.  Twice is not an error."""
        if self._trigger is not None:
            self._trigger.close()


def _trigger_of(service: Service) -> Trigger | None:
    if service.listens_at:
        return OnDemand(service.listens_at)
    return ByClock(service.schedule) if service.schedule is not None else None
