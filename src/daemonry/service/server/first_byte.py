"""Connections whose client has said nothing yet, and their deadline for the first byte.

Owns who waits here and until when.  All have the same time, so that the first to come is the first
whose time is over, and one timer does for all.

The time is the client's, and not the loop's: one that was stuck, and so heard nobody, gives it anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from daemonry.service.server.lateness import is_late

if TYPE_CHECKING:
    from daemonry.service.server.fast_connection import Guest

# uvloop's timers come up to a millisecond early.
_RESOLUTION_S = 0.001


class Lobby:
    """Waits for first bytes.

    Args:
        loop: the loop.
        timeout_s: how long each may take.
        silent: is given a guest who took too long, and is not here any more.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, timeout_s: float, silent: Callable[[Guest], None]
    ) -> None:
        self._loop = loop
        self._timeout_s = timeout_s
        self._silent = silent
        self._guests: dict[Guest, None] = {}  # in the order in which they came
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._guests)

    def __iter__(self) -> Iterator[Guest]:
        return iter(self._guests)

    def enter(self, guest: Guest) -> None:
        """Take in a new connection."""
        guest.until_s = self._loop.time() + self._timeout_s
        self._guests[guest] = None
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._look)

    def leave(self, guest: Guest) -> None:
        """Let one go who has spoken, or is not here any more."""
        self._guests.pop(guest, None)

    def close(self) -> None:
        """Wait for nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._guests.clear()

    def _look(self) -> None:
        if self._timer is not None and is_late(self._loop, self._timer):
            self._begin_anew()
        self._timer = None
        while self._guests:
            guest = next(iter(self._guests))
            left_s = guest.until_s - self._loop.time()
            if left_s > _RESOLUTION_S:
                self._timer = self._loop.call_later(left_s, self._look)
                return
            del self._guests[guest]
            self._silent(guest)

    def _begin_anew(self) -> None:
        until_s = self._loop.time() + self._timeout_s
        for guest in self._guests:
            guest.until_s = until_s
