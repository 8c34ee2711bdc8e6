"""A response that goes on: server-sent events, until the client has gone or the daemon ends.

Owns the pump from an iterator of pieces to a client, and the last word when the daemon ends.  How long a
client may take to read is `guard`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from daemonry import strict_json
from daemonry.http.problems import of_error
from daemonry.http.protocol import CONNECTION

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from daemonry.http.connection import HttpConnection

MEDIA_TYPE: Final = "text/event-stream"
# Browsers come again after that long.
_RETRY_MS: Final = 1000
_PIECES_PER_TURN: Final = 64


def framed(event: str, data: str) -> str:
    """Return one event without a number; `data` is on one line."""
    return f"event: {event}\ndata: {data}\n\n"


class EventStream(Response):
    """The response.

    Args:
        pieces: yields text in the form of server-sent events; closed at the end.
    """

    media_type = MEDIA_TYPE

    def __init__(self, pieces: AsyncIterator[str]) -> None:
        super().__init__()
        self._pieces = pieces
        self.raw_headers: list[tuple[bytes, bytes]] = [
            (name, value)
            for name, value in self.raw_headers
            if name not in (b"content-length", b"content-type")
        ]
        self.headers["content-type"] = MEDIA_TYPE
        self.headers["x-accel-buffering"] = "no"  # a proxy is to pass events on at once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        connection: HttpConnection = scope[CONNECTION]
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        pump = asyncio.create_task(self._pump(send))
        gone = asyncio.create_task(until_gone(receive))
        connection.stream(pump)
        try:
            await asyncio.wait((pump, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            pump.cancel()
            gone.cancel()
            await asyncio.wait((pump, gone))
        last = b""
        if connection.ending is not None:
            problem = of_error(connection.ending.error, connection.ending.parameters)
            last = framed("end", strict_json.encode(problem.members())).encode("utf-8")
        elif not pump.cancelled() and pump.exception() is not None:
            raise pump.exception() or RuntimeError
        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _pump(self, send: Send) -> None:
        try:
            await _send(send, f"retry: {_RETRY_MS}\n\n")
            count = 0
            async for piece in self._pieces:
                count += 1
                if piece:
                    await _send(send, piece)
                if count % _PIECES_PER_TURN == 0:
                    await asyncio.sleep(0)  # a quick stream leaves time for the others
        finally:
            aclose = getattr(self._pieces, "aclose", None)
            if aclose is not None:
                await aclose()


async def _send(send: Send, piece: str) -> None:
    await send({"type": "http.response.body", "body": piece.encode("utf-8"), "more_body": True})


async def until_gone(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
