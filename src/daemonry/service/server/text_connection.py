"""One accepted connection, on an asyncio loop: the text dialect, until it shows to speak another.

Owns its socket, its deadlines, and the order read, answer, write, close.  Written on
`add_reader` and not on transports: a connection costs one small object, the socket can also be
answered from another thread, and asyncio and uvloop behave the same.
"""

from __future__ import annotations

import asyncio
import logging
from _socket import MSG_PEEK, SHUT_RD, SHUT_WR
from _socket import socket as Socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from daemonry.limits import EMPTY_LINE_S, READ_BYTES, REPLY_TIMEOUT_S
from daemonry.service.server.control import encoded
from daemonry.service.server.fast_connection import FastConnection
from daemonry.service.server.lateness import is_late
from daemonry.wire import dialect, text
from daemonry.wire.text import CommandReader, TextCommand, TextReply

if TYPE_CHECKING:
    from daemonry.service.server.epoll import Readers
    from daemonry.transport.credentials import Peer

logger: logging.Logger = logging.getLogger("daemonry.server")

TakeOver = Callable[[FastConnection, bytes], None]
Answer = Callable[[TextCommand, "Peer"], TextReply | Awaitable[TextReply]]


# Stands in for a socket that was handed on.
_GONE = Socket()
_GONE.close()


