"""The latest builds with their actions, those under way too, for the page of aether.

Owns the choice of events that it keeps, and their number.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from vx.aether.interface import BuildEvent

KEPT: Final = 20
# Of each build, the latest actions that have ended well.
KEPT_ACTIONS: Final = 200
_MAX_TEXT_CHARS: Final = 4000


class SeenBuild:
    """One build.

    Args:
        directory: where it was asked for.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._began_s = time.time()
        self._running: dict[str, float] = {}
        self._ended: deque[dict[str, Any]] = deque(maxlen=KEPT_ACTIONS)
        self._failed: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._total = self._done = 0
        self._finished: BuildEvent | None = None
        self._ended_s = 0.0

    def tell(self, event: BuildEvent) -> None:
        """Take an event of the build."""
        if event.kind == "planned":
            self._total = event.total
        elif event.kind == "started":
            self._running[event.title] = time.time()
        elif event.kind == "ended":
            self._running.pop(event.title, None)
            self._done = max(self._done, event.done)
            action = {"title": event.title, "outcome": event.outcome, "duration_ms": event.duration_ms}
            (self._failed if event.outcome == "failed" else self._ended).append(action)
        elif event.kind == "finished":
            self._finished = event
            self._total, self._done = event.total, event.done
            self.over()

    def over(self) -> None:
        """Note its end, also by a caller that has gone."""
        self._running.clear()
        self._ended_s = self._ended_s or time.time()

    def shown(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        last = self._finished
        over = self._ended_s > 0
        state = (
            "building" if not over else "cancelled" if last is None else "done" if last.success else "failed"
        )
        return {
            "directory": self._directory,
            "project": last.title if last is not None else "",
            "state": state,
            "began_at": self._began_s,
            "took_s": (self._ended_s if over else time.time()) - self._began_s,
            "total": self._total,
            "done": self._done,
            "cached": last.cached if last is not None else None,
            "executed": last.executed if last is not None else None,
            "error": last.text[:_MAX_TEXT_CHARS] if last is not None and not last.success else "",
            "running": [{"title": title, "began_at": at} for title, at in self._running.items()],
            "failed": list(self._failed),
            "ended": list(reversed(self._ended)),
        }


class RecentBuilds:
    """The latest builds."""

    def __init__(self) -> None:
        self._builds: deque[SeenBuild] = deque(maxlen=KEPT)

    def begin(
        self, directory: str, tell: Callable[[BuildEvent], None]
    ) -> tuple[SeenBuild, Callable[[BuildEvent], None]]:
        """Note a new build.

        Returns:
            The build, and what its events are given to, which gives them on to `tell`.
        """
        build = SeenBuild(directory)
        self._builds.append(build)

        def both(event: BuildEvent) -> None:
            build.tell(event)
            tell(event)

        return build, both

    def shown(self) -> list[dict[str, Any]]:
        """Return them as JSON has them, the newest first."""
        return [build.shown() for build in reversed(self._builds)]
