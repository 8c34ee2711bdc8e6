"""A pool in this process, with fake servers."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mcp_cli.pool.service import ServerPool
from mcp_cli.protocol import interfaces as api

FAKE = str(Path(__file__).parents[1] / "fake_server.py")


class Pools:
    """Makes pools and fake servers, and asks them."""

    FAKE = FAKE
    FORM: ClassVar = {
        "method": "elicitation/create",
        "params": {
            "message": "Who?",
            "requestedSchema": {"type": "object", "properties": {"who": {"type": "string"}}},
        },
    }

    @staticmethod
    def fake(*options: str, name: str = "fake", fingerprint: str = "1", **fields: Any) -> api.Server:
        return api.Server(
            name=name, fingerprint=fingerprint, command=sys.executable, args=[FAKE, *options], **fields
        )

    @staticmethod
    @contextlib.asynccontextmanager
    async def of(*servers: api.Server) -> AsyncIterator[ServerPool]:
        pool = ServerPool()
        await pool.configure(list(servers))
        try:
            yield pool
        finally:
            await pool.close()

    @staticmethod
    async def events_of(
        pool: ServerPool, tool: str, given: dict[str, Any] | None = None, **options: Any
    ) -> list[api.Event]:
        options.setdefault("fingerprint", "1")
        options.setdefault("server", "fake")
        return [event async for event in pool.call(tool=tool, arguments=json.dumps(given or {}), **options)]

    @staticmethod
    def result_of(events: list[api.Event]) -> str:
        assert events[-1].kind == "done"
        return "".join(event.result for event in events if event.kind in ("part", "done"))

    @staticmethod
    async def until(told: Callable[[], Awaitable[bool]], timeout_s: float = 20.0) -> None:
        """Ask again and again until it is so."""
        async with asyncio.timeout(timeout_s):
            while not await told():  # noqa: ASYNC110  # a state is asked for, there is no event
                await asyncio.sleep(0.01)

    @staticmethod
    async def begun(running: AsyncGenerator[api.Event, None]) -> asyncio.Task[list[api.Event]]:
        """Wait until a call is at its server, which tells of progress, and return the rest of it."""
        assert (await anext(running)).kind == "progress"

        async def rest() -> list[api.Event]:
            return [event async for event in running]

        return asyncio.create_task(rest())

    @staticmethod
    async def says(pool: ServerPool, text: str, **options: Any) -> None:
        events = await Pools.events_of(pool, "echo", {"text": text}, **options)
        assert events[-1].text == text

    @staticmethod
    def alive(pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/stat") as file:
                return file.read().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    @staticmethod
    def words_of(pid: int) -> str:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read()


@pytest.fixture
def pools() -> type[Pools]:
    return Pools


STATUSES = (202, 307, 400, 404, 408, 410, 413, 429, 500, 502, 503, 504)


class Odd(BaseHTTPRequestHandler):
    """An MCP server over HTTP that answers a tool's call as the tool's name says."""

    RESULT = (
        r'{"content":[{"type":"text","text":"\u00e9"}],"z":1.0,"a":1e2,"big":123456789012345678901234567890}'
    )
    TOOLS = ("json", "events", "lines", "packed", "torn", "empty", "page", *map(str, STATUSES))

    def do_POST(self) -> None:  # the name that the library asks for
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        number, method = message.get("id"), message["method"]
        if number is None:
            self._send(202, "", b"")
        elif method == "initialize":
            self._answer(
                number,
                json.dumps(
                    {
                        "protocolVersion": message["params"]["protocolVersion"],
                        "capabilities": {"tools": {}},
                        "serverInfo": {"name": "odd", "version": "1"},
                    }
                ),
            )
        elif method == "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in self.TOOLS]
            self._answer(number, json.dumps({"tools": tools}))
        elif method == "tools/call":
            self._call(number, message["params"]["name"])
        else:
            body = {"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "no"}}
            self._send(200, "application/json", json.dumps(body).encode())

    def _call(self, number: Any, tool: str) -> None:
        self.server.called.append(tool)  # type: ignore[attr-defined]
        line = f'{{"jsonrpc":"2.0","id":{json.dumps(number)},"result":{self.RESULT}}}'
        if tool == "json":
            self._send(200, "application/json; charset=utf-8", line.encode())
        elif tool == "events":
            self._send(200, "text/event-stream", f"event: message\r\ndata: {line}\r\n\r\n".encode())
        elif tool == "lines":
            self._send(200, "application/json", line.replace(",", ",\n").encode())
        elif tool == "packed":
            self._send(200, "application/json", gzip.compress(line.encode()), "gzip")
        elif tool == "page":
            self._send(200, "text/html", b"<html>")
        elif tool == "empty":
            self._send(200, "application/json", b"")
        elif tool.isdigit():
            self._send(int(tool), "", b"no \x1b[31m")
        else:
            self._send(200, "application/json", line[:-1].encode())

    def _answer(self, number: Any, result: str) -> None:
        line = f'{{"jsonrpc":"2.0","id":{json.dumps(number)},"result":{result}}}'
        self._send(200, "application/json", line.encode())

    def _send(self, code: int, kind: str, body: bytes, coding: str = "") -> None:
        self.send_response(code)
        if kind:
            self.send_header("content-type", kind)
        if coding:
            self.send_header("content-encoding", coding)
        if code == 307:
            self.send_header("location", "http://127.0.0.1:1/elsewhere")
        self.send_header("content-length", str(len(body)))
        self.send_header("mcp-session-id", "1")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._send(405, "", b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
        pass


class OddSite:
    """Asks a server of `Odd`'s kind.

    Attributes:
        calls: the tools that it was asked for.
    """

    RESULT = Odd.RESULT

    def __init__(self, url: str, calls: list[str]) -> None:
        self._url = url
        self.calls = calls

    def called(self, tool: str) -> api.Event:
        async def work() -> api.Event:
            async with Pools.of(api.Server(name="odd", fingerprint="1", kind="http", url=self._url)) as pool:
                return [event async for event in pool.call("odd", "1", tool, timeout_s=20)][-1]

        return asyncio.run(work())


@pytest.fixture
def odd() -> Iterator[OddSite]:
    site = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    site.called = calls = []  # type: ignore[attr-defined, var-annotated]
    thread = threading.Thread(target=site.serve_forever)
    thread.start()
    yield OddSite(f"http://127.0.0.1:{site.server_port}/mcp", calls)
    site.shutdown()
    thread.join()
    site.server_close()
