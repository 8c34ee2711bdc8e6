"""Bare Python sockets that send fixed bytes and look at none: what Python itself costs, and no product."""

from __future__ import annotations

from question import CALL_FRAME, REPLY_FRAME, answer
from threads import Connection, serve_in_threads


def serve(path: str) -> None:
    """Answer whatever comes, a thread for each connection."""

    def converse(connection: Connection) -> None:
        while connection.recv(65536):
            connection.sendall(REPLY_FRAME)

    serve_in_threads(path, converse)


class Client(Connection):
    """One connection."""

    def call(self) -> object:
        """Send the question's bytes and wait for some."""
        self.sendall(CALL_FRAME)
        return answer() if self.recv(65536) else None