class TextConnection:
    """A client of the control plane.

    Args:
        loop: the loop that serves it.
        readers: what watches its socket; whether it did already does not matter.
        fast: the connection, whose socket is closed by this object, and until when the client may
            take for its line.
        answer: what replies to a command.
        closed: called once, when the socket is closed or was taken over.
        take_over: called with the connection and its first bytes when these are a Varlink call.
        takes_http: whether it is given those of HTTP too.
        peeks: look at the first bytes and leave them, for descriptors may be beside them.
    """

    __slots__ = (
        "_answer",
        "_closed",
        "_fast",
        "_head",
        "_loop",
        "_out",
        "_peeks",
        "_reader",
        "_readers",
        "_sock",
        "_take_over",
        "_takes_http",
        "_task",
        "_timer",
    )

    def __init__(  # noqa: PLR0913  # what the server has told it, each by name
        self,
        loop: asyncio.AbstractEventLoop,
        readers: Readers | asyncio.AbstractEventLoop,
        fast: FastConnection,
        answer: Answer,
        closed: Callable[[TextConnection], None],
        take_over: TakeOver | None = None,
        *,
        takes_http: bool = False,
        peeks: bool = False,
    ) -> None:
        self._takes_http = takes_http
        self._loop = loop
        self._readers = readers
        self._fast = fast
        self._sock = fast.sock
        self._answer = answer
        self._closed = closed
        self._take_over = take_over
        self._peeks = peeks and take_over is not None
        self._head = b""
        self._reader = CommandReader()
        self._out = b""
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        if self._sock.fileno() < 0:
            return "<TextConnection: closed>"
        return f"<TextConnection: {'waiting for a command' if self.activity is not None else 'answering'}>"

    @property
    def peer(self) -> Peer:
        """The user and process at the other end."""
        return self._fast.peer

    def close(self) -> None:
        """End the connection now.  Twice is not an error."""
        fd = self._sock.fileno()
        if fd < 0:
            return
        if self._timer is not None:
            self._stop_timer()
            self._loop.remove_writer(fd)
        self._readers.remove_reader(fd)
        self._sock.close()
        self._closed(self)

    @property
    def activity(self) -> int | None:
        """As a Varlink connection's: None while a command is being answered."""
        return None if self._task is not None or self._out else 0

    def retire(self) -> None:
        """Close, if no command is being answered; a client that sent none yet finds nothing sent."""
        if self.activity is None or self._sock.fileno() < 0:
            return
        try:
            self._sock.shutdown(SHUT_RD)
        except OSError:
            return
        self.read()

    def drop_in_child(self) -> None:
        """Close a forked child's copy, beside the loop, which parent and child share."""
        self._sock.close()

    def refuse(self, message: str) -> None:
        """Answer before anything was read, and close."""
        self._readers.remove_reader(self._sock.fileno())
        self._send(TextReply.error(message))

    def read(self) -> None:
        """Read the bytes that have come."""
        if self._peeks and self._take_over is not None and self._is_varlink():
            self._hand_over(self._head)
            return
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            self._wait()
            return
        except OSError:
            self.close()
            return
        self.receive(data)

    def receive(self, data: bytes) -> None:
        """Take bytes that were read already; `b""` is the end of what the client sends."""
        if self._take_over is not None:
            self._head += data
            spoken = dialect.detect(self._head, ended=not data)
            if spoken is None:
                if b"\n" in self._head:
                    self._expect_more_soon()
                else:
                    self._wait()
                return
            if spoken == dialect.VARLINK or (spoken == dialect.HTTP and self._takes_http):
                self._hand_over(self._head)
                return
            data, self._head = self._head, b""
            self._take_over = None
        self._take(data)

    def _take(self, data: bytes) -> None:
        self._reader.receive_data(data)
        event = self._reader.next_event()
        if event is None:
            self._wait()
            return
        self._readers.remove_reader(self._sock.fileno())
        if isinstance(event, TextCommand):
            self._execute(event)
        elif isinstance(event, TextReply):
            self._send(event)
        else:
            self.close()

    def _wait(self) -> None:
        """Wait for the rest of the line."""
        if self._timer is None:
            self._timer = self._loop.call_at(self._fast.until_s, self._too_slow)
            self._readers.add_reader(self._sock.fileno(), self.read)

    def _expect_more_soon(self) -> None:
        """Wait a moment for what an empty line may stand before; it is a command if nothing comes."""
        self._stop_timer()
        self._timer = self._loop.call_later(EMPTY_LINE_S, self._take_empty_line)
        self._readers.add_reader(self._sock.fileno(), self.read)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _take_empty_line(self) -> None:
        self._take_over = None
        self._take(self._head)

    def _is_varlink(self) -> bool:
        try:
            ahead = self._sock.recv(READ_BYTES, MSG_PEEK)
            return dialect.detect(self._head + ahead) == dialect.VARLINK
        except OSError:
            return False  # the read that follows tells

    def _hand_over(self, data: bytes) -> None:
        assert self._take_over is not None
        self._stop_timer()
        self._sock = _GONE
        self._closed(self)
        self._take_over(self._fast, data)

    def _too_slow(self) -> None:
        if self._timer is not None and is_late(self._loop, self._timer):
            self._timer = self._loop.call_later(REPLY_TIMEOUT_S, self._too_slow)
        elif self._out:  # the client does not take its reply
            self.close()
        else:
            self.refuse(text.TIMEOUT)

    def _execute(self, command: TextCommand) -> None:
        self._stop_timer()
        reply = self._answer(command, self.peer)
        if isinstance(reply, TextReply):
            self._send(reply)
        else:
            # The task is kept: the loop itself holds tasks only weakly.
            self._task = self._loop.create_task(self._answer_later(reply))

    async def _answer_later(self, reply: Awaitable[TextReply]) -> None:
        try:
            answer = await reply
        except BaseException:
            self.close()  # cancelled: the client is not left to wait for nothing
            raise
        self._send(answer)

    def _send(self, reply: TextReply) -> None:
        if self._sock.fileno() < 0:
            return
        self._stop_timer()
        self._out = encoded(reply)
        self._write()

    def _write(self) -> None:
        try:
            sent = self._sock.send(self._out)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        self._out = self._out[sent:]
        if not self._out:
            self._finish()
        elif self._timer is None:
            self._timer = self._loop.call_later(REPLY_TIMEOUT_S, self._too_slow)
            self._loop.add_writer(self._sock.fileno(), self._write)

    def _finish(self) -> None:
        finish(self._sock)
        self.close()


def finish(sock: Socket) -> None:
    """Make the coming close a clean end for the peer.

    A socket closed with unread bytes resets the connection, which a client that sent more than
    one line would see as an error.  Bytes that have come by now are read and dropped, up to a bound.
    """
    try:
        sock.shutdown(SHUT_WR)
        for _ in range(16):
            if not sock.recv(READ_BYTES):
                return
    except OSError:
        return  # nothing more has come, or the peer is gone
