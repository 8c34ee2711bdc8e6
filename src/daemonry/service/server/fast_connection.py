"""A connection from its acceptance on, as long as its client says nothing but what is answered at once.

Owns its socket until somebody needs more of it: then it is given on, with what was read, and never comes
back.  That is most of what a daemon's connections ever do (a command connects, calls one method, and
leaves), so that this object has no clock, no buffer, no task and no state machine, and what it does is
counted in function calls.  A call that comes in pieces, or with another, that takes its time, that fails,
or whose reply the socket does not take whole, is `varlink_connection`'s; text is `connection`'s.

Who watches its socket: `readers` until it has said a second thing, then the loop itself.
"""

from __future__ import annotations

from _socket import AF_UNIX, MSG_DONTWAIT, SHUT_RD
from _socket import socket as Socket
from typing import TYPE_CHECKING, Protocol

from daemonry.limits import READ_BYTES
from daemonry.transport.credentials import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemonry.service.server.dispatch import Ran, Ready
    from daemonry.transport.credentials import Ids


class Owner(Protocol):
    """What a fast connection needs of who let it in; see `connections.Reception`.

    Attributes:
        answer_at_once, ready: what answers calls: see `Calls`.
    """

    answer_at_once: Callable[[bytes], Ran | bytes | None]
    ready: dict[bytes, Ready]

    def has_spoken(self, guest: Guest) -> None:
        """Take note that the client has said something, which was answered."""

    def watch_by_loop(self, guest: Guest) -> None:
        """Have the loop itself watch a client who says more than one thing."""

    def take_over(self, guest: Guest, data: bytes, ran: Ran | bytes | None) -> None:
        """Go on with a connection that needs more; see `Reception.take_over`."""

    def leave(self, guest: Guest) -> None:
        """End a connection."""

    def finish(self, guest: Guest) -> None:
        """End a connection so that the client has all that was sent."""


class Guest:
    """A client.

    Args:
        reception: takes over when it needs more, and lets it go.
        sock: the connection; this object's, until it is given on.
        ids: who is at its other end.

    Attributes:
        activity: a number that changes whenever the client says something.
        here: whether its socket is still this object's.
        ids: as given.
        sock: as given.
        until_s: when the first byte, or the line, has to be there, by the loop's clock.
        watched_by_loop: whether it is the loop that watches its socket.
    """

    __slots__ = ("_ready", "_reception", "activity", "here", "ids", "sock", "until_s", "watched_by_loop")

    def __init__(self, reception: Owner, sock: Socket, ids: Ids) -> None:
        self._reception = reception
        self._ready = reception.ready
        self.sock = sock
        self.ids = ids
        self.until_s = 0.0
        self.activity = 0
        self.here = True
        self.watched_by_loop = False

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""
        return Peer.of(self.ids)

    def speaks_first(self) -> None:
        """Read what has come first, and answer it."""
        self.speaks()
        if self.here and self.activity:
            self._reception.has_spoken(self)

    def speaks_again(self) -> None:
        """Read what has come second, and answer it."""
        self.speaks()
        if self.here and self.activity > 1:
            self._reception.watch_by_loop(self)

    def speaks(self) -> None:
        """Read what has come, and answer it."""
        try:
            data = self.sock.recv(READ_BYTES, MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.activity += 1
        ready = self._ready.get(data)
        if ready is not None:
            reply = ready()
        elif data:
            reply = self._reception.answer_at_once(data)
        else:
            self._reception.leave(self)
            return
        if not isinstance(reply, bytes):
            self._reception.take_over(self, data, reply)
            return
        try:
            sent = self.sock.send(reply, MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._reception.leave(self)
            return
        if sent < len(reply):
            self._reception.take_over(self, data, reply[sent:])

    def retire(self) -> None:
        """Take nothing further: what has come is answered, and the client's next words fail on its side."""
        if self.sock.family != AF_UNIX and self.activity:  # TCP does not tell its peer
            self._reception.finish(self)
            return
        try:
            self.sock.shutdown(SHUT_RD)
        except OSError:
            return  # the client was quicker
        if self.activity:
            self.speaks()

    def see_off(self) -> None:
        """End the connection; a client that has just called is answered, and does not lose its call."""
        try:
            self.sock.shutdown(SHUT_RD)
        except OSError:
            pass  # the client was quicker
        self.speaks()
        if self.here:
            self._reception.leave(self)
