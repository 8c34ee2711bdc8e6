"""JSON of values with file names in it, which need not be UTF-8.

Owns the one difference to msgspec's JSON: a byte of a name that is not text, a lone surrogate in Python,
is written as an escape and read back as it was.  No I/O.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

Value = TypeVar("Value")


def encode(value: Any) -> bytes:
    """Return a value as JSON, in ASCII where a text of it has no UTF-8."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value), separators=(",", ":")).encode()


def decode(data: bytes, kind: type[Value]) -> Value:
    """Return the value that JSON has.

    Raises:
        ValueError: it is not JSON, or of another type.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if b"\\udc" not in data:
            raise
    try:
        return msgspec.convert(json.loads(data), kind)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
