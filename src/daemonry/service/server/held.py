"""Connections that were accepted beside a stuck loop, and that wait for it unread.

Owns the connections that wait, and since when.  Two threads come here: the standby's adds connections and
takes out those that it answers itself, the loop's takes out the others once it is back.  A thread that takes
one out has it alone, so that no connection is ever served by both.
"""

from __future__ import annotations

import asyncio
import threading
from _socket import MSG_DONTWAIT, MSG_PEEK
from _socket import socket as Socket
from collections.abc import Callable, Iterator

from daemonry.clock import Deadline
from daemonry.limits import READ_BYTES
from daemonry.process.forks import not_for_children

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry.transport.proof import Served


class HeldConnection:
    """A connection that waits.

    Args:
        sock: the connection; it does not block.
        first_byte: until when its client should have said something.
        exchange: its proof that it knows the token; None where nobody has to prove anything.

    Attributes:
        exchange: as given.
        first_byte: as given.
        is_silent: whether its client had said nothing when it was last looked at.
        sock: as given.
    """

    __slots__ = ("exchange", "first_byte", "is_silent", "sock")

    def __init__(self, sock: Socket, first_byte: Deadline, exchange: Served | None = None) -> None:
        self.sock: Socket = sock
        self.first_byte: Deadline = first_byte
        self.is_silent: bool = True
        self.exchange: Served | None = exchange

    @property
    def owes_proof(self) -> bool:
        """Whether its client has yet to prove that it knows the token."""
        return self.exchange is not None and not self.exchange.done

    def peek(self) -> bytes | None:
        """Return the bytes that have come, and leave them there: b"" for the end, None for nothing yet."""
        return peek(self.sock)


class Held:
    """Those that wait, in the order in which they came; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[HeldConnection, None] = {}
        not_for_children(self)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[HeldConnection]:
        with self._lock:
            return iter(list(self._waiting))

    def add(self, connection: HeldConnection) -> None:
        """Have a connection wait."""
        with self._lock:
            self._waiting[connection] = None

    def take(self, connection: HeldConnection) -> bool:
        """Take one out; False if somebody else has done so."""
        with self._lock:
            return self._waiting.pop(connection, self) is None

    def take_oldest(self) -> HeldConnection | None:
        """Take out the one that has waited longest; None if none waits."""
        with self._lock:
            oldest = next(iter(self._waiting), None)
            if oldest is not None:
                del self._waiting[oldest]
            return oldest

    def hand_over(self, take_in: Callable[[HeldConnection], None]) -> int:
        """Call `take_in` with each, the oldest first; return how many there were."""
        count = 0
        while (connection := self.take_oldest()) is not None:
            take_in(connection)
            count += 1
        return count

    def hand_over_in_turns(self, take_in: Callable[[HeldConnection], None]) -> None:
        """Do so one by one, each in a turn of the running loop, from now on.

        A call may block the loop again; the connections that are left then are held as before.
        """
        connection = self.take_oldest()
        try:
            if connection is not None:
                take_in(connection)
        finally:
            if self._waiting:
                asyncio.get_running_loop().call_soon(self.hand_over_in_turns, take_in)

    def drop_in_child(self) -> None:
        """Close a forked child's copies; the lock may be held by a thread that the child has not."""
        self._lock = threading.Lock()
        for connection in self._waiting:
            connection.sock.close()
        self._waiting.clear()


def peek(sock: Socket) -> bytes | None:
    """Return what a socket has for us, and leave it there: b"" for its end, None for nothing yet."""
    try:
        return sock.recv(READ_BYTES, MSG_PEEK | MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""
