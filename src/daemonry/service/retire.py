"""Ending connections so that no call is lost: a client is served, or knows that nothing was sent.

Owns the patience.  A connection is retired once its client has been quiet for a moment; one that was
just accepted is waited for, because its first call is on its way.  The socket is then closed for
reading: whatever had come is answered, and the client's next call fails on its own side, before
anything of it was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

from daemonry.clock import Deadline

# Between connect and first byte a client does microseconds of work; on a busy machine, tenths of a second.
QUIET_S: Final = 0.5
_LOOK_S: Final = 0.05


async def retire(connections: Callable[[], Iterable[Any]], deadline: Deadline) -> None:
    """Return when every connection has ended, or at the deadline.

    Args:
        connections: returns those that are left; each has `activity` and `retire()`.
        deadline: when calls that are still running are left to their fate.
    """
    seen: dict[int, tuple[int | None, Deadline]] = {}
    while True:
        left = list(connections())
        if not left or deadline.expired:
            return
        for connection in left:
            activity = connection.activity
            before, quiet = seen.get(id(connection), (None, None))
            if activity is None or quiet is None or before != activity:
                seen[id(connection)] = activity, Deadline(QUIET_S)
            elif quiet.expired:
                connection.retire()
        await asyncio.sleep(_LOOK_S)
