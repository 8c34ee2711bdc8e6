"""When to look at a thing: when somebody calls for it, but not more often than by the clock.

Owns the decision.  The looks themselves are the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from daemonry import clock


class DueLook:
    """One thing to look at.

    Args:
        act: looks, and returns whether to do so again after the time between two looks.
        least_s: the shortest time between two looks, in seconds.

    Attributes:
        by_clock: whether nothing calls for the look, so that the clock has to.
        due_at_s: when it is due, on the monotonic clock; None for not before it is called for.
    """

    def __init__(self, act: Callable[[], bool], least_s: float) -> None:
        self._act = act
        self._least_s = least_s
        self._last_s: float = -math.inf
        self.by_clock: bool = False
        self.due_at_s: float | None = None

    def call_for(self, in_s: float = 0.0) -> None:
        """Have it done now or in a while, but not before the last one is long enough ago."""
        at_s = max(clock.monotonic() + in_s, self._last_s + self._least_s)
        self.due_at_s = earliest(self.due_at_s, at_s)

    def run_if_due(self, now_s: float) -> None:
        """Look, if that is due."""
        if self.due_at_s is None or now_s < self.due_at_s:
            return
        self._last_s, self.due_at_s = now_s, now_s + self._least_s  # also if it fails
        if not self._act() and not self.by_clock:
            self.due_at_s = None


def earliest(*moments_s: float | None) -> float | None:
    """Return the earliest of some moments; None where there is none."""
    return min((one for one in moments_s if one is not None), default=None)
