"""The optional native part of a call: the module `daemonry_native.calls`, where it is installed and fits.

Owns finding it.  Nothing depends on it: whatever it does not prove goes the way that it goes without it.
`DAEMONRY_PURE=1` in the environment leaves it out.  No quick command imports this.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any, Final

# What its functions mean; it is left out where it has another number.
_INTERFACE: Final = 3


# Of a descriptor, a frame, and how much may be read: what came; else how much was sent, and an errno.
Exchange = Callable[[int, bytes, int], bytes | tuple[int, int]]


def _find() -> Any:
    if os.environ.get("DAEMONRY_PURE"):
        return None
    try:
        found = importlib.import_module("daemonry_native.calls")
    except ImportError:
        return None
    return found if getattr(found, "INTERFACE", None) == _INTERFACE else None


# The module; None for none.
calls: Any = _find()
