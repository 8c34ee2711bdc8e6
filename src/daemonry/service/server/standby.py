"""Answers the control plane from another thread while the loop is stuck in a handler.

Owns noticing, and what is done meanwhile.  Nothing is asked of a loop that does its work: its listener
is looked at a few times a second, and a loop that accepts leaves nobody waiting there.  Only when
clients were seen waiting twice in a row is the loop asked for a sign of life, and only when none comes
are they accepted here, until one does.  Then each is looked at, and nothing of it is taken (MSG_PEEK):

    a whole line of the text dialect     answered here
    what may yet become one              looked at again
    a call, or anything else             waits for the loop, unread
    nothing                              waits for the loop; its five seconds begin anew there
    nobody any more                      closed

so that a call is run by the loop or, where there is no room for it or the daemon ends, refused with an
error that says so.  It is never cut off: a client that lost its call could not know that it did not run.

What cannot be helped: code that holds the interpreter's lock without a break stops this thread
too.
"""

from __future__ import annotations

import asyncio
import logging
import select
import selectors
import sys
import threading
from _socket import MSG_DONTWAIT
from _socket import socket as Socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from daemonry import clock
from daemonry.clock import Deadline
from daemonry.errors import CallFailed, Draining, Overloaded
from daemonry.limits import GATE_MOST
from daemonry.service.server.control import ControlState, answer, encoded
from daemonry.service.server.held import HeldConnection
from daemonry.service.server.refusal import DRAINING, OVERLOADED, TOO_MANY, refuse, refuse_held
from daemonry.service.server.text_connection import finish
from daemonry.transport.credentials import may_command
from daemonry.wire import dialect, text
from daemonry.wire.text import Command, CommandReader, Reply

if TYPE_CHECKING:
    from types import FrameType

    from daemonry.service.server.server import Server
    from daemonry.transport.proof import Served
    from daemonry.transport.stream import Listener

logger = logging.getLogger("daemonry.standby")

# Frames of these are not the user's code that blocks, but what called it, or what it called.
_NOT_THE_USERS = sys.stdlib_module_names | {"daemonry", "uvloop"}
# Of those who wait at the listener, how many are accepted before who is in is looked at.
_ACCEPTED_AT_ONCE: Final = 64
# Before the next attempt to accept when the system has no descriptor left.
_NAP_S: Final = 0.01
# Not on every system; without it, a client that ends after half a line waits for the loop.
_POLLRDHUP: Final[int] = getattr(select, "POLLRDHUP", 0)


