"""Connections whose client has said nothing yet, and their deadline for the first byte.

Owns who waits here and until when.  All have the same time, so that the first to come is the first
whose time is over, and one timer does for all.
"""

from __future__ import annotations

import asyncio
from _socket import SHUT_RD
from _socket import socket as Socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from daemonry.transport.credentials import Peer

if TYPE_CHECKING:
    from daemonry.service.readers import Readers

# uvloop's timers come up to a millisecond early.
_RESOLUTION_S = 0.001


class Guest(NamedTuple):
    """One who has said nothing yet.

    Attributes:
        sock: the connection; the lobby's, until it is given on.
        peer: who is at its other end.
        until_s: when the first byte, or the line, has to be there, by the loop's clock.
    """

    sock: Socket
    peer: Peer
    until_s: float

    @property
    def activity(self) -> int:
        """As a connection's: nothing has come from it."""
        return 0

    def retire(self) -> None:
        """Take nothing further from it: what has come is heard, and the client's next words fail there."""
        try:
            self.sock.shutdown(SHUT_RD)
        except OSError:
            pass  # the client was quicker


class Lobby:
    """Waits for first bytes.

    Args:
        loop: the loop.
        readers: what watches descriptors.
        timeout_s: how long each may take.
        speaks: is given a guest with something to read, who has left the lobby; the reader is still
            there, for whoever replaces or removes it.
        silent: is given a guest who took too long, as before.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        readers: Readers | asyncio.AbstractEventLoop,
        timeout_s: float,
        speaks: Callable[[Guest], None],
        silent: Callable[[Guest], None],
    ) -> None:
        self._loop = loop
        self._readers = readers
        self._timeout_s = timeout_s
        self._speaks = speaks
        self._silent = silent
        self._guests: dict[int, Guest] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._guests)

    def __iter__(self) -> Iterator[Guest]:
        return iter(self._guests.values())

    def enter(self, sock: Socket, peer: Peer) -> None:
        """Take in a new connection."""
        fd = sock.fileno()
        self._guests[fd] = Guest(sock, peer, self._loop.time() + self._timeout_s)
        self._readers.add_reader(fd, partial(self._readable, fd))
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._look)

    def close(self) -> None:
        """End the connection of each."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for fd, guest in self._guests.items():
            self._readers.remove_reader(fd)
            guest.sock.close()
        self._guests.clear()

    def drop_in_child(self) -> None:
        """Close a forked child's copies."""
        for guest in self._guests.values():
            guest.sock.close()

    def _readable(self, fd: int) -> None:
        self._speaks(self._guests.pop(fd))

    def _look(self) -> None:
        self._timer = None
        while self._guests:
            fd, guest = next(iter(self._guests.items()))
            left_s = guest.until_s - self._loop.time()
            if left_s > _RESOLUTION_S:
                self._timer = self._loop.call_later(left_s, self._look)
                return
            del self._guests[fd]
            self._silent(guest)
