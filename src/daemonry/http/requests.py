"""What a request brings, checked: its query, and its body as JSON.

Owns the reading and its bounds.  A parameter that is not known is refused, with the one that was meant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from daemonry import strict_json
from daemonry.errors import BadFrame, DaemonryError
from daemonry.http.problems import Problem
from daemonry.limits import HTTP_BODY_S
from daemonry.spelling import did_you_mean
from daemonry.terminal_text import printable

if TYPE_CHECKING:
    from starlette.requests import Request

Wanted = TypeVar("Wanted")

JSON: Final = "application/json"
_ECHO_CHARS: Final = 60
# Below it a float is exactly the integer that it looks like.
_EXACT: Final = 2**53
_MOST: Final = 2**63 - 1
_TRUE: Final = frozenset({"1", "true", "yes"})
_FALSE: Final = frozenset({"", "0", "false", "no"})


def query_of(request: Request, known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Return the query's parameters, each as its reader has it; those that are not there are left out.

    Raises:
        Problem: one is not known, stands twice, or cannot be read.
    """
    found: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        shown = printable(name, _ECHO_CHARS)
        if name not in known:
            hint = did_you_mean(name, known, "this address takes")
            raise Problem(400, f"query parameter {shown}: it is not known ({hint})")
        if name in found:
            raise Problem(400, f"query parameter {shown}: it stands there twice")
        try:
            found[name] = known[name](value)
        except (ValueError, DaemonryError) as error:
            raise Problem(400, f"query parameter {shown}: {error}") from None
    return found


def flag(text: str) -> bool:
    """Return whether `1`, `true` or `yes` was said."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"{printable(text, _ECHO_CHARS)!r} is neither true nor false")


def number(least: int, most: int) -> Callable[[str], int]:
    """Return the reader of a whole number within bounds."""

    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) <= 18 and least <= int(text) <= most:
            return int(text)
        raise ValueError(f"{printable(text, _ECHO_CHARS)!r} is not a whole number from {least} to {most}")

    return read


def one_of(*words: str) -> Callable[[str], str]:
    """Return the reader of one of some words."""

    def read(text: str) -> str:
        if text in words:
            return text
        raise ValueError(f"{printable(text, _ECHO_CHARS)!r} is not one of {', '.join(words)}")

    return read


def some_of(*words: str) -> Callable[[str], frozenset[str]]:
    """Return the reader of some of some words, with commas between them."""
    read_one = one_of(*words)

    def read(text: str) -> frozenset[str]:
        return frozenset(read_one(word.strip()) for word in text.split(","))

    return read


async def body_of(request: Request, most_bytes: int) -> dict[str, Any]:
    """Return a request's body, a JSON object; an empty one is `{}`.

    Raises:
        Problem: it is not JSON, too long, or does not come in time.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type and media_type != JSON:
        raise Problem(415, f"The body is {printable(media_type, _ECHO_CHARS)}; this address takes {JSON}.")
    data = await _read(request, most_bytes)
    if not data:
        return {}
    if not media_type:
        raise Problem(415, f"The body has no Content-Type; this address takes {JSON}.")
    try:
        found: dict[str, Any] = _whole(strict_json.decode_object(data.decode("utf-8")))
    except UnicodeDecodeError:
        raise Problem(400, "The body is not UTF-8.") from None
    except BadFrame as error:
        raise Problem(400, f"The body is not a JSON object: {error}") from None
    return found


def _whole(value: Any) -> Any:
    """Return JSON with 1.0 as 1: JSON has one kind of number, and JSON Schema counts both as integers.

    Raises:
        Problem: an integer of more than 64 bits, or a NUL character in a string; no reply could carry either.
    """
    if type(value) is str and "\0" in value:
        raise Problem(400, "The body has a NUL character in a string.")
    if type(value) is int and abs(value) > _MOST:
        raise Problem(400, "The body has an integer of more than 64 bits.")
    if type(value) is float and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    if type(value) is dict:
        return {_whole(name): _whole(one) for name, one in value.items()}
    if type(value) is list:
        return [_whole(one) for one in value]
    return value


async def _read(request: Request, most_bytes: int) -> bytes:
    too_long = Problem(413, f"The body is longer than {most_bytes} bytes.", headers={"Connection": "close"})
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:18]) > most_bytes:
        raise too_long
    data = bytearray()
    try:
        async with asyncio.timeout(HTTP_BODY_S):
            async for piece in request.stream():
                data += piece
                if len(data) > most_bytes:
                    raise too_long
    except TimeoutError:
        slow = f"The body did not come within {HTTP_BODY_S:g} s."
        raise Problem(408, slow, headers={"Connection": "close"}) from None
    return bytes(data)
