"""What a zygote has loaded, made immortal: a daemon that uses an object no longer copies its page.

Python counts references within the objects, so whoever looks at one writes to it, and half of a zygote's
pages are copied by each of its daemons.  From 3.12 on an object whose count has one certain value is
immortal, as None is (PEP 683): it is not counted, and never freed.  What lives at the end of the imports
stays to the end anyway.

No function of these Pythons sets that value, so it is written to where the count stands.  Owns the proof that
it stands there: without it, and with every Python that no test has run with, nothing is written.
"""

from __future__ import annotations

import gc
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final

# Of CPython, and with one lock for all threads: without it an object is laid out in another way.
_PROVED: Final = ((3, 12), (3, 13))
# The lower half of the count: all bits, and the whole stays positive for extensions that count in 64 bits.
_IMMORTAL: Final = 0xFFFF_FFFF


def make_immortal() -> int:
    """Make all objects immortal that the collector knows, and those that they refer to.

    Call it with one thread, and where all that lives may live to the end of the process and of its children.

    Returns:
        How many; 0 where this Python is not known to allow it.
    """
    if not _is_known() or not _is_laid_out():
        return 0
    from ctypes import c_uint32

    found = _reachable(gc.get_objects())
    for place in found:
        c_uint32.from_address(place).value = _IMMORTAL
    return len(found)


def _is_known() -> bool:
    return (
        sys.implementation.name == "cpython"
        and sys.version_info[:2] in _PROVED
        and sys.maxsize > 1 << 32
        and sys.byteorder == "little"
        and not hasattr(sys, "gettotalrefcount")  # a debug build
        and getattr(sys, "_is_gil_enabled", lambda: True)()
        and "t" not in sys.abiflags
    )


def _is_laid_out() -> bool:
    """Whether the count stands where it is looked for, and is not kept for an object that has the value."""
    from ctypes import c_uint32

    if c_uint32.from_address(id(None)).value != _IMMORTAL:
        return False
    probe = object()
    count = c_uint32.from_address(id(probe))
    more = [probe] * 1000
    if count.value != 1001:
        return False
    count.value = _IMMORTAL
    more += [probe] * 1000
    more.clear()
    return count.value == _IMMORTAL


def _reachable(objects: Iterable[Any]) -> dict[int, Any]:
    """Return objects, and all that they refer to, by where they are."""
    found = {id(one): one for one in objects}
    new = list(found.values())
    while new:
        referred = gc.get_referents(*new)
        for one in new:
            if type(one) is dict:
                referred += one  # the collector does not ask for keys that are text
        new = []
        for one in referred:
            if id(one) not in found:
                found[id(one)] = one
                new.append(one)
    return found
