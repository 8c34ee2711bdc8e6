"""Ending connections so that no call is lost: a client is served, or knows that nothing was sent.

Owns the patience.  A connection is retired once its client has been quiet for a moment; one that was
just accepted is waited for, because its first call is on its way.  One whose client is never quiet is
retired all the same after a while, or it would be cut off at the deadline in the middle of a call.
The socket is then closed for reading: whatever had come is answered, also what runs, and the client's
next call fails on its own side, before anything of it was sent.
"""

from __future__ import annotations

import asyncio
import select
from _socket import socket as Socket
from collections.abc import Callable, Iterable
from typing import Any, Final

from daemonry.clock import Deadline

# Between connect and first byte a client does microseconds of work; on a busy machine, tenths of a second.
QUIET_S: Final = 0.5
# A client that calls without a pause is given a few times that, in case a pause comes.
LOUD_S: Final = 2.0
_LOOK_S: Final = 0.05


def has_hung_up(sock: Socket) -> bool:
    """Whether both halves of a connection are closed, and not only the one that the peer sends on."""
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    return any(found & (select.POLLHUP | select.POLLERR) for _, found in poll.poll(0))


async def retire(connections: Callable[[], Iterable[Any]], deadline: Deadline) -> None:
    """Return when every connection has ended, or at the deadline.

    Args:
        connections: returns those that are left; each has `activity` and `retire()`.
        deadline: when calls that are still running are left to their fate.
    """
    # By the connection itself: the number of one that has ended may be that of another.
    seen: dict[Any, tuple[int | None, Deadline]] = {}
    loud = Deadline(LOUD_S)  # nobody comes after the beginning, so that it is one for all
    while True:
        left = list(connections())
        if not left or deadline.expired:
            return
        for connection in left:
            activity = connection.activity
            before, quiet = seen.get(connection, (None, None))
            if loud.expired or (activity is not None and before == activity and quiet and quiet.expired):
                connection.retire()
            elif activity is None or before != activity or quiet is None:
                seen[connection] = activity, Deadline(QUIET_S)
        await asyncio.sleep(_LOOK_S)