class Standby:
    """Watches one loop and its server; `tick` is called by a thread that is not the loop's.

    Args:
        loop: the loop that serves when it can.
        loop_thread_id: the thread that runs it.
        server: the server whose clients are answered; takes back those that wait for the loop.
        state: makes what answers while the loop cannot; its methods are called from the ticking
            thread and return their results at once.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        loop_thread_id: int,
        server: Server,
        state: Callable[[Standby], ControlState],
    ) -> None:
        self._loop = loop
        self._thread_id = loop_thread_id
        self._server = server
        self._held = server.held
        self._state = state(self)
        self._sign_of_life = threading.Event()
        self._asked_at_s: float | None = None
        self._heard_at_s: float | None = None
        self._stuck_since_s = 0.0
        self._selector: selectors.BaseSelector | None = None
        self._unfinished: list[HeldConnection] = []

    @property
    def stuck_for_s(self) -> float | None:
        """For how long the loop has not answered, in seconds; None while it does."""
        return None if self._selector is None else clock.monotonic() - self._stuck_since_s

    def heard(self) -> None:
        """Note that the loop runs; called on it, now and then.

        Clients may come long after it got stuck, and are told since when it has been.
        """
        self._heard_at_s = clock.monotonic()

    def stuck_at(self) -> str:
        """Return where the loop's thread is now, as `file:line in function`."""
        return where(frame_of(self._thread_id))

    def tick(self, timeout_s: float) -> None:
        """Look once, or, while the loop is stuck, serve for `timeout_s`."""
        if self._selector is not None:
            self._serve(timeout_s)
            if self._sign_of_life.is_set():
                self._hand_back()
        elif self._asked_at_s is None:
            if self._clients_wait():
                self._ask()
        elif self._sign_of_life.is_set():
            self._asked_at_s = None
        elif self._clients_wait():
            self._take_over()

    def refuse_all(self, *, also_at_listener: bool) -> None:
        """Refuse whoever waits, with the end as the reason: the loop will not come to them any more.

        They know then that their calls did not run.  Called by the ticking thread.

        Args:
            also_at_listener: those as well who were not accepted yet, for nobody will.
        """
        listener = self._open_listener() if also_at_listener else None
        if listener is not None:
            self._accept(listener, register=False)
        while (connection := self._held.take_oldest()) is not None:
            refuse_held(connection, Draining(DRAINING))
        self.close()

    def close(self) -> None:
        """Watch nobody any more; who is held waits for the loop."""
        self._unfinished.clear()
        if self._selector is not None:
            self._selector.close()
            self._selector = None

    def _open_listener(self) -> Listener | None:
        listener = self._server.listener
        return None if listener is None or listener.fileno() < 0 else listener

    def _clients_wait(self) -> bool:
        if len(self._held):  # the loop was back, and got stuck again before it had taken all of them
            return True
        listener = self._open_listener()
        return listener is not None and _is_ready(listener.fileno(), select.POLLIN)

    def _ask(self) -> None:
        self._sign_of_life.clear()
        self._asked_at_s = clock.monotonic()
        try:
            self._loop.call_soon_threadsafe(self._come_back)
        except RuntimeError:  # closed: the daemon is ending
            self._asked_at_s = None

    def _come_back(self) -> None:
        """Run by the loop, before anything else that it does."""
        self._sign_of_life.set()
        self._server.take_back()

    def _take_over(self) -> None:
        logger.warning("the loop is stuck at %s; answering the control plane beside it", self.stuck_at())
        asked_at_s = self._asked_at_s or 0.0
        self._stuck_since_s = asked_at_s if self._heard_at_s is None else min(asked_at_s, self._heard_at_s)
        self._selector = selectors.DefaultSelector()
        for connection in self._held:
            self._look(connection)

    def _hand_back(self) -> None:
        logger.warning("the loop answers again after %.1f s", self.stuck_for_s or 0.0)
        self.close()
        self._asked_at_s = None
        try:  # of those that were accepted while the loop came back
            self._loop.call_soon_threadsafe(self._server.take_back)
        except RuntimeError:
            self.refuse_all(also_at_listener=False)

    # --- while the loop is stuck ------------------------------------------------------------------

    def _serve(self, timeout_s: float) -> None:
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
            while not deadline.expired and not self._sign_of_life.is_set():
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
            if register and self._sign_of_life.is_set():
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
            _say(sock, Reply.error(text.PERMISSION_DENIED))
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
        """Read what has come of a client's proof, and answer it; behind it nothing is read.

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
        if event is None and _is_ready(connection.sock.fileno(), _POLLRDHUP):
            reader.receive_data(b"")
            event = reader.next_event()
        if event is None:
            self._unfinished.append(connection)
        elif self._held.take(connection):
            reply = answer(event, self._state) if isinstance(event, Command) else event
            assert isinstance(reply, Reply), "a standby state answers at once"
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
            _say(connection.sock, Reply.error(text.TIMEOUT))

    def _stop_watching(self, connection: HeldConnection) -> None:
        if connection in self._unfinished:
            self._unfinished.remove(connection)
        if self._selector is not None and connection.sock.fileno() in self._selector.get_map():
            self._selector.unregister(connection.sock)


def _is_ready(fd: int, events: int) -> bool:
    if fd < 0:
        return False
    poll = select.poll()
    poll.register(fd, events)
    return any(found & events for _, found in poll.poll(0))


def _say(sock: Socket, reply: Reply) -> None:
    """Answer a client and end its connection."""
    try:
        # One send: a reply is far below a fresh socket's buffer.
        sock.send(encoded(reply), MSG_DONTWAIT)
        finish(sock)
    except OSError:
        pass  # the client is gone
    sock.close()


def frame_of(thread_id: int | None) -> FrameType | None:
    """Return where a thread is now; None when there is no such thread."""
    frames = sys._current_frames()  # noqa: SLF001  # documented, in spite of its name
    return frames.get(thread_id) if thread_id is not None else None


def where(frame: FrameType | None) -> str:
    """Return the innermost line of a stack that is the user's own, as `file:line in function`."""
    innermost = frame
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in _NOT_THE_USERS:
            return _line(frame)
        frame = frame.f_back
    return _line(innermost) if innermost is not None else "an unknown place"


def _line(frame: FrameType) -> str:
    file = frame.f_code.co_filename.rpartition("/")[2]
    return f"{file}:{frame.f_lineno} in {frame.f_code.co_name}"
