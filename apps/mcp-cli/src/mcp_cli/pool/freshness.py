"""How long what a server listed, or how it failed to start, is believed.

Owns the decisions and no clock.
"""

from __future__ import annotations

import math
from typing import Final

# A start that failed only after so long is not tried again at once: each command would wait as long.
SLOW_START_S: Final = 2.0
REMEMBERED_S: Final = 10.0
# The most that a server may ask for: lists are short, and a mistake in a number is not for ever.
MAX_TTL_S: Final = 3600.0


def good_until(now_s: float, ttl_ms: float | None, *, told: bool) -> float:
    """Return until when a list is shown as it was read.

    A call does not ask: its arguments are checked against the known list, and the list is read again before
    any refusal.

    Args:
        now_s: when it was read.
        ttl_ms: what the server says of it; None for nothing.
        told: whether the server tells of changes, so that the list is dropped when it does.
    """
    if told:
        return math.inf
    return now_s + min(max(ttl_ms or 0.0, 0.0) / 1000, MAX_TTL_S)


class Failure:
    """The last start that failed, kept for a moment where it took long."""

    def __init__(self) -> None:
        self._error: Exception | None = None
        self._at_s = 0.0

    def keep(self, error: Exception, took_s: float, now_s: float) -> None:
        """Keep an error, if it took long to come about."""
        self._error = error if took_s >= SLOW_START_S else None
        self._at_s = now_s

    def forget(self) -> None:
        """Have the next start be tried."""
        self._error = None

    def still(self, now_s: float) -> tuple[Exception, float] | None:
        """Return the error, and how many seconds ago it was; None where a start is tried."""
        if self._error is None or now_s - self._at_s >= REMEMBERED_S:
            return None
        return self._error, now_s - self._at_s
