"""A Unix socket and a thread for each connection: what the contenders without a server of their own use."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable


class Connection(socket.socket):
    """A connected Unix socket."""

    def __init__(self, path: str = "", fd: int | None = None) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)
        if path:
            self.connect(path)


def serve_in_threads(path: str, converse: Callable[[Connection], None]) -> None:
    """Listen at `path` for ever."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(4096)

    def begin(connection: Connection) -> None:
        with connection:
            converse(connection)

    while True:
        accepted, _ = listener.accept()
        threading.Thread(target=begin, args=(Connection(fd=accepted.detach()),), daemon=True).start()
