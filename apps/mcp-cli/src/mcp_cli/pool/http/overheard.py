"""What a server over HTTP says, heard on its way to the SDK.

Owns the text of answers by the id of their request: the SDK gives values, which do not tell `1e2` from
`100.0`, and a result is passed on as the server sent it.  An answer that is not found here, or is not JSON,
is taken from the SDK's values.

Knows of a response its stream and its content type, and no session.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import httpx2
import msgspec

_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_BREAKS: Final = bytes.maketrans(b"\r\n", b"  ")


class _Heading(msgspec.Struct):
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw(b"")


_heading = msgspec.json.Decoder(_Heading)


def request_key(request_id: Any) -> Any:
    """Return an id as the SDK pairs them: one that comes back as text is the number."""
    if isinstance(request_id, str):
        with contextlib.suppress(ValueError):
            return int(request_id)
    return request_id


def id_of(message: bytes) -> Any:
    """Return a message's id as the SDK pairs them; None where it has none, or is not JSON."""
    try:
        return request_key(_heading.decode(message).id)
    except ValueError:
        return None


class Overheard:
    """The answers of one connection that have come and were not taken.

    Attributes:
        expected: whether somebody waits for an id; nothing else is kept.
    """

    def __init__(self) -> None:
        self.expected: Callable[[Any], bool] = lambda _: False
        self._lines: dict[Any, bytes] = {}

    async def hear(self, response: httpx2.Response) -> None:
        """Listen to a response's body, as a hook of the HTTP client before anybody reads it."""
        if response.headers.get("content-encoding", "identity") != "identity":
            return  # not asked for, and not readable here
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in (_JSON, _EVENTS) and isinstance(response.stream, httpx2.AsyncByteStream):
            heard = Events(self.keep) if kind == _EVENTS else _Whole(self.keep)
            response.stream = _OverheardStream(response.stream, heard)

    def keep(self, line: bytes) -> None:
        """Keep a message, if it is an answer that somebody waits for."""
        if b'"result"' not in line:
            return
        try:
            heading = _heading.decode(line)
        except ValueError:
            return
        key = request_key(heading.id)
        if heading.result and self.expected(key):
            # Between words JSON may have line breaks, and a result is one line.
            self._lines[key] = line.translate(_BREAKS)

    def take(self, request_id: Any) -> bytes | None:
        """Return the text of an answer, once."""
        return self._lines.pop(request_key(request_id), None)


class _Whole:
    """A body that is one message."""

    def __init__(self, on_message: Callable[[bytes], None]) -> None:
        self._on_message = on_message
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> None:
        self._parts.append(data)

    def end(self) -> None:
        self._on_message(b"".join(self._parts))


class Events:
    """A body of server-sent events, each of whose data is a message.

    Lines end with CR, LF or both, `data` may have several, and an empty line ends an event, as the HTML
    standard has it.  An event that the end of the body cuts off does not count.

    Args:
        on_message: is given each event's data.
    """

    def __init__(self, on_message: Callable[[bytes], None]) -> None:
        self._on_message = on_message
        self._parts: list[bytes] = []
        self._data: list[bytes] = []
        self._after_cr = False

    def feed(self, data: bytes) -> None:
        """Take a piece of the body."""
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if data.endswith(b"\r"):
            self._after_cr = True  # whose line feed may be in the next piece
        # `splitlines` of bytes knows these three ends and no other.
        for line in data.splitlines(keepends=True):
            text = line.rstrip(b"\r\n")
            self._parts.append(text)
            if text != line:
                self._line(b"".join(self._parts))
                self._parts.clear()

    def end(self) -> None:
        """Take note of the end of the body."""

    def _line(self, line: bytes) -> None:
        if not line:
            if self._data:
                self._on_message(b"\n".join(self._data))
                self._data.clear()
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))


class _OverheardStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, heard: Events | _Whole) -> None:
        self._stream = stream
        self._heard = heard

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._stream:
            self._heard.feed(data)
            yield data
        self._heard.end()

    async def aclose(self) -> None:
        await self._stream.aclose()
