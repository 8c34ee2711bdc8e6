"""uvicorn's HTTP/1.1 (h11) on a socket that we accepted, with our bounds on time.

Owns the seam: uvicorn parses, frames and controls the flow; this gives it bytes that were read before,
ends clients that are too slow with their request, and tells the connection what goes on.  No socket is
bound here, and uvicorn's own server is not used.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from daemonry.http.problems import MEDIA_TYPE, Problem
from daemonry.limits import HTTP_HEADER_BYTES, HTTP_IDLE_S, HTTP_REQUEST_S
from daemonry.service.server.lateness import is_late

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send
    from uvicorn.server import ServerState

    from daemonry.http.connection import HttpConnection

logger: logging.Logger = logging.getLogger("daemonry.http")

# Where a request's scope has its connection.
CONNECTION: Final = "daemonry.connection"


def config_of(app: ASGIApp) -> Config:
    """Return uvicorn's settings for an application: it binds nothing and configures no logging."""
    made = Config(
        app,
        loop="none",
        http=H11Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(HTTP_IDLE_S),
        h11_max_incomplete_event_size=HTTP_HEADER_BYTES,
    )
    made.load()
    return made


class Protocol(H11Protocol):
    """HTTP on one connection.

    Args:
        config: uvicorn's settings.
        shared: uvicorn's state, which all connections share.
        connection: the connection as the server knows it.
    """

    def __init__(self, config: Config, shared: ServerState, connection: HttpConnection) -> None:
        super().__init__(config, shared, {})
        self._connection = connection
        self._app: Any = self.app
        self.app: Any = self._serve
        self._slow: asyncio.TimerHandle | None = None
        self.access_log = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the bytes that were read before."""
        super().connection_made(transport)
        self._connection.made(transport, self.shutdown)
        data, self._connection.data = self._connection.data, b""
        self._expect_request()
        if data:
            self.data_received(data)

    def data_received(self, data: bytes) -> None:
        """Take what came; a request that has begun has its time."""
        self._connection.received += len(data)
        if not self._connection.serving:
            self._expect_request()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what runs for the connection."""
        self._request_came()
        super().connection_lost(exc)
        self._connection.lost()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP in the form of all other errors."""
        problem = Problem(400, "The request is not HTTP/1.1, or its header is too long.")
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"connection", b"close")]
        try:
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=problem.body()),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            pass  # a response is under way
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Answer a request for another protocol as if it had not asked (RFC 9110, 7.8)."""

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._request_came()
        connection = self._connection
        connection.serving = True
        scope[CONNECTION] = connection
        try:
            await self._app(scope, receive, send)
        finally:
            connection.serving = connection.is_program = False
            connection.call = ""

    def _expect_request(self) -> None:
        if self._slow is None:
            self._slow = self.loop.call_later(HTTP_REQUEST_S, self._too_slow)

    def _request_came(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _too_slow(self) -> None:
        late = self._slow is not None and is_late(self.loop, self._slow)
        self._slow = None
        if late:  # the loop was stuck, and heard nobody
            self._expect_request()
        elif not self.transport.is_closing():
            logger.info("%s does not finish its request; disconnected", self._connection.where or "a client")
            self.transport.abort()
