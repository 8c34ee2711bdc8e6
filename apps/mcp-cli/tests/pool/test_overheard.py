"""Answers over HTTP, to the byte: the events of a stream however they are cut, and a server that is asked."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mcp_cli.pool.overheard import Events, Overheard
from mcp_cli.pool.service import ServerPool
from mcp_cli.protocol import interfaces as api

STREAM = b": hello\nevent: message\ndata: one\n\ndata:two\r\ndata: more\r\rid: 7\r\n\r\ndata\n\ndata: cut"


@pytest.mark.parametrize("size", range(1, len(STREAM) + 1))
def test_events_come_whole_however_a_stream_is_cut(size: int) -> None:
    told: list[bytes] = []
    events = Events(told.append)
    for at in range(0, len(STREAM), size):
        events.feed(STREAM[at : at + size])
    events.end()
    assert told == [b"one", b"two\nmore", b""]


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (b'{"id":1,"result":{"x":1e2}}', b'{"id":1,"result":{"x":1e2}}'),
        (b'{"id":"1","result":\r\n{}}', b'{"id":"1","result":  {}}'),
        (b'{"id":2,"result":{}}', None),
        (b'{"id":1,"error":{}}', None),
        (b'{"id":1,"params":{"result":1}}', None),
        (b'{"id":1,"result":NaN}', None),
    ],
)
def test_an_answer_is_kept_where_somebody_waits_for_it_and_taken_once(
    line: bytes, kept: bytes | None
) -> None:
    overheard = Overheard()
    overheard.expected = (1).__eq__
    overheard.keep(line)
    assert overheard.take(1) == kept
    assert overheard.take(1) is None


class Odd(BaseHTTPRequestHandler):
    """An MCP server over HTTP that answers a tool's call as the tool's name says."""

    RESULT = (
        r'{"content":[{"type":"text","text":"\u00e9"}],"z":1.0,"a":1e2,"big":123456789012345678901234567890}'
    )
    TOOLS = ("json", "events", "lines", "packed", "torn")

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
        line = f'{{"jsonrpc":"2.0","id":{json.dumps(number)},"result":{self.RESULT}}}'
        if tool == "json":
            self._send(200, "application/json; charset=utf-8", line.encode())
        elif tool == "events":
            self._send(200, "text/event-stream", f"event: message\r\ndata: {line}\r\n\r\n".encode())
        elif tool == "lines":
            self._send(200, "application/json", line.replace(",", ",\n").encode())
        elif tool == "packed":
            self._send(200, "application/json", gzip.compress(line.encode()), "gzip")
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
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._send(405, "", b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
        pass


@pytest.fixture
def url() -> Iterator[str]:
    site = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    thread = threading.Thread(target=site.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{site.server_port}/mcp"
    site.shutdown()
    thread.join()
    site.server_close()


def called(url: str, tool: str) -> api.Event:
    async def work() -> api.Event:
        pool = ServerPool()
        try:
            await pool.configure([api.Server(name="odd", fingerprint="1", kind="http", url=url)])
            return [event async for event in pool.call("odd", "1", tool, timeout_s=20)][-1]
        finally:
            await pool.close()

    return asyncio.run(work())


@pytest.mark.parametrize("tool", ["json", "events"])
def test_a_result_over_http_is_passed_on_to_the_byte(url: str, tool: str) -> None:
    event = called(url, tool)
    assert event.result == Odd.RESULT
    assert event.text == "é"


def test_a_result_on_several_lines_is_put_on_one(url: str) -> None:
    assert called(url, "lines").result == Odd.RESULT.replace(",", ", ")


def test_a_result_that_is_compressed_unasked_is_taken_from_its_values(url: str) -> None:
    event = called(url, "packed")
    assert json.loads(event.result) == json.loads(Odd.RESULT)


def test_an_answer_that_is_no_json_is_an_unknown_outcome(url: str) -> None:
    """The tool has run: that its answer is torn must not read as its refusal."""
    with pytest.raises(api.MaybeRan) as raised:
        called(url, "torn")
    assert raised.value.reason == "its answer cannot be understood"
