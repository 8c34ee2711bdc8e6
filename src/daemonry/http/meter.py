"""Counts of calls: how many of each method, how they ended, how long they took; and the last two minutes.

Owns the counts, and their bound: names of methods come from callers, so that those that nobody serves
count as one.  It listens to the tap from the first time that somebody asks.  Pure, but for the clock.
"""

from __future__ import annotations

import bisect
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from daemonry.service.server.dispatch import DRAINING, OVERLOADED
from daemonry.service.server.failures import BAD_REPLY, FAILED
from daemonry.wire import varlink

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemonry.service.server.tap import TapEvent

# Prometheus's own, from a tenth of a millisecond on: a call over a Unix socket takes 50 microseconds.
BOUNDS_S: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)
# Stands for every method that is not served.
UNKNOWN: Final = "unknown"
# What a chart of the last two minutes needs.
KEPT_S: Final = 120

_OUTCOMES: Final = {
    None: "ok",
    FAILED: "failed",
    BAD_REPLY: "failed",
    "org.daemonry.Control.Paused": "refused",
    DRAINING: "refused",
    OVERLOADED: "refused",
    varlink.INVALID_PARAMETER: "invalid",
    varlink.METHOD_NOT_FOUND: "invalid",
    varlink.INTERFACE_NOT_FOUND: "invalid",
    varlink.EXPECTED_MORE: "invalid",
}


def outcome_of(event: str, error: str | None) -> str:
    """Return how a call ended in one of six words: ok, error, failed, refused, invalid, cancelled."""
    return "cancelled" if event == "cancelled" else _OUTCOMES.get(error, "error")


class Durations:
    """How long calls took.

    Attributes:
        counts: how many took at most each of `BOUNDS_S`, and not the one before; the last took longer.
        total_s: all of them together.
    """

    def __init__(self) -> None:
        self.counts: list[int] = [0] * (len(BOUNDS_S) + 1)
        self.total_s: float = 0.0

    def add(self, seconds: float) -> None:
        """Note one."""
        self.counts[bisect.bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    def share(self, part: float) -> float | None:
        """Return what so large a part of the calls took at most, in seconds; None without a call."""
        wanted = part * sum(self.counts)
        if not wanted:
            return None
        seen = 0
        for bound, count in zip((*BOUNDS_S, 2 * BOUNDS_S[-1]), self.counts, strict=True):
            seen += count
            if seen >= wanted:
                return bound
        return None


class Second:
    """One second of the last two minutes."""

    __slots__ = ("at", "calls", "durations", "failed")

    def __init__(self, at: int) -> None:
        self.at: int = at
        self.calls: int = 0
        self.failed: int = 0
        self.durations: Durations = Durations()

    def fields(self) -> dict[str, Any]:
        """Return what a chart draws; durations in seconds."""
        return {
            "at": self.at,
            "calls": self.calls,
            "failed": self.failed,
            "half_s": self.durations.share(0.5),
            "most_s": self.durations.share(0.95),
        }


class Meter:
    """Counts calls; one of the tap's watchers.

    Args:
        is_served: whether a full name is a method that is served.
        now: the time of day in seconds since 1970.
    """

    payloads = False

    def __init__(self, is_served: Callable[[str], bool], now: Callable[[], float] = time.time) -> None:
        self._is_served = is_served
        self._now = now
        self.since: float = now()
        self.ended: dict[tuple[str, str], int] = {}
        self.durations: dict[str, Durations] = {}
        self._seconds: deque[Second] = deque(maxlen=KEPT_S)

    def tell(self, event: TapEvent) -> None:
        """Take an event of the tap."""
        if event.event not in ("end", "cancelled"):
            return
        method = event.method if self._is_served(event.method) else UNKNOWN
        outcome = outcome_of(event.event, event.error)
        seconds = event.seconds or 0.0
        self.ended[method, outcome] = self.ended.get((method, outcome), 0) + 1
        if method not in self.durations:
            self.durations[method] = Durations()
        self.durations[method].add(seconds)
        self._note(outcome, seconds)

    def _note(self, outcome: str, seconds: float) -> None:
        at = int(self._now())
        if not self._seconds or self._seconds[-1].at != at:
            self._seconds.append(Second(at))
        second = self._seconds[-1]
        second.calls += 1
        second.failed += outcome == "failed"
        second.durations.add(seconds)

    def recent(self) -> list[dict[str, Any]]:
        """Return the seconds of the last two minutes that had calls, the oldest first."""
        oldest = int(self._now()) - KEPT_S
        return [second.fields() for second in self._seconds if second.at > oldest]
