"""What goes when the store is too large: the least recently used.

Owns the choice.  `collector` reads the store and removes.  No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from vx.cass.layout import Kind

# A use is written down when the last one is older than this: one system call for each blob and
# minute, not for each use.  A hold therefore protects files used up to this long before it began.
USE_STEP_S: Final = 60
# After a removal this share of the bound is left, so that the next put does not begin another.
KEPT_SHARE: Final = 0.9


class StoredFile(NamedTuple):
    """A blob or manifest as it lies in the store.

    Attributes:
        used_ns: its last use, in nanoseconds since 1970.
        size: in bytes.
        kind: blob or manifest.
        name: its digest or key.
    """

    used_ns: int
    size: int
    kind: Kind
    name: str


class Choice(NamedTuple):
    """What goes.

    Attributes:
        victims: the least recently used first.
        held: how many would have gone, had nobody held them.
    """

    victims: list[StoredFile]
    held: int


def choose(entries: Iterable[StoredFile], max_bytes: int, held_since_ns: int | None) -> Choice:
    """Return the entries that have to go so that at most `max_bytes` are left.

    Args:
        entries: all that is there.
        max_bytes: what may be left.
        held_since_ns: when the oldest hold began; None for no hold.
    """
    ordered = sorted(entries)
    excess = sum(entry.size for entry in ordered) - max_bytes
    victims: list[StoredFile] = []
    held = 0
    for entry in ordered:
        if excess <= 0:
            break
        if is_held(entry.used_ns, held_since_ns):
            held += 1
        else:
            victims.append(entry)
        excess -= entry.size
    return Choice(victims, held)


def is_held(used_ns: int, held_since_ns: int | None) -> bool:
    """Whether a hold that began at one time may need a file that was used at another."""
    return held_since_ns is not None and used_ns >= held_since_ns - USE_STEP_S * 1_000_000_000
