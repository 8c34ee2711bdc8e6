"""Connections whose client has sent nothing yet, and their deadline for the first byte.

Owns the connections and their deadlines.  All have the same length of time, so the first to come is the first
to be late, and one timer does for all.

The time is the client's, and not the loop's: a loop that was stuck, and heard no client, starts it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from daemonry.service.server.lateness import is_late

if TYPE_CHECKING:
    from daemonry.service.server.fast_connection import FastConnection

# uvloop's timers come up to a millisecond early.
_RESOLUTION_S = 0.001


class FirstByteWait:
    """Waits for first bytes.

    Args:
        loop: the loop.
        timeout_s: how long each may take.
        silent: called with each connection that missed its deadline; it is not here any more.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, timeout_s: float, silent: Callable[[FastConnection], None]
    ) -> None:
        self._loop = loop
        self._timeout_s = timeout_s
        self._silent = silent
        self._waiting: dict[FastConnection, None] = {}  # in the order in which they came
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[FastConnection]:
        return iter(self._waiting)

    def enter(self, connection: FastConnection) -> None:
        """Take in a new connection."""
        connection.until_s = self._loop.time() + self._timeout_s
        self._waiting[connection] = None
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._look)

    def leave(self, connection: FastConnection) -> None:
        """Forget a connection that has sent something, or was closed."""
        self._waiting.pop(connection, None)

    def close(self) -> None:
        """Forget all connections."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.clear()

    def _look(self) -> None:
        if self._timer is not None and is_late(self._loop, self._timer):
            self._begin_again()
        self._timer = None
        while self._waiting:
            connection = next(iter(self._waiting))
            left_s = connection.until_s - self._loop.time()
            if left_s > _RESOLUTION_S:
                self._timer = self._loop.call_later(left_s, self._look)
                return
            del self._waiting[connection]
            self._silent(connection)

    def _begin_again(self) -> None:
        until_s = self._loop.time() + self._timeout_s
        for connection in self._waiting:
            connection.until_s = until_s
