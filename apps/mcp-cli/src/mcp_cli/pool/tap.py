"""Whose answer is this?  What passes between the SDK and a server, seen from beside.

Owns the pairing of requests with the bytes of their answers: the SDK gives its callers values, and ours
get the text that the server sent.  A request is known as somebody's by the context
in which it is written: a caller sets `asking`, and finds the answer in it.

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
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from mcp_cli.pool import mending
from mcp_cli.pool.http.overheard import Overheard, request_key
from mcp_cli.pool.results import brief
from mcp_cli.pool.stdio import MAX_MESSAGE_BYTES, StdioProcess


class Answer:
    """What came back for one request.

    Args:
        method: of the request: the SDK may make others on its own in the same context.

    Attributes:
        method: as given.
        written: whether the request was given to the transport.
        raw: the result's JSON; None as long as there is none.
        refused: whether the server answered with an error.
        broken: why its answer cannot be understood; "" if it can.
        key: the request's id, as the SDK pairs them; None before it is written.
    """

    __slots__ = ("broken", "key", "method", "raw", "refused", "written")

    def __init__(self, method: str = "") -> None:
        self.method = method
        self.written = False
        self.raw: bytes | None = None
        self.refused = False
        self.broken = ""
        self.key: Any = None


asking: ContextVar[Answer | None] = ContextVar("asking", default=None)


class _Envelope(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"")


_envelope = msgspec.json.Decoder(_Envelope)


class MessageTap:
    """One connection, seen from beside.

    Args:
        on_note: called with oddities of the server's messages, for people.
        offer: the revision that a handshake offers; "" for the SDK's newest.

    Attributes:
        closed: set when nothing more will come.
        outstanding: the answers that are waited for, by request id.
        discovering: whether the one thing that was asked is `server/discover`.
        broke: the error that ended the connection, where it came from the stream.
        gave_up: why nothing more is read, where that was decided here; "" otherwise.
        heard_at: when the last message came, on the loop's clock.
    """

    MOST_NOTES = 5
    # In a row: a server that prints so much does not speak the protocol.  One that starts by printing a
    # page or two for people does.
    MOST_GARBAGE = 10_000

    def __init__(self, on_note: Any, offer: str = "") -> None:
        self._offer = offer
        self._streams: set[Any] = set()
        self.closed = asyncio.Event()
        self.outstanding: dict[Any, Answer] = {}
        self.discovering = False
        self.heard_at = asyncio.get_running_loop().time()
        self.broke: Exception | None = None
        self.gave_up = ""
        self._garbage = 0
        self._asked = 0
        self._last_id = 0
        self._on_note = on_note
        self._notes = 0

    def sent(self, message: SessionMessage) -> None:
        """Note a message that is about to be written."""
        request = message.message
        if isinstance(request, JSONRPCRequest):
            self._asked += 1
            if self._offer and request.method == "initialize" and request.params is not None:
                request.params["protocolVersion"] = self._offer
            self.discovering = self._asked == 1 and request.method == "server/discover"
            if isinstance(request.id, int):
                self._last_id = max(self._last_id, request.id)
            if request.method == "subscriptions/listen":
                # Its answer is the end of a stream: nobody waits for it, and no stray answer is meant by it.
                self._streams.add(request_key(request.id))
                return
            answer = asking.get()
            if answer is not None and answer.method != request.method:
                answer = None
            if answer is not None:
                answer.written, answer.key = True, request_key(request.id)
            self.outstanding[request_key(request.id)] = answer or Answer()
        elif isinstance(request, JSONRPCNotification) and request.method == "notifications/cancelled":
            ended = request_key((request.params or {}).get("requestId"))
            self.outstanding.pop(ended, None)

    def received(self, message: SessionMessage, line: bytes | None) -> None:
        """Take note of what came; `line` is its text, where that is known.

        Raises:
            ValueError: the text is not JSON, which the SDK does not always mind; nothing was noted.
        """
        reply = message.message
        exact = None
        if line is not None and isinstance(reply, JSONRPCResponse):
            exact = bytes(_envelope.decode(line).result)
        self.heard_at = asyncio.get_running_loop().time()
        self._garbage = 0
        if not isinstance(reply, JSONRPCResponse | JSONRPCError):
            return
        if request_key(reply.id) in self._streams:
            return
        answer = self.outstanding.pop(request_key(reply.id), None)
        if answer is None:
            if not (isinstance(request_key(reply.id), int) and 0 < request_key(reply.id) <= self._last_id):
                self._stray(reply.id)
        elif isinstance(reply, JSONRPCError):
            answer.refused = True
        else:
            answer.raw = msgspec.json.encode(reply.result) if exact is None else exact

    def not_understood(self, line: bytes, problem: str) -> SessionMessage | None:
        """Note a line that is not a message, and return the SDK's message about it; None for nothing."""
        asked = self._meant(line) if mending.is_answer(line) else None
        if asked is None:
            self._garbage += 1
            if self._garbage > self.MOST_GARBAGE:
                self.give_up(f"wrote {self.MOST_GARBAGE} lines on stdout that are not messages")
            self.note(
                f"wrote a line on stdout that is not a message: {brief(line.decode('utf-8', 'replace'))!r}"
            )
            return None
        # Not with its text, which is a result.
        self.outstanding.pop(asked).broken = f"its answer cannot be understood: {problem}"
        return SessionMessage(
            JSONRPCError(jsonrpc="2.0", id=asked, error=ErrorData(code=PARSE_ERROR, message=problem))
        )

    def _meant(self, line: bytes) -> Any:
        """Return the id of the request that a line was to answer; None if there is doubt."""
        found = mending.likely_id(line)
        if found in self.outstanding:
            return found
        return next(iter(self.outstanding)) if found is None and len(self.outstanding) == 1 else None

    def give_up(self, reason: str) -> None:
        """Have nothing more read."""
        self.gave_up = self.gave_up or reason
        self.closed.set()

    def note(self, text: str) -> None:
        """Tell of something odd, unless that was done often enough."""
        self._notes += 1
        if self._notes <= self.MOST_NOTES:
            self._on_note(
                text + (" (further ones are not reported)" if self._notes == self.MOST_NOTES else "")
            )

    def _stray(self, request_id: Any) -> None:
        self.note(f"answered a request that was never made (id {brief(request_id)!r})")
        # With one request under way there is no doubt which one was meant: its own answer will not come.
        if len(self.outstanding) == 1:
            self.give_up("answered a request that was never made")


