"""What a result is: its text for people, and the pieces in which it is passed on.

Owns no meaning beyond that: a result's JSON is passed on as the server sent it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

# A frame has at most 16 MiB, and JSON in JSON grows by its quotes and backslashes: at most six times.
PIECE_CHARS = 1 << 20
# Of an error's message, and of its data: more than anybody reads, and it fits into a frame.
MAX_ERROR_CHARS = 1 << 16
# Texts up to this are printed without a look at the JSON; longer texts are taken from the JSON.
MAX_TEXT_CHARS = 1 << 16


class _Block(msgspec.Struct):
    type: str = ""
    text: str = ""
    annotations: msgspec.Raw = msgspec.Raw(b"")


class _ToolResult(msgspec.Struct):
    content: list[_Block] = []
    is_error: bool = msgspec.field(name="isError", default=False)
    structured: msgspec.Raw = msgspec.field(name="structuredContent", default=msgspec.Raw(b""))
    meta: msgspec.Raw = msgspec.field(name="_meta", default=msgspec.Raw(b""))


class Gist(msgspec.Struct):
    """What a tool's result comes to.

    Attributes:
        text: its text blocks, joined by line feeds; "" if they are long.
        plain: whether it is nothing but that text, to the character.
        is_error: whether the tool says that it failed.
        structured: `structuredContent` as JSON; empty if there is none.
        odd: how it differs from what a tool's result is; "" if it does not.
    """

    text: str = ""
    plain: bool = False
    is_error: bool = False
    structured: bytes = b""
    odd: str = ""


_decoder = msgspec.json.Decoder(_ToolResult)


def gist_of(result: bytes) -> Gist:
    """Return what a result of `tools/call` comes to."""
    try:
        read = _decoder.decode(result)
    except msgspec.ValidationError as error:
        return Gist(odd=f"the result breaks the protocol: {error}")
    texts = [block.text for block in read.content if block.type == "text"]
    text = "\n".join(texts)
    structured = bytes(read.structured)
    if structured == b"null":
        structured = b""
    fits = len(text) <= MAX_TEXT_CHARS
    sent = sendable(text) if fits else ""
    return Gist(
        text=sent,
        plain=sent == text and len(texts) == len(read.content) and bool(texts) and not structured,
        is_error=read.is_error,
        structured=structured,
    )


def sendable(text: str) -> str:
    """Return a text as it fits into a reply, whose frames end with NUL."""
    return text.replace("\0", "\ufffd")


def text_of(raw: bytes) -> str:
    """Return JSON bytes as text; bytes that are not UTF-8 are replaced."""
    return sendable(raw.decode("utf-8", "replace"))


def pieces(text: str) -> Iterator[str]:
    """Cut a text into pieces that fit into a frame; the last may be empty, and there is always one."""
    for start in range(0, max(len(text), 1), PIECE_CHARS):
        yield text[start : start + PIECE_CHARS]


def cut(text: str, limit: int = MAX_ERROR_CHARS) -> str:
    """Return a text as it is, or its beginning and how long it is."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def brief(value: Any, limit: int = 200) -> str:
    """Return text that came from outside, on one line and cut; it can be sent."""
    text = sendable(" ".join(str(value).split()))
    return text if len(text) <= limit else text[: limit - 3] + "..."
