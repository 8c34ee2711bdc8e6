"""The monotonic clock, and deadlines on it.

Owns the one place where time is read for waiting; wall-clock time is for people and is read
where it is shown.  Tests replace `monotonic`.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# The time of day as this process began, about: its first module of ours reads it.
BEGAN_S = time.time()
monotonic: Callable[[], float] = time.monotonic
sleep: Callable[[float], None] = time.sleep


class Deadline:
    """A moment on the monotonic clock, made from a timeout.

    Attributes:
        timeout_s: the length of time that it was made from, in seconds; None means never.
        at_s: the moment, in seconds of the monotonic clock; None means never.
    """

    __slots__ = ("at_s", "timeout_s")

    def __init__(self, timeout_s: float | None) -> None:
        self.timeout_s: float | None = timeout_s
        self.at_s: float | None = None if timeout_s is None else monotonic() + timeout_s

    def remaining_s(self) -> float | None:
        """The rest of the time, in seconds, never below 0; None when there is no end."""
        return None if self.at_s is None else max(0.0, self.at_s - monotonic())

    @property
    def expired(self) -> bool:
        """Whether the moment has come."""
        return self.at_s is not None and monotonic() >= self.at_s

    def sleep(self, delay_s: float) -> bool:
        """Sleep `delay_s`, but not beyond the deadline; say whether there is time left."""
        left_s = self.remaining_s()
        if left_s is None:
            sleep(delay_s)
            return True
        sleep(min(delay_s, left_s))
        return not self.expired
