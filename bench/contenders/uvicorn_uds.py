"""uvicorn over a Unix socket (httptools, uvloop), asked by http.client: HTTP with keep-alive, JSON."""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable
from http.client import HTTPConnection
from typing import Any

from question import answer

_HEADERS = [(b"content-type", b"application/json")]


def serve(path: str) -> None:
    """Answer, for ever."""
    import uvicorn

    uvicorn.run(
        _app,
        uds=path,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_level="error",
        backlog=4096,
    )


async def _app(
    scope: dict[str, Any], _receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    assert scope["path"] == "/status"
    body = json.dumps(answer()).encode()
    headers = [*_HEADERS, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Client(HTTPConnection):
    """One connection."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        """Connect to the Unix socket, where the base class would take TCP."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)

    def call(self) -> object:
        """Ask, and wait for the answer."""
        self.request("GET", "/status")
        return json.loads(self.getresponse().read())
