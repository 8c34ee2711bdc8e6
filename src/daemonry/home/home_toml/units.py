"""Texts of `home.toml` that stand for numbers: lengths of time, sizes, signals.

Owns their spelling and their bounds.  A ValueError says in plain words why a text is refused; its place in
the file is the caller's.
"""

from __future__ import annotations

import re
import signal
from typing import Final

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\Z")
_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_S: Final = 1e6
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgG])(?:i?[bB])?\Z")
_SIZES: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
# The smallest of programs takes more: a mistake in the unit.
_LEAST_MEMORY: Final = 1 << 20
_MOST_PROCESSORS: Final = 4096
# Signals that programs take as a request to end.
_STOP_SIGNALS: Final = ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "ALRM")


def seconds(given: float | str) -> float:
    """Return a length of time, in seconds.

    Raises:
        ValueError: it is not a length of time, or not between 0 and about 11 days.
    """
    if isinstance(given, str):
        found = _DURATION.match(given.strip())
        result = float(found[1]) * _UNITS_S[found[2]] if found else 0.0
    else:
        result = given
    if not 0 < result <= _LONGEST_S:
        raise ValueError(f"{given!r} is not a length of time: try 250ms, 10s, 5m, 1h")
    return result


def memory_bytes(given: int | str | None) -> int:
    """Return an amount of memory, in bytes; 0 for None.

    Raises:
        ValueError: it is not a size, or less than 1 MiB.
    """
    if given is None:
        return 0
    size = given
    if isinstance(size, str):
        found = _SIZE.match(size.strip())
        size = int(float(found[1]) * _SIZES[found[2].upper()]) if found else 0
    if size < _LEAST_MEMORY:
        raise ValueError(f"{given!r} is not a size of memory from 1M up: try 200M, 1.5G")
    return size


def processors(given: float | None) -> float:
    """Return a number of processors; 0.0 for None.

    Raises:
        ValueError: it is not between 0 and 4096.
    """
    if given is None:
        return 0.0
    if not 0 < given <= _MOST_PROCESSORS:
        raise ValueError(f"{given!r} is not a number of processors: try 0.5, 2")
    return given


def stop_signal(given: str) -> int:
    """Return the number of a signal that may stop a service, with or without SIG before its name.

    Raises:
        ValueError: it is another signal.
    """
    name = given.upper().removeprefix("SIG")
    if name not in _STOP_SIGNALS:
        raise ValueError(f"{given!r} is not one of {', '.join(_STOP_SIGNALS)}")
    return int(signal.Signals[f"SIG{name}"])
