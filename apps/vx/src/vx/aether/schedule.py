"""In which order the actions of a build begin: each after those that it needs, and not too many at once.

Owns the order.  Running is the caller's; so a build of ten thousand actions holds a few of them at a time.
Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from vx.project.action import Action

# In flight at the same time, of one build: enough that store and compilers never wait for aether, and
# few enough that fifteen builds at once stay below what rhea takes (1,024 calls).
WINDOW: Final = 64


class ActionSchedule:
    """The actions of a build that are still to be done.

    Args:
        actions: those, each after the ones that it needs.
        window: how many may be under way.
    """

    def __init__(self, actions: Iterable[Action], window: int = WINDOW) -> None:
        todo = {one.id: one for one in actions}
        self._window = window
        self._under_way = 0
        self._waits_for: dict[str, int] = {}
        self._then: dict[str, list[Action]] = {}
        self._ready: deque[Action] = deque()
        for one in todo.values():
            needed = {name for name in one.after if name in todo}
            self._waits_for[one.id] = len(needed)
            for name in needed:
                self._then.setdefault(name, []).append(one)
            if not needed:
                self._ready.append(one)

    def begin(self) -> list[Action]:
        """Return those that begin now."""
        found = []
        while self._ready and self._under_way < self._window:
            found.append(self._ready.popleft())
            self._under_way += 1
        return found

    def end(self, action: Action) -> None:
        """Take that one is done."""
        self._under_way -= 1
        for one in self._then.pop(action.id, ()):
            self._waits_for[one.id] -= 1
            if not self._waits_for[one.id]:
                self._ready.append(one)
