"""How much of a lookup goes into one reply: of dozens of keys at once some stand for megabytes.

Owns what goes first.  Pure.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from vx.interfaces import Lookup, Manifest

# Half of what daemonry takes as one message: what stands around it, and JSON's escapes, find room.
MAX_REPLY_BYTES: Final = 8 << 20


def fitted(lookup: Lookup, asked: Collection[str]) -> Lookup:
    """Return as much of a lookup as one reply takes; at least one manifest of those asked for.

    Args:
        lookup: all that was found.
        asked: the keys; the manifests of others came along, and are left out first.
    """
    room = MAX_REPLY_BYTES
    found: dict[str, Manifest] = {}
    left: list[str] = []
    for key, manifest in sorted(lookup.found.items(), key=lambda item: item[0] not in asked):
        size = len(msgspec.json.encode(manifest))
        if size <= room or not found:
            found[key] = manifest
            room -= size
        elif key in asked:
            left.append(key)
    contents: dict[str, bytes] = {}
    for digest, data in lookup.contents.items():
        if len(data) * 4 // 3 <= room:
            contents[digest] = data
            room -= len(data) * 4 // 3
    return Lookup(found, lookup.damaged, contents, left)
