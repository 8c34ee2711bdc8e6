"""pyzmq: a ROUTER that answers in one thread, REQ sockets that ask, JSON by their own helpers."""

from __future__ import annotations

import zmq
import zmq.utils.jsonapi as json
from question import answer

_context: zmq.Context | None = None


def serve(path: str) -> None:
    """Answer, for ever."""
    server = zmq.Context().socket(zmq.ROUTER)
    server.bind(f"ipc://{path}")
    while True:
        who, empty, asked = server.recv_multipart()
        assert json.loads(asked)["method"] == "status"
        server.send_multipart((who, empty, json.dumps(answer())))


class Client:
    """One socket; a context belongs to a process."""

    def __init__(self, path: str) -> None:
        global _context  # noqa: PLW0603
        _context = _context or zmq.Context()
        self._socket = _context.socket(zmq.REQ)
        self._socket.connect(f"ipc://{path}")

    def call(self) -> object:
        """Ask, and wait for the answer."""
        self._socket.send_json({"method": "status"})
        return self._socket.recv_json()

    def close(self) -> None:
        """End the connection."""
        self._socket.close(linger=0)
