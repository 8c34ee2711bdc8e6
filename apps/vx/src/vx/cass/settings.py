"""What a user may set of the store: its bound, by VX_CASS_MAX_SIZE.

Owns reading sizes such as 500M or 20G.  Its only I/O is reading the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from daemonry import Refused
from vx.cass.store import MAX_STORE_BYTES

VARIABLE: Final = "VX_CASS_MAX_SIZE"
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def max_bytes(environ: Mapping[str, str] | None = None) -> int:
    """Return the store's bound in bytes.

    Raises:
        Refused: the variable is not a size.
    """
    given = (os.environ if environ is None else environ).get(VARIABLE, "").strip()
    return parse_size(given) if given else MAX_STORE_BYTES


def parse_size(text: str) -> int:
    """Return the bytes that a size such as 4096, 500M or 20G (1024 MiB each) names.

    Raises:
        Refused: it is not a size.
    """
    digits, unit = (text[:-1], text[-1:].upper()) if not text[-1:].isdigit() else (text, "")
    if not (digits.isascii() and digits.isdigit()) or unit not in _UNITS:
        raise Refused(f"{VARIABLE}={text!r} is not a size: write bytes, or a number with K, M, G or T")
    return int(digits) * _UNITS[unit]
