"""Giving memory back to the system after a large result.

glibc keeps freed memory in the middle of its heap: after a result of 20 MB the daemon would have ten times
that for the rest of its life.  Where the C library has no `malloc_trim`, nothing is done.
"""

from __future__ import annotations

import asyncio
from typing import Final

# Of a result, in bytes: smaller ones are made again of what smaller ones left.
LARGE: Final = 2 << 20
# By then the reply has been written, and its parts are free.
AFTER_S: Final = 3.0

_planned: set[asyncio.AbstractEventLoop] = set()


def used(size: int) -> None:
    """Have the memory of a large result given back soon; many at a time are given back once."""
    loop = asyncio.get_running_loop()
    if size < LARGE or loop in _planned:
        return
    _planned.add(loop)

    def later() -> None:
        _planned.discard(loop)
        give_back()

    loop.call_later(AFTER_S, later)


def give_back() -> None:
    """Give free memory back to the system."""
    import ctypes
    import gc

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
