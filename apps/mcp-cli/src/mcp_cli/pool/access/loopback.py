"""The end of an OAuth flow: a listener on loopback to which the browser is sent back.

Owns one socket and one answer.  It is read with care: any page that the browser shows may send it requests.
"""

from __future__ import annotations

import asyncio
from typing import Self
from urllib.parse import parse_qs, urlsplit

MAX_REQUEST_BYTES = 1 << 14
READ_S = 5.0
_PAGE = (
    "<!doctype html><meta charset=utf-8><title>mcp-cli</title><p style='font-family:sans-serif;margin:3em'>{}"
)


class AccessRefused(Exception):
    """The authorization server sent the browser back with an error; its text says which."""


class Loopback:
    """Waits for the browser.

    Args:
        port: of 127.0.0.1; 0 for any.

    Attributes:
        uri: where the browser is to be sent.
    """

    PATH = "/callback"

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self.uri = ""
        self._came: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._connection, "127.0.0.1", self._port, limit=MAX_REQUEST_BYTES
        )
        port = self._server.sockets[0].getsockname()[1]
        self.uri = f"http://127.0.0.1:{port}{self.PATH}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def wait(self) -> dict[str, str]:
        """Return the parameters that the browser brought.

        Raises:
            AccessRefused: they are an error.
        """
        came = await asyncio.shield(self._came)
        if "error" in came:
            raise AccessRefused(came.get("error_description") or came["error"])
        return came

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(READ_S):
                head = await reader.readuntil(b"\r\n\r\n")
            status, text = self._request(head.split(b"\r\n", 1)[0].decode("latin-1"))
            body = _PAGE.format(text).encode()
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    def _request(self, line: str) -> tuple[str, str]:
        words = line.split(" ")
        if len(words) != 3 or words[0] != "GET":
            return "405 Method Not Allowed", "Only GET is answered here."
        parts = urlsplit(words[1])
        fields = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path != self.PATH or not ("code" in fields or "error" in fields):
            return "404 Not Found", "There is nothing here."
        if not self._came.done():
            self._came.set_result(fields)
        if "error" in fields:
            return "200 OK", "Access was not granted. You can close this window."
        return "200 OK", "mcp-cli goes on in the terminal. You can close this window."
