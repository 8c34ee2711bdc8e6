"""Lengths of time as people write them: 90s, 30m, 5h, 2d."""

from __future__ import annotations

from typing import Final

_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MAX_DIGITS: Final = 9


def seconds_of(text: str) -> float:
    """Return a length of time in seconds; 0.0 for a text that names none."""
    digits, unit = text[:-1], text[-1:]
    if unit not in _UNITS_S or not (digits.isascii() and digits.isdigit()) or len(digits) > _MAX_DIGITS:
        return 0.0
    return int(digits) * _UNITS_S[unit]
