"""Reaping: children that have ended, also those that another process started.

Owns collecting ended children where orphans become children: as process 1 of a container, or as a
subreaper.  A child that somebody waits for is left to that one; any other is collected at once, or
it would stay as a zombie for ever.
"""

from __future__ import annotations

import os
from collections.abc import Callable


class Reaper:
    """Collects ended children.  Call `reap` at each SIGCHLD.

    Attributes:
        strangers: how many were collected that nobody had asked for.
    """

    def __init__(self) -> None:
        self.strangers: int = 0
        self._collectors: dict[int, Callable[[], object]] = {}
        self._pauses: dict[int, Callable[[bool], object]] = {}

    def watch(
        self, pid: int, collect: Callable[[], object], pause: Callable[[bool], object] | None = None
    ) -> None:
        """Have `collect` called when child `pid` has ended; it must reap that child.

        Where the system does not name the process that ended, it is called for any end: it must look.
        `pause` is called with True when a signal has stopped the child, and with False when it goes on.
        """
        self._collectors[pid] = collect
        if pause is not None:
            self._pauses[pid] = pause

    def knows(self, pid: int) -> bool:
        """Whether somebody watches child `pid`."""
        return pid in self._collectors

    def reap(self) -> None:
        """Collect all that have ended, and say of whom that a signal has stopped them."""
        self._collect_ended()
        while self._pauses and (found := _next_paused()) is not None:
            pid, is_stopped = found
            if (pause := self._pauses.get(pid)) is not None:
                pause(is_stopped)

    def _collect_ended(self) -> None:
        if not hasattr(os, "waitid"):  # macOS before Python 3.13, where orphans are launchd's
            for look in list(self._collectors.values()):
                look()
            return
        while (pid := _next_ended()) is not None:
            collect = self._collectors.pop(pid, None)
            self._pauses.pop(pid, None)
            if collect is not None:
                collect()
            # Also where `collect` has not done it: the same zombie would be found for ever.
            if _collect(pid) and collect is None:
                self.strangers += 1


def _next_ended() -> int | None:
    """Return a child that has ended, and leave it there; None when there is none."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found is not None else None


def _next_paused() -> tuple[int, bool] | None:
    """Return a child that was stopped or continued since the last call, and whether it is stopped."""
    if not hasattr(os, "waitid"):
        return None
    try:
        found = os.waitid(os.P_ALL, 0, os.WSTOPPED | os.WCONTINUED | os.WNOHANG)
    except ChildProcessError:
        return None
    return (found.si_pid, found.si_code != os.CLD_CONTINUED) if found is not None else None


def _collect(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False
