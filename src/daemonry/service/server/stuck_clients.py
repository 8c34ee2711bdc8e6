"""The clients of a stuck loop: accepted and looked at in another thread, and answered where that is possible.

Owns the decision about each of them.  Nothing that a client sent is taken (MSG_PEEK) unless it is answered
here:

    a whole line of the text dialect     answered here
    the beginning of a line              looked at again
    a call, or anything else             waits for the loop, unread
    nothing                              waits for the loop; its five seconds begin again there
    the end of the connection            closed

so that a call is run by the loop or, where there is no room for it or the daemon ends, refused with an
error that says so.  It is never cut off: a client that lost its call could not know that it did not run.
When to look here is `standby`'s.
"""

from __future__ import annotations

import select
import selectors
import threading
from _socket import MSG_DONTWAIT
from _socket import socket as Socket
from typing import TYPE_CHECKING, Final

from daemonry import clock
from daemonry.clock import Deadline
from daemonry.errors import CallFailed, Overloaded
from daemonry.limits import GATE_MOST
from daemonry.service.server.control import ControlState, answer, encoded
from daemonry.service.server.held import HeldConnection
from daemonry.service.server.refusal import OVERLOADED, TOO_MANY, refuse
from daemonry.service.server.text_connection import finish
from daemonry.transport.credentials import may_command, peer_of
from daemonry.wire import dialect, text
from daemonry.wire.text import CommandReader, TextCommand, TextReply

if TYPE_CHECKING:
    from daemonry.service.server.server import Server
    from daemonry.transport.proof import Served
    from daemonry.transport.stream import Listener

# Of the clients that wait at the listener, how many are accepted before the accepted ones are looked at.
_ACCEPTED_AT_ONCE: Final = 64
# Before the next attempt to accept when the system has no descriptor left.
_NAP_S: Final = 0.01
# Not on every system; without it, a client that ends after half a line waits for the loop.
_POLLRDHUP: Final[int] = getattr(select, "POLLRDHUP", 0)


