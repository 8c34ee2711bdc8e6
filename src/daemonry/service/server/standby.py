"""Answers the control plane from another thread while the loop is stuck in a handler.

Owns noticing and taking over.  Nothing is asked of a loop that does its work: its listener is
looked at a few times a second, and a loop that accepts leaves nobody waiting there.  Only when
clients were seen waiting twice in a row is the loop asked for a sign of life, and only when none
comes are they answered from here, until one does.

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
from _socket import socket as Socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from daemonry import clock
from daemonry.clock import Deadline
from daemonry.limits import FIRST_BYTE_TIMEOUT_S, READ_BYTES
from daemonry.service.server.control import ControlState, answer, encoded
from daemonry.service.server.text_connection import finish
from daemonry.transport.credentials import may_command
from daemonry.wire import text
from daemonry.wire.text import Command, CommandReader, Reply

if TYPE_CHECKING:
    from types import FrameType

    from daemonry.transport.stream import Listener

logger = logging.getLogger("daemonry.standby")

# Frames of these are not the user's code that blocks, but what called it, or what it called.
_NOT_THE_USERS = sys.stdlib_module_names | {"daemonry", "uvloop"}


class _Client:
    """A connection taken over: its bytes so far, and when it has had its time."""

    __slots__ = ("deadline", "reader", "sock")

    def __init__(self, sock: Socket) -> None:
        self.sock = sock
        self.reader = CommandReader()
        self.deadline = Deadline(FIRST_BYTE_TIMEOUT_S)


class Standby:
    """Watches one loop and its listener; `tick` is called by a thread that is not the loop's.

    Args:
        loop: the loop that serves when it can.
        loop_thread_id: the thread that runs it.
        listener: returns the present listener, or None.
        state: makes what answers while the loop cannot; its methods are called from the ticking
            thread and return their results at once.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        loop_thread_id: int,
        listener: Callable[[], Listener | None],
        state: Callable[[Standby], ControlState],
    ) -> None:
        self._loop = loop
        self._thread_id = loop_thread_id
        self._listener = listener
        self._state = state(self)
        self._sign_of_life = threading.Event()
        self._asked_at_s: float | None = None
        self._heard_at_s: float | None = None
        self._stuck_since_s = 0.0
        self._selector: selectors.BaseSelector | None = None
        self._clients: dict[int, _Client] = {}

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

    def close(self) -> None:
        """Drop whoever is being served."""
        for client in list(self._clients.values()):
            self._drop(client)
        if self._selector is not None:
            self._selector.close()
            self._selector = None

    def _clients_wait(self) -> bool:
        listener = self._listener()
        if listener is None or listener.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(listener.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _ask(self) -> None:
        self._sign_of_life.clear()
        self._asked_at_s = clock.monotonic()
        try:
            self._loop.call_soon_threadsafe(self._sign_of_life.set)
        except RuntimeError:  # closed: the daemon is ending
            self._asked_at_s = None

    def _take_over(self) -> None:
        logger.warning("the loop is stuck at %s; answering the control plane beside it", self.stuck_at())
        asked_at_s = self._asked_at_s or 0.0
        self._stuck_since_s = asked_at_s if self._heard_at_s is None else min(asked_at_s, self._heard_at_s)
        self._selector = selectors.DefaultSelector()

    def _hand_back(self) -> None:
        logger.warning("the loop answers again after %.1f s", self.stuck_for_s or 0.0)
        self.close()
        self._asked_at_s = None

    def _serve(self, timeout_s: float) -> None:
        listener = self._listener()
        assert self._selector is not None
        if listener is None or listener.fileno() < 0:
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
                        self._read(key.data)
                self._expire()
        finally:
            self._selector.unregister(listener_fd)

    def _accept(self, listener: Listener) -> None:
        try:
            sock = listener.accept_socket()
        except OSError:
            clock.sleep(0.01)  # no descriptors left: do not spin
            return
        if sock is None:
            return
        sock.setblocking(False)
        client = _Client(sock)
        if not may_command(sock):
            self._reply(client, Reply.error(text.PERMISSION_DENIED))
            return
        assert self._selector is not None
        self._selector.register(sock.fileno(), selectors.EVENT_READ, client)
        self._clients[sock.fileno()] = client

    def _read(self, client: _Client) -> None:
        try:
            client.reader.receive_data(client.sock.recv(READ_BYTES))
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)
            return
        event = client.reader.next_event()
        if isinstance(event, Command):
            reply = answer(event, self._state)
            assert isinstance(reply, Reply), "a standby state answers at once"
            self._reply(client, reply)
        elif isinstance(event, Reply):
            self._reply(client, event)
        elif event is not None:
            self._drop(client)

    def _reply(self, client: _Client, reply: Reply) -> None:
        try:
            # One send: a reply is far below a fresh socket's buffer.
            client.sock.send(encoded(reply))
            finish(client.sock)
        except OSError:
            pass  # the client is gone
        self._drop(client)

    def _expire(self) -> None:
        for client in [client for client in self._clients.values() if client.deadline.expired]:
            self._reply(client, Reply.error(text.TIMEOUT))

    def _drop(self, client: _Client) -> None:
        fd = client.sock.fileno()
        if self._clients.pop(fd, None) is not None and self._selector is not None:
            self._selector.unregister(fd)
        client.sock.close()


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
