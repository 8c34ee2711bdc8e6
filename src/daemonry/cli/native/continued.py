"""A typed call that the native launcher has sent, and whose answer is not plain: the program goes on with it.

Owns handing the connection to the program as if it had made it.  The call is not sent again: it may have run.

    PROGRAM _continued CONNECTION CAME WORDS

CONNECTION is the descriptor of a connected socket on which the whole call was sent; CAME one of a file with
the bytes that have come since, whose position is their beginning; WORDS are the command line as it was given
to the launcher.  SIGINT is blocked, so that a Ctrl-C while Python starts is seen where the answer is read.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # `signal` costs an enum or two
import os
from _socket import AF_UNIX, SOCK_STREAM
from _socket import socket as Socket

from daemonry.limits import READ_BYTES
from daemonry.transport import connect
from daemonry.transport.stream import Stream
from daemonry.wire.varlink import MAX_FRAME_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class ContinuedStream(Stream):
    """A connection on which the call that is written first was sent already.

    Args:
        sock: the connection.
        early: the bytes that came.
    """

    __slots__ = ("_early", "_is_written")

    def __init__(self, sock: Socket, early: bytes) -> None:
        super().__init__(sock, f"unix:{os.fsdecode(sock.getpeername())}")
        self._early = early
        self._is_written = False

    def write(self, data: bytes, timeout_s: float | None = None) -> None:
        """Send nothing the first time, and then as `Stream.write`."""
        if self._is_written:
            super().write(data, timeout_s)
        self._is_written = True

    def read(self, max_bytes: int = READ_BYTES, timeout_s: float | None = None) -> bytes:
        """As `Stream.read`; the bytes that came are read first."""
        _let_interrupts_in()
        if self._early:
            data, self._early = self._early[:max_bytes], self._early[max_bytes:]
            return data
        return super().read(max_bytes, timeout_s)


def run(arguments: list[str], program: Callable[[list[str]], int]) -> int:
    """Do a program's command with the connection on which its call was sent, and return its exit code.

    Args:
        arguments: the words behind `_continued`.
        program: runs the program's command line.
    """
    if len(arguments) < 2 or not all(one.isascii() and one.isdecimal() for one in arguments[:2]):
        return program(["_continued", *arguments])  # which says that it knows no such command
    connection, came = map(int, arguments[:2])
    os.set_inheritable(connection, False)
    sock = Socket(AF_UNIX, SOCK_STREAM, 0, connection)
    connect.STARTED.append(ContinuedStream(sock, _read(came)))
    try:
        return program(arguments[2:])
    finally:
        _let_interrupts_in()


def _read(fd: int) -> bytes:
    pieces: list[bytes] = []
    while (piece := os.read(fd, READ_BYTES)) and len(pieces) * READ_BYTES <= MAX_FRAME_BYTES:
        pieces.append(piece)
    os.close(fd)
    return b"".join(pieces)


def _let_interrupts_in() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