def _problem(error: Exception) -> str:
    """Return why a line is not a message, without any of its text."""
    if isinstance(error, ValidationError):
        for one in error.errors(include_url=False, include_input=False):
            # pydantic has tried a union of four kinds of message; this one is an answer with a result.
            if one["type"] == "json_invalid" or one["loc"][:1] == ("JSONRPCResponse",):
                return brief(": ".join((*map(str, one["loc"][1:]), one["msg"])))
    return "it is not a JSON-RPC message"


class _Stream:
    async def aclose(self) -> None:
        """Close nothing: the transport closes the streams that it opened."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class _Reads(_Stream):
    """A read stream of the SDK's kind."""

    def __init__(self, tap: MessageTap, messages: AsyncIterator[SessionMessage | Exception]) -> None:
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

    def __init__(self, tap: MessageTap, send: Any) -> None:
        self._tap = tap
        self._send = send

    async def send(self, item: SessionMessage, /) -> None:
        self._tap.sent(item)
        await self._send(item)


class StdioStreams:
    """The streams of a process, as a transport of the SDK's kind.  The process is started by who owns it."""

    def __init__(self, process: StdioProcess, tap: MessageTap) -> None:
        self._process = process
        self._tap = tap

    async def _messages(self) -> AsyncIterator[SessionMessage]:
        while not self._tap.gave_up and (line := await self._process.receive()) is not None:
            message = self._understood(line)
            del line  # a large one would be kept until the next comes
            if message is not None:
                yield message
            del message
        if self._process.endless:
            self._tap.give_up(f"wrote {MAX_MESSAGE_BYTES >> 20} MiB on stdout without the end of a line")

    def _understood(self, line: bytes) -> SessionMessage | None:
        try:
            return self._read(line)
        except ValueError as error:
            problem = _problem(error)
        better, fault = mending.mended(line)
        if fault:
            with contextlib.suppress(ValueError):
                message = self._read(better)
                self._tap.note(f"sent {fault}, which was replaced")
                return message
        return self._tap.not_understood(line, problem)

    def _read(self, line: bytes) -> SessionMessage:
        message = SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
        self._tap.received(message, line)
        return message

    async def _send(self, item: SessionMessage) -> None:
        line = item.message.model_dump_json(by_alias=True, exclude_unset=True).encode()
        try:
            await self._process.send(line)
        except BrokenPipeError:
            # The end of its output reports its end, with the reason.
            self._tap.note("does not read its input any more")

    async def __aenter__(self) -> tuple[_Reads, _Writes]:
        return _Reads(self._tap, self._messages()), _Writes(self._tap, self._send)

    async def __aexit__(self, *exc: object) -> None:
        return None


class HttpStreams:
    """The streams of one of the SDK's HTTP transports, seen by a tap."""

    def __init__(self, transport: Any, tap: MessageTap) -> None:
        self._transport = transport
        self._tap = tap
        self._overheard: Overheard = transport.overheard
        self._overheard.expected = tap.outstanding.__contains__

    async def _messages(self, inner: Any) -> AsyncIterator[SessionMessage | Exception]:
        async for item in inner:
            if isinstance(item, httpx2.HTTPError):
                # The stream has broken: answers to later requests have no way back.
                self._tap.broke = item
                return
            if isinstance(item, Exception):
                self._tap.note(f"sent a message that cannot be understood: {brief(item)}")
                continue
            message = item.message
            answered = isinstance(message, JSONRPCResponse | JSONRPCError)
            self._tap.received(item, self._overheard.take(message.id) if answered else None)
            yield item

    async def __aenter__(self) -> tuple[_Reads, _Writes]:
        reads, writes = await self._transport.__aenter__()
        return _Reads(self._tap, self._messages(reads)), _Writes(self._tap, writes.send)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        left: bool | None = await self._transport.__aexit__(kind, error, trace)
        return left
