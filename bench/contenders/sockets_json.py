"""Bare Python sockets with lines of JSON by the standard library: what one writes in ten minutes."""

from __future__ import annotations

import json
from typing import Any

from question import answer
from threads import Connection, serve_in_threads


def serve(path: str) -> None:
    """Answer lines, a thread for each connection."""

    def converse(connection: Connection) -> None:
        for line in read_lines(connection):
            assert json.loads(line)["method"] == "status"
            connection.sendall(json.dumps(answer()).encode() + b"\n")

    serve_in_threads(path, converse)


def read_lines(connection: Connection) -> Any:
    """Yield whole lines until the peer has ended."""
    rest = b""
    while data := connection.recv(65536):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


class Client(Connection):
    """One connection."""

    def call(self) -> object:
        """Ask, and wait for a line."""
        self.sendall(json.dumps({"method": "status"}).encode() + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            data += self.recv(65536)
        return json.loads(data)
