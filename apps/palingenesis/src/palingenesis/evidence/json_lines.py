"""A line of JSON from a file that others write: an object, or nothing.

Owns the doubt: a line that is torn, not UTF-8, not an object or nested without end counts as none.
Fields are taken by functions that give a value of the right type or its empty one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from palingenesis.verdict.messages import MAX_TEXT_CHARS

_decoder: Final = msgspec.json.Decoder(dict[str, Any])


def line_of(data: bytes) -> dict[str, Any] | None:
    """Return the object in a line, or None."""
    try:
        return _decoder.decode(data)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None


def table(value: Any) -> dict[str, Any]:
    """Return `value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    """Return `value` if it is text, bounded, else ""."""
    return value[:MAX_TEXT_CHARS] if isinstance(value, str) else ""


def number(value: Any) -> float | None:
    """Return `value` if it is a finite number of a sane size, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if -1e15 < value < 1e15 else None


def instant(value: Any) -> float | None:
    """Return an ISO time, or an epoch in seconds or milliseconds, as seconds since the epoch; else None."""
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value[:40])
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    found_s = number(value)
    if found_s is None or found_s <= 0:
        return None
    return found_s / 1000 if found_s >= 1e11 else found_s
