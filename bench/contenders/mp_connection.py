"""multiprocessing.connection: pickles over a Unix socket, a thread for each connection."""

from __future__ import annotations

import threading
from multiprocessing import connection

from question import NUMBERS, ROWS, answer


def serve(path: str) -> None:
    """Answer whoever connects, for ever."""
    listener = connection.Listener(path, "AF_UNIX", backlog=4096)
    while True:
        threading.Thread(target=_converse, args=(listener.accept(),), daemon=True).start()


def _converse(peer: connection.Connection) -> None:
    with peer:
        while True:
            try:
                asked = peer.recv()
            except EOFError:
                return
            if asked == "status":
                peer.send(answer())
            elif asked[0] == "echo":
                peer.send(asked[1])
            else:
                peer.send([answer() for _ in range(asked[1])])


class Client:
    """One connection."""

    def __init__(self, path: str) -> None:
        self._peer = connection.Client(path, "AF_UNIX")

    def call(self) -> object:
        """Ask, and wait for the answer."""
        self._peer.send("status")
        return self._peer.recv()

    def close(self) -> None:
        """End the connection."""
        self._peer.close()


class _Shape(Client):
    """Asks for something else than the status."""

    asked: tuple[str, object]

    def call(self) -> object:
        """Ask, and wait for the answer."""
        self._peer.send(self.asked)
        return self._peer.recv()

    def check(self, reply: object) -> bool:
        """Whether a reply is the right one."""
        what, given = self.asked
        return reply == given if what == "echo" else reply == [answer()] * ROWS


class Rows(_Shape):
    """A list of answers."""

    asked = ("rows", ROWS)


class Kib1(_Shape):
    """1 KiB of text, there and back."""

    asked = ("echo", "x" * (1 << 10))


class Kib64(_Shape):
    """64 KiB of text, there and back."""

    asked = ("echo", "x" * (64 << 10))


class Mib1(_Shape):
    """1 MiB of text, there and back."""

    asked = ("echo", "x" * (1 << 20))


class Numbers(_Shape):
    """10,000 integers, there and back."""

    asked = ("echo", list(range(NUMBERS)))
