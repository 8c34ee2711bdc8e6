"""Whose answer is this?  What passes between the SDK and a server, seen from beside.

Owns the pairing of requests with the bytes of their answers: the SDK gives its callers values, and what is
passed on to ours is the text that the server sent.  A request is known as somebody's by the context
in which it is written: who asks sets `asking`, and finds the answer in it.

Knows of no process and no HTTP: it wraps the two streams of a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

import httpx2
import msgspec
from mcp.shared.message import SessionMessage
from mcp_types import (
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)

from mcp_cli.pool.results import brief
from mcp_cli.pool.stdio import Process


class Answer:
    """What came back for one request.

    Args:
        method: of the request: the SDK may make others on its own in the same context.

    Attributes:
        method: as given.
        written: whether the request was given to the transport.
        raw: the result's JSON; None as long as there is none.
        refused: whether the server answered with an error.
    """

    __slots__ = ("method", "raw", "refused", "written")

    def __init__(self, method: str = "") -> None:
        self.method = method
        self.written = False
        self.raw: bytes | None = None
        self.refused = False


asking: ContextVar[Answer | None] = ContextVar("asking", default=None)


class _Envelope(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"")


_envelope = msgspec.json.Decoder(_Envelope)


class Tap:
    """One connection, seen from beside.

    Args:
        on_note: is told, for people, what is odd about what the server sends.

    Attributes:
        closed: set when nothing more will come.
        outstanding: the answers that are waited for, by request id.
        discovering: whether the one thing that was asked is `server/discover`.
        broke: the error that ended the connection, where it came from the stream.
        heard_at: when the last message came, on the loop's clock.
    """

    MOST_NOTES = 5

    def __init__(self, on_note: Any) -> None:
        self.closed = asyncio.Event()
        self.outstanding: dict[Any, Answer] = {}
        self.discovering = False
        self.heard_at = asyncio.get_running_loop().time()
        self.broke: Exception | None = None
        self._asked = 0
        self._last_id = 0
        self._on_note = on_note
        self._notes = 0

    def sent(self, message: SessionMessage) -> None:
        """Take note of what is about to be written."""
        request = message.message
        if isinstance(request, JSONRPCRequest):
            self._asked += 1
            self.discovering = self._asked == 1 and request.method == "server/discover"
            if isinstance(request.id, int):
                self._last_id = max(self._last_id, request.id)
            answer = asking.get()
            if answer is not None and answer.method != request.method:
                answer = None
            if answer is not None:
                answer.written = True
            self.outstanding[_key(request.id)] = answer or Answer()
        elif isinstance(request, JSONRPCNotification) and request.method == "notifications/cancelled":
            self.outstanding.pop(_key((request.params or {}).get("requestId")), None)

    def received(self, message: SessionMessage, line: bytes | None) -> None:
        """Take note of what came; `line` is its text, where that is known."""
        self.heard_at = asyncio.get_running_loop().time()
        reply = message.message
        if not isinstance(reply, JSONRPCResponse | JSONRPCError):
            return
        answer = self.outstanding.pop(_key(reply.id), None)
        if answer is None:
            if not (isinstance(_key(reply.id), int) and 0 < _key(reply.id) <= self._last_id):
                self._stray(reply.id)
        elif isinstance(reply, JSONRPCError):
            answer.refused = True
        elif line is None:
            answer.raw = msgspec.json.encode(reply.result)
        else:
            answer.raw = bytes(_envelope.decode(line).result)

    def garbage(self, line: bytes) -> None:
        """Take note of a line that is no message."""
        self.note(f"wrote what is no message on stdout: {brief(line.decode('utf-8', 'replace'))!r}")

    def note(self, text: str) -> None:
        """Tell of something odd, unless that was done often enough."""
        self._notes += 1
        if self._notes <= self.MOST_NOTES:
            self._on_note(text + (" (more of that is not told)" if self._notes == self.MOST_NOTES else ""))

    def _stray(self, request_id: Any) -> None:
        self.note(f"answered a request that was never made (id {brief(request_id)!r})")
        # With one request under way there is no doubt which one was meant: its own answer will not come.
        if len(self.outstanding) == 1:
            self.closed.set()


def _key(request_id: Any) -> Any:
    # As the SDK pairs them: an id that comes back as text is the number.
    if isinstance(request_id, str):
        with contextlib.suppress(ValueError):
            return int(request_id)
    return request_id


class _Stream:
    async def aclose(self) -> None:
        """Close nothing: the transport closes what it opened."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class _Reads(_Stream):
    """A read stream of the SDK's kind."""

    def __init__(self, tap: Tap, messages: AsyncIterator[SessionMessage | Exception]) -> None:
        self._tap = tap
        self._messages = messages

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await anext(self._messages)
        except StopAsyncIteration:
            self._tap.closed.set()
            raise

    async def receive(self) -> SessionMessage | Exception:
        return await self.__anext__()


class _Writes(_Stream):
    """A write stream of the SDK's kind."""

    def __init__(self, tap: Tap, send: Any) -> None:
        self._tap = tap
        self._send = send

    async def send(self, item: SessionMessage, /) -> None:
        self._tap.sent(item)
        await self._send(item)


class StdioStreams:
    """The streams of a process, as a transport of the SDK's kind.  The process is started by who owns it."""

    def __init__(self, process: Process, tap: Tap) -> None:
        self._process = process
        self._tap = tap

    async def _messages(self) -> AsyncIterator[SessionMessage]:
        while (line := await self._process.receive()) is not None:
            try:
                message = SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
            except ValueError:
                self._tap.garbage(line)
                continue
            self._tap.received(message, line)
            yield message

    async def _send(self, item: SessionMessage) -> None:
        line = item.message.model_dump_json(by_alias=True, exclude_unset=True).encode()
        try:
            await self._process.send(line)
        except BrokenPipeError:
            # Its end is told by the end of its output, with the reason.
            self._tap.note("does not read its input any more")

    async def __aenter__(self) -> tuple[_Reads, _Writes]:
        return _Reads(self._tap, self._messages()), _Writes(self._tap, self._send)

    async def __aexit__(self, *exc: object) -> None:
        return None


class HttpStreams:
    """The streams of one of the SDK's HTTP transports, seen by a tap."""

    def __init__(self, transport: Any, tap: Tap) -> None:
        self._transport = transport
        self._tap = tap

    async def _messages(self, inner: Any) -> AsyncIterator[SessionMessage | Exception]:
        async for item in inner:
            if isinstance(item, httpx2.HTTPError):
                # The stream has broken: what is asked from now on has no way back.
                self._tap.broke = item
                return
            if isinstance(item, Exception):
                self._tap.note(f"sent what cannot be understood: {brief(item)}")
                continue
            self._tap.received(item, None)
            yield item

    async def __aenter__(self) -> tuple[_Reads, _Writes]:
        reads, writes = await self._transport.__aenter__()
        return _Reads(self._tap, self._messages(reads)), _Writes(self._tap, writes.send)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        left: bool | None = await self._transport.__aexit__(kind, error, trace)
        return left
