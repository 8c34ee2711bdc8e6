r"""Reads many replies whose one field is an integer or a text in one step, as this library writes them.

Owns the proof.  Every frame begins and ends with the same bytes around its value, so what stands between two
values is known, and holds a NUL, which stands within no value.  Where it stands between as many as there are
frames, less one, the rest is the values:

    integers    nothing but digits, signs, and the commas that are put in place of what stood between; so each
                frame has one value, and msgspec reads the list of all, each within 64 bits
    texts       no backslash, no more quotes than stand around the values, no control character; the rest is
                UTF-8, and the text

Everything else is left to `wire.typed_reply`: other spellings, escapes, and whatever is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

# As `typed_reply.RunReader`.
_Read = Callable[[bytes, int], Any]

_OF_INTEGERS = b"0123456789-"
_CONTROLS = bytes(range(0x20))


def integers_reader(whole: Any, before: bytes, after: bytes) -> _Read:
    """Return what reads replies of one integer each.

    It takes frames that may be replies, each with its NUL, and how many they are, and returns a list of the
    values, or NotImplemented.

    Args:
        whole: the type of the integers, with its bounds.
        before: how each frame begins.
        after: how each ends, with its NUL.
    """
    decode, between = msgspec.json.Decoder(list[whole]).decode, after + before
    start, end = len(before), -len(after)

    def read(received: bytes, count: int) -> Any:
        if not (received.startswith(before) and received.endswith(after)):
            return NotImplemented
        values = received[start:end].replace(between, b",")
        if not values or values.translate(None, _OF_INTEGERS) != b"," * (count - 1):
            return NotImplemented  # nothing at all would be an empty list
        try:
            return decode(b"[%b]" % values)
        except msgspec.DecodeError:
            return NotImplemented

    return read


def texts_reader(before: bytes, after: bytes) -> _Read:
    """Return what reads replies of one text each; arguments and return as for `integers_reader`."""
    before, after = before + b'"', b'"' + after
    between, quotes = (after + before).decode(), (after + before).count(b'"')
    start, end = len(before), -len(after)

    def read(received: bytes, count: int) -> Any:
        if not (received.startswith(before) and received.endswith(after)):
            return NotImplemented
        if b"\\" in received or received.count(b'"') != quotes * count:
            return NotImplemented
        if len(received.translate(None, _CONTROLS)) != len(received) - count:
            return NotImplemented
        try:
            values = received[start:end].decode().split(between)
        except UnicodeDecodeError:
            return NotImplemented
        return values if len(values) == count else NotImplemented

    return read
