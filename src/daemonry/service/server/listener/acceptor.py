"""The accept loop: takes connections from a listener and never spins.

Owns readiness of the listening descriptor and the back-off when the system cannot give another
one (EMFILE, ENFILE, ENOMEM).  Such an error leaves the descriptor readable, so a loop that just
tried again would take a whole CPU, and one that logged each try would fill the disk.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import weakref
from _socket import socket as Socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from daemonry.backoff import delays
from daemonry.limits import ACCEPT_BACKOFF_MAX_S, ACCEPT_BACKOFF_S
from daemonry.transport.stream import ACCEPTING

if TYPE_CHECKING:
    from daemonry.transport.stream import Listener

logger: logging.Logger = logging.getLogger("daemonry.server")


def accept_waiting(listener: Listener, accepted: Callable[[Socket], None]) -> int:
    """Accept the connections that wait at a listener now, and return how many there were."""
    count = 0
    while True:
        try:
            sock = listener.accept_socket()
        except OSError:
            return count
        if sock is None:
            return count
        accepted(sock)
        count += 1


class Acceptor:
    """Hands each accepted socket to `accepted`.

    Args:
        loop: the loop that watches the listener.
        listener: where connections come from; it stays the caller's to close.
        accepted: takes the socket, and owns it from then on.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, listener: Listener, accepted: Callable[[Socket], None]
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._accepted = accepted
        self._retry: asyncio.TimerHandle | None = None
        self._noted: tuple[weakref.ref[Listener], int, int] | None = None
        self._delays = delays(ACCEPT_BACKOFF_S, ACCEPT_BACKOFF_MAX_S)
        self._failing = False
        self._watch()

    def replace(self, listener: Listener) -> None:
        """Accept from `listener` from now on; connections that wait at the old one are taken in first."""
        self._unwatch()
        while self._accept_one():
            pass
        self._unwatch()
        self._listener = listener
        self._watch()

    def close(self) -> None:
        """Accept nothing more.  Twice is not an error."""
        self._unwatch()

    def _watch(self) -> None:
        self._retry = None
        self._noted = (weakref.ref(self._listener), os.getpid(), threading.get_ident())
        ACCEPTING.append(self._noted)
        self._loop.add_reader(self._listener.fileno(), self._accept_one)

    def _unwatch(self) -> None:
        if self._noted in ACCEPTING:
            ACCEPTING.remove(self._noted)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener.fileno())

    def _accept_one(self) -> bool:
        # The loop comes back while more wait.  To try again here, and mostly in vain, would take
        # longer than its turn does, and a flood would keep it from those who are in.
        try:
            sock = self._listener.accept_socket()
        except OSError as error:
            self._back_off(error)
            return False
        if sock is None:
            return False
        self._recovered()
        self._accepted(sock)
        return True

    def _back_off(self, error: OSError) -> None:
        if not self._failing:
            logger.error("cannot accept connections: %s; trying again", error.strerror or error)
            self._failing = True
        self._unwatch()
        self._retry = self._loop.call_later(next(self._delays), self._watch)

    def _recovered(self) -> None:
        if self._failing:
            logger.info("accepting connections again")
            self._failing = False
            self._delays = delays(ACCEPT_BACKOFF_S, ACCEPT_BACKOFF_MAX_S)
