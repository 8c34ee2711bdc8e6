"""A connection from its acceptance on, as long as its client sends only calls that are answered at once.

Owns the socket until more is needed: then another object takes it over, with the bytes that were read.  It
leaves the socket to a new object of this kind once its client has sent nothing but such calls for a while.
Most connections of a daemon need no more (a command connects, calls one method, and leaves), so this object
has no clock, no buffer, no task and no state machine, and its cost is counted in function calls.  A call
that comes in pieces, or with another, that takes its time, that fails, or whose reply the socket does not
take whole, is `varlink.connection`'s; text is `text_connection`'s.

`readers` watches the socket until a second call comes, then the loop itself.
"""

from __future__ import annotations

import contextlib
from _socket import AF_UNIX, MSG_DONTWAIT, SHUT_RD
from _socket import socket as Socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from daemonry.limits import LOOKED_UP_BYTES, READ_BYTES
from daemonry.native_calls import calls as native_calls
from daemonry.transport.credentials import Peer

if TYPE_CHECKING:
    from daemonry.service.server.dispatch import Ran, Ready
    from daemonry.transport.credentials import Ids


AnswerAtOnce = Callable[[bytes], "Ran | bytes | None"]


class FastConnectionOwner(Protocol):
    """The open connections, as a fast one needs them; see `connections.Connections`.

    Attributes:
        answer_at_once, ready: answer calls: see `Calls`.
    """

    answer_at_once: AnswerAtOnce
    ready: dict[bytes, Ready]

    def has_spoken(self, connection: FastConnection) -> None:
        """Take note that the client has said something, which was answered."""

    def watch_by_loop(self, connection: FastConnection) -> None:
        """Let the loop itself watch a client that sends more than one call."""

    def take_over(self, connection: FastConnection, data: bytes, ran: Ran | bytes | None) -> None:
        """Go on with a connection that needs more; see `Connections.take_over`."""

    def leave(self, connection: FastConnection) -> None:
        """End a connection."""

    def finish(self, connection: FastConnection) -> None:
        """End a connection so that the client has all that was sent."""


class LineInPython:
    """What reads a connection and answers its calls: the part of a fast connection that each call pays for.

    The native part has the same, see `native/calls/line.h`.

    Args:
        fd: the number of its socket, by which the native part reads and sends.
        ready, answer: answer calls: see `Calls.ready` and `Calls.answer_at_once`.
        looked_up_bytes: how long a call may be that is looked for in `ready`.
        most_bytes: that are read at once.

    Attributes:
        activity: a number that changes whenever the client says something.
        here: whether its socket is still this object's.
        sock: the connection; this object's, until another takes it over.
    """

    __slots__ = ("_answer", "_looked_up_bytes", "_most_bytes", "_ready", "activity", "here")

    sock: Socket

    def __init__(
        self, fd: int, ready: dict[bytes, Ready], looked_up_bytes: int, answer: AnswerAtOnce, most_bytes: int
    ) -> None:
        del fd
        self._ready = ready
        self._looked_up_bytes = looked_up_bytes
        self._answer = answer
        self._most_bytes = most_bytes
        self.activity: int = 0
        self.here: bool = True

    def speaks(self) -> None:
        """Read a call, and answer it."""
        try:
            data = self.sock.recv(self._most_bytes, MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.activity += 1
        ready = self._ready.get(data) if len(data) <= self._looked_up_bytes else None
        if ready is not None:
            reply = ready()
        elif data:
            reply = self._answer(data)
        else:
            reply = None
        sent = 0
        if isinstance(reply, bytes):
            try:
                sent = self.sock.send(reply, MSG_DONTWAIT)
            except BlockingIOError:
                pass
            except OSError:
                sent = -1
            if sent == len(reply):
                return
        self.goes_on(data, reply, sent)

    def goes_on(self, data: bytes, reply: Ran | bytes | None, sent: int) -> None:
        """Finish a call that was answered otherwise than whole and at once.

        Args:
            data: the bytes that were read; b"" at the end of what the client sends.
            reply: what answered them returned.
            sent: how much of a reply was sent; -1 where the client is gone.
        """
        raise NotImplementedError


if TYPE_CHECKING:
    Line = LineInPython
else:
    Line = LineInPython if native_calls is None else native_calls.Line


class FastConnection(Line):
    """One client, while its calls are answered at once.

    Args:
        owner: takes the connection over when more is needed, and forgets it when it ends.
        sock: the connection; this object's, until another takes it over.
        ids: the user and process at its other end.

    Attributes:
        ids: as given.
        sock: as given.
        until_s: when the first byte, or the line, has to be there, by the loop's clock.
        watched_by_loop: whether it is the loop that watches its socket.
    """

    __slots__ = ("_owner", "ids", "sock", "until_s", "watched_by_loop")

    def __init__(self, owner: FastConnectionOwner, sock: Socket, ids: Ids) -> None:
        super().__init__(sock.fileno(), owner.ready, LOOKED_UP_BYTES, owner.answer_at_once, READ_BYTES)
        self._owner = owner
        self.sock: Socket = sock
        self.ids: tuple[int, int, int] | None = ids
        self.until_s: float = 0.0
        self.watched_by_loop: bool = False

    @property
    def peer(self) -> Peer:
        """The user and process at the other end."""
        return Peer.of(self.ids)

    def speaks_first(self) -> None:
        """Read the first call, and answer it."""
        self.speaks()
        if self.here and self.activity:
            self._owner.has_spoken(self)

    def speaks_again(self) -> None:
        """Read the second call, and answer it."""
        self.speaks()
        if self.here and self.activity > 1:
            self._owner.watch_by_loop(self)

    def goes_on(self, data: bytes, reply: Ran | bytes | None, sent: int) -> None:
        """Give the connection to whoever goes on with it, or end it; see `LineInPython.goes_on`."""
        if not data or sent < 0:
            self._owner.leave(self)
        elif self.here or not isinstance(reply, bytes):
            self._owner.take_over(self, data, reply[sent:] if isinstance(reply, bytes) else reply)
        else:  # the handler had the connection ended, or taken over
            with contextlib.suppress(OSError):
                self.sock.send(reply[sent:], MSG_DONTWAIT)

    def drop_in_child(self) -> None:
        """Close a forked child's copy, and never use its number again."""
        self.here = False
        self.sock.close()

    def retire(self) -> None:
        """Take no further call: answer those that have come, and let the client's next one fail."""
        if self.sock.family != AF_UNIX and self.activity:  # TCP does not tell its peer
            self._owner.finish(self)
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
            self._owner.leave(self)
