"""ULIDs: ids that sort by the time at which they were made.

Owns the form: 48 bits of milliseconds since 1970 and 80 random ones, in Crockford's base 32.  Pure:
the caller brings the time and the dice.
"""

from __future__ import annotations

from typing import Final

CHARS: Final = 26
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(time_ms: int, random: bytes) -> str:
    """Return the id for a time and 10 random bytes."""
    number = (time_ms << 80) | int.from_bytes(random[:10], "big")
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(5 * (CHARS - 1), -5, -5))


def is_ulid(text: str) -> bool:
    """Whether a text has the form of one."""
    return len(text) == CHARS and all(char in _ALPHABET for char in text)
