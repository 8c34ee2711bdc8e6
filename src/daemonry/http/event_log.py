"""The latest events, with numbers, of which the last so many are kept.

Owns the numbers, the bound, and the events that a returning client has missed.  All clients read from this
one ring, each with its own place in it, so that a thousand slow ones cost no more than one.  Pure.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

# A number has this in front, which is another one in each process: `RUN-17`.
_SEPARATOR: Final = "-"


class LoggedEvent(NamedTuple):
    """Something that happened.

    Attributes:
        number: 1 for the first.
        topic: "state", "call" or "service".
        data: its JSON.
    """

    number: int
    topic: str
    data: str


class EventLog:
    """The last events.

    Args:
        run: tells this process from others.
        kept: how many are kept.

    Attributes:
        last: the number of the last event; 0 before the first.
    """

    def __init__(self, run: str, kept: int) -> None:
        self.last: int = 0
        self._run = run
        self._events: deque[LoggedEvent] = deque(maxlen=kept)

    def add(self, topic: str, data: str) -> LoggedEvent:
        """Note an event; the oldest goes."""
        self.last += 1
        event = LoggedEvent(self.last, topic, data)
        self._events.append(event)
        return event

    def since(self, place: int) -> tuple[int, list[LoggedEvent]]:
        """Return how many events behind `place` are gone, and those that are there."""
        first = self._events[0].number if self._events else self.last + 1
        missed = max(0, first - 1 - place)
        skip = max(0, place + 1 - first)
        if skip >= len(self._events):
            return missed, []
        return missed, [self._events[at] for at in range(skip, len(self._events))]

    def id_of(self, number: int) -> str:
        """Return what a client sends back as `Last-Event-ID`."""
        return f"{self._run}{_SEPARATOR}{number}"

    def place_of(self, last_event_id: str) -> int | None:
        """Return the number in a `Last-Event-ID`; None for one of another process, or none of ours."""
        run, _, digits = last_event_id.rpartition(_SEPARATOR)
        if run != self._run or not digits.isascii() or not digits.isdigit() or len(digits) > 18:
            return None
        number = int(digits)
        return number if number <= self.last else None
