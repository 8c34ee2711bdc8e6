"""The replies of one connection that wait to be sent, with the descriptors that go with them.

Owns writing to the socket, now and when there is room again; how long a client may read nothing; and
the tasks that wait until all is sent.  The meaning of an end of the connection is its owner's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from daemonry.service.server.lateness import is_late
from daemonry.transport import ancillary
from daemonry.transport.ancillary import Fd, close_all
from daemonry.wire.framer import LONG_BYTES, keep_pages

if TYPE_CHECKING:
    from _socket import socket as Socket


# From here on a copy of a reply takes longer than what else is done for it.
_LONG_BYTES: Final = 16 << 10


class OutboxOwner(Protocol):
    """The connection whose replies these are."""

    def all_sent(self) -> None:
        """Nothing waits any more."""

    def went_on(self) -> None:
        """The client took something, after it had been waited for."""

    def lost(self) -> None:
        """Nobody is there any more."""

    def stalled(self) -> None:
        """The client took nothing for too long."""


class Outbox:
    """What waits to be sent.

    Args:
        loop: the loop that serves the connection.
        sock: its socket, which does not block.
        stall_s: how long the client may take nothing, in seconds.
        owner: the connection.
    """

    __slots__ = ("_data", "_drained", "_fds", "_front", "_loop", "_owner", "_sock", "_stall", "_stall_s")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: Socket, stall_s: float, owner: OutboxOwner
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._stall_s = stall_s
        self._owner = owner
        self._front: memoryview | None = None  # the rest of a long reply, sent before `_data`
        self._data = bytearray()
        self._fds: tuple[tuple[int, list[Fd]], ...] = ()  # by where in `_data` they belong
        self._drained: asyncio.Future[None] | None = None
        self._stall: asyncio.TimerHandle | None = None  # there while the loop watches for room

    def __len__(self) -> int:
        return len(self._data) if self._front is None else len(self._front) + len(self._data)

    @property
    def waits(self) -> bool:
        """Whether the client has to read before more is sent."""
        return self._stall is not None

    def add(self, data: bytes, fds: list[Fd] | None = None) -> None:
        """Have bytes sent behind all others by the next `write`; descriptors are closed once sent."""
        if fds:
            if self._front is not None:
                self._data[:0], self._front = self._front, None
            self._fds = (*self._fds, (len(self._data), fds))
        self._append(data)

    def _append(self, data: bytes, start: int = 0) -> None:
        """Have bytes sent last, from `start` on; a long reply that is alone is not copied."""
        if len(data) - start >= _LONG_BYTES and not self._data and self._front is None:
            self._front = memoryview(data)[start:]
            if len(data) >= LONG_BYTES:
                keep_pages()
        else:
            self._data += memoryview(data)[start:] if start else data

    def send_at_once(self, data: bytes) -> bool:
        """Send bytes, before which nothing waits; say whether all were taken."""
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._owner.lost()
            return True
        if sent == len(data):
            return True
        self._append(data, sent)
        self._write_later(progressed=False)
        return False

    def write(self) -> None:
        """Send what the socket takes, and the rest when there is room."""
        front = self._front
        if (not self._data and front is None) or self._sock.fileno() < 0:
            return
        try:
            if front is not None:
                sent = self._sock.send(front)
            else:
                sent = self._sock.send(self._data) if not self._fds else self._write_with_fds()
        except BlockingIOError:
            sent = 0
        except OSError:
            self._owner.lost()
            return
        if front is None:
            del self._data[:sent]
        else:
            self._front = front[sent:] if sent < len(front) else None
        if self._data or self._front is not None:
            self._write_later(progressed=bool(sent))
        else:
            self._all_sent()

    def clear(self) -> None:
        """Send nothing of it: nobody would read it."""
        self._data.clear()
        self._front = None
        self._drop_fds()
        self._rest()

    def close(self) -> None:
        """Send nothing, ever; those who wait go on."""
        self._drop_fds()
        self._rest()

    async def until_sent(self) -> None:
        """Wait until nothing waits any more, or nothing of it will be sent."""
        if self._drained is None:
            self._drained = self._loop.create_future()
        # Two may wait: a stream, and whoever ends it.
        await asyncio.shield(self._drained)

    def _write_with_fds(self) -> int:
        at, fds = self._fds[0]
        if at:
            sent = self._sock.send(bytes(self._data[:at]))
        else:
            end = self._fds[1][0] if len(self._fds) > 1 else len(self._data)
            sent = ancillary.send(self._sock, bytes(self._data[:end]), fds)
            close_all(fds)
            self._fds = self._fds[1:]
        self._fds = tuple((place - sent, held) for place, held in self._fds)
        return sent

    def _write_later(self, *, progressed: bool) -> None:
        if self._stall is None:
            self._loop.add_writer(self._sock.fileno(), self._writable)
        elif progressed:
            self._stall.cancel()
        if self._stall is None or progressed:
            self._stall = self._loop.call_later(self._stall_s, self._stalled)

    def _writable(self) -> None:
        self.write()
        if self._stall is None and self._sock.fileno() >= 0:
            self._owner.went_on()

    def _stalled(self) -> None:
        if self._stall is not None and is_late(self._loop, self._stall):
            self._stall = self._loop.call_later(self._stall_s, self._stalled)
            return
        self._owner.stalled()

    def _all_sent(self) -> None:
        self._rest()
        self._owner.all_sent()

    def _rest(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
            self._loop.remove_writer(self._sock.fileno())
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def _drop_fds(self) -> None:
        for _, fds in self._fds:
            close_all(fds)
        self._fds = ()