class StuckClients:
    """Accepts and answers the clients of one server while its loop is stuck; used by one thread.

    Args:
        server: the server; it holds the connections that wait for the loop.
        state: answers commands, at once.
        loop_is_back: set, by the loop, once it runs again.
    """

    def __init__(self, server: Server, state: ControlState, loop_is_back: threading.Event) -> None:
        self._server = server
        self._held = server.held
        self._state = state
        self._loop_is_back = loop_is_back
        self._selector: selectors.BaseSelector | None = None
        self._unfinished: list[HeldConnection] = []

    def open(self) -> None:
        """Begin to watch the connections that are held."""
        self._selector = selectors.DefaultSelector()
        for connection in self._held:
            self._look(connection)

    def close(self) -> None:
        """Watch no connection any more.  Twice is not an error."""
        self._unfinished.clear()
        if self._selector is not None:
            self._selector.close()
            self._selector = None

    def accept_all(self) -> None:
        """Accept the clients that wait at the listener, unwatched, until the server is full."""
        listener = self._open_listener()
        if listener is not None:
            self._accept(listener, register=False)

    def _open_listener(self) -> Listener | None:
        listener = self._server.listener
        return None if listener is None or listener.fileno() < 0 else listener

    def serve(self, timeout_s: float) -> None:
        """Accept and answer for `timeout_s`, or until the loop is back."""
        listener = self._open_listener()
        assert self._selector is not None
        unfinished, self._unfinished = self._unfinished, []
        for connection in unfinished:
            self._look(connection)
        self._expire()
        if listener is None:
            clock.sleep(timeout_s)
            return
        deadline = Deadline(timeout_s)
        listener_fd = listener.fileno()  # the loop may close it as soon as it is back
        self._selector.register(listener_fd, selectors.EVENT_READ)
        try:
            while not deadline.expired and not self._loop_is_back.is_set():
                for key, _ in self._selector.select(deadline.remaining_s()):
                    if key.data is None:
                        self._accept(listener)
                    else:
                        self._selector.unregister(key.fd)
                        self._look(key.data)
        finally:
            self._selector.unregister(listener_fd)

    def _accept(self, listener: Listener, *, register: bool = True) -> None:
        for _ in range(_ACCEPTED_AT_ONCE if register else self._server.most_connections):
            if register and self._loop_is_back.is_set():
                return
            try:
                sock = listener.accept_socket()
            except OSError:
                if register:
                    clock.sleep(_NAP_S)  # no descriptors left: do not spin
                return
            if sock is None:
                return
            self._let_in(sock, register=register)

    def _let_in(self, sock: Socket, *, register: bool) -> None:
        sock.setblocking(False)
        if not may_command(sock):
            _say(sock, TextReply.error(text.PERMISSION_DENIED))
            return
        if self._server.full:
            self._make_room()
        if self._server.full:
            refuse(sock, self._overloaded(), TOO_MANY)
            return
        exchange = self._server.new_exchange()
        if exchange is not None:
            self._bound_unproved()
        connection = HeldConnection(sock, Deadline(self._server.first_byte_s), exchange)
        self._held.add(connection)
        if register:
            self._look(connection)

    def _look(self, connection: HeldConnection) -> None:
        """See what a client has said, and decide who answers it."""
        if connection.exchange is not None and connection.owes_proof:
            self._go_on_with_proof(connection, connection.exchange)
            if connection.owes_proof:
                return
        head = connection.peek() if connection.sock.fileno() >= 0 else b""
        if head is None:
            self._watch(connection)
        elif not head:
            if self._held.take(connection):
                connection.sock.close()
        else:
            connection.is_silent = False
            spoken = dialect.detect(head)
            if spoken == dialect.TEXT:
                self._look_for_command(connection, head)
            elif spoken is None:
                self._unfinished.append(connection)
            elif spoken == dialect.VARLINK and self._server.crowded:
                self._refuse_one_too_many(connection)
            # else it waits for the loop

    def _go_on_with_proof(self, connection: HeldConnection, exchange: Served) -> None:
        """Read the part of a client's proof that has come, and answer it; behind it nothing is read.

        The connection is taken out meanwhile: the loop must not read with us.  A wrong proof is answered
        at once, for nothing here waits.
        """
        if not self._held.take(connection):
            return
        sock = connection.sock
        try:
            while exchange.wants_bytes:
                data = sock.recv(exchange.wants_bytes, MSG_DONTWAIT)
                connection.is_silent = False
                said = exchange.receive(data) if data or exchange.begun else b""
                if said:
                    sock.send(said, MSG_DONTWAIT)
                if not data:
                    break
        except BlockingIOError:
            self._held.add(connection)
            self._watch(connection)
            return
        except OSError:
            sock.close()
            return
        if exchange.done:
            self._held.add(connection)
            return
        if exchange.wrong:
            self._server.count_wrong_token(sock)
        finish(sock)
        sock.close()

    def _bound_unproved(self) -> None:
        """End the oldest of those who have proved nothing, if they are many: anybody can come so far."""
        unproved = [connection for connection in self._held if connection.owes_proof]
        if len(unproved) >= GATE_MOST and self._held.take(unproved[0]):
            self._stop_watching(unproved[0])
            unproved[0].sock.close()

    def _watch(self, connection: HeldConnection) -> None:
        assert self._selector is not None
        try:
            self._selector.register(connection.sock, selectors.EVENT_READ, connection)
        except (KeyError, ValueError):
            pass  # the loop is back, has taken this one or one with its number, and takes all of them

    def _look_for_command(self, connection: HeldConnection, head: bytes) -> None:
        reader = CommandReader()
        reader.receive_data(head)
        event = reader.next_event()
        if event is None and is_ready(connection.sock.fileno(), _POLLRDHUP):
            reader.receive_data(b"")
            event = reader.next_event()
        if event is None:
            self._unfinished.append(connection)
        elif self._held.take(connection):
            reply = (
                answer(event, peer_of(connection.sock), self._state)
                if isinstance(event, TextCommand)
                else event
            )
            assert isinstance(reply, TextReply), "a standby state answers at once"
            _say(connection.sock, reply)

    # --- when it gets crowded ---------------------------------------------------------------------

    def _overloaded(self) -> CallFailed:
        return Overloaded(OVERLOADED, {"limit": self._server.most_connections})

    def _refuse_one_too_many(self, connection: HeldConnection) -> None:
        self._make_room()
        if self._server.crowded and self._held.take(connection):
            refuse(connection.sock, self._overloaded())

    def _expire(self) -> None:
        """End the connections of clients who did not finish their line in time."""
        for connection in self._held:
            if connection.first_byte.expired and (connection.owes_proof or not connection.is_silent):
                self._end_late(connection)
        if self._server.crowded:
            self._make_room()

    def _make_room(self) -> None:
        """End the connections of clients who have said nothing in time."""
        for connection in self._held:
            if connection.first_byte.expired and connection.is_silent:
                self._end_late(connection)

    def _end_late(self, connection: HeldConnection) -> None:
        head = connection.peek()
        if head and dialect.detect(head) in (dialect.VARLINK, dialect.HTTP):
            return  # it has come; the loop will look at it
        if self._held.take(connection):
            self._stop_watching(connection)
            _say(connection.sock, TextReply.error(text.TIMEOUT))

    def _stop_watching(self, connection: HeldConnection) -> None:
        if connection in self._unfinished:
            self._unfinished.remove(connection)
        if self._selector is not None and connection.sock.fileno() in self._selector.get_map():
            self._selector.unregister(connection.sock)


def is_ready(fd: int, events: int) -> bool:
    """Return whether a descriptor has one of some events of poll(2) now; -1 has none."""
    if fd < 0:
        return False
    poll = select.poll()
    poll.register(fd, events)
    return any(found & events for _, found in poll.poll(0))


def _say(sock: Socket, reply: TextReply) -> None:
    """Answer a client and end its connection."""
    try:
        # One send: a reply is far below a fresh socket's buffer.
        sock.send(encoded(reply), MSG_DONTWAIT)
        finish(sock)
    except OSError:
        pass  # the client is gone
    sock.close()
