"""One call that is under way: the events that wait for its caller, and its silence.

Owns the bound on events, and when a call's silence begins.  The callers are `server`'s.
"""

from __future__ import annotations

import asyncio
import collections
from typing import Final

from mcp_cli.protocol.interfaces import Event

# How many events may wait for a client that does not read them; the oldest that can be spared go.
MAX_EVENTS: Final = 1000


class PendingCall:
    """One call that is under way: where events are collected.

    Args:
        label: the tool, or what else was asked for.
        answers: the methods of the questions that its caller answers.
        logs: whether it gets log notifications and stderr.
        idle_s: how long the server may be silent.

    Attributes:
        questions: the ids of those that are open.
        over: set when nobody waits for its outcome any more.
        task: the id of the task that it is the call of; "" for none.
    """

    def __init__(
        self, label: str, idle_s: float, answers: tuple[str, ...] = (), *, logs: bool = False
    ) -> None:
        self.label = label
        self.idle_s = idle_s
        self.answers = answers
        self.logs = logs
        self.budget: asyncio.Timeout | None = None
        self.questions: set[str] = set()
        self.task = ""
        self.over = asyncio.Event()
        self._paused = 0
        self._events: collections.deque[Event] = collections.deque()
        self._told = asyncio.Event()

    def tell(self, event: Event) -> None:
        """Tell the caller."""
        if len(self._events) >= MAX_EVENTS:
            self._events.popleft()
        self._events.append(event)
        self._told.set()

    def note(self, text: str) -> None:
        """Notify the caller of an action on its behalf."""
        self.tell(Event(kind="note", text=text))

    async def told(self) -> Event:
        """Return the next event."""
        while not self._events:
            self._told.clear()
            await self._told.wait()
        return self._events.popleft()

    def untold(self) -> list[Event]:
        """Return the events that have come and were not taken."""
        events = list(self._events)
        self._events.clear()
        return events

    def renew(self) -> None:
        """Begin the silence again; while a question is open, nobody counts."""
        if self.budget is not None:
            when = asyncio.get_running_loop().time() + self.idle_s
            self.budget.reschedule(None if self.questions or self._paused else when)

    def pause(self) -> None:
        """Have nobody count the silence, until `unpause`: the server waits for us."""
        self._paused += 1
        self.renew()

    def unpause(self) -> None:
        """Count again."""
        self._paused -= 1
        self.renew()
