"""The socket of an asyncio client's connection, and what the loop watches of it.

Owns that, and lending it to a pipeline, which reads and sends by itself.  Calls on it are `async_line`'s.
"""

from __future__ import annotations

import asyncio
from _socket import socket as Socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from daemonry.service.client.engine import Line

if TYPE_CHECKING:
    from daemonry.transport.endpoint import Endpoint


class WatchedLine(Line):
    """A connection on a loop.

    Attributes:
        loop: the loop it belongs to; None until a call says so.
        sock: the socket, or a closed one.
    """

    __slots__ = ("_is_reading", "_is_sending", "_lent", "_whom", "loop", "sock")

    _whom: str | Endpoint
    _is_reading: bool
    _is_sending: bool
    _lent: Callable[[], None] | None
    loop: asyncio.AbstractEventLoop | None
    sock: Socket

    @property
    def peer(self) -> str:
        """The other end, for people."""
        return str(self._whom)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self.sock.fileno() >= 0

    def lend(self, readable: Callable[[], None], disconnected: Callable[[], None]) -> None:
        """Have another read the connection, whose turn it is: `readable` is called where bytes came.

        `disconnected` is called once when this side ends the connection.
        """
        assert self.loop is not None
        self.loop.add_reader(self.sock.fileno(), readable)
        self._is_reading = True
        self._lent = disconnected

    def watch_room(self, writable: Callable[[], None] | None) -> None:
        """Call `writable` where there is room to send; None for not any more."""
        if self.loop is None or not self.is_open:
            return
        if writable is not None:
            self.loop.add_writer(self.sock.fileno(), writable)
        elif self._is_sending:
            self.loop.remove_writer(self.sock.fileno())
        self._is_sending = writable is not None

    def stop_reading(self) -> None:
        """Call nobody any more where bytes came, or the end."""
        if self._is_reading and self.loop is not None:
            self.loop.remove_reader(self.sock.fileno())
            self._is_reading = False

    def _stop_watching(self) -> None:
        self.stop_reading()
        if self._is_sending and self.loop is not None:
            self.loop.remove_writer(self.sock.fileno())
            self._is_sending = False
