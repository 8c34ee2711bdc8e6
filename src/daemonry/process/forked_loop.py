"""A forked child's copy of its parent's event loop, and how the parent's goes on.

A child that ends by an exception runs and closes its copy.  The two share the queue of events (epoll(7)),
from which asyncio's loop then takes its descriptors, and the descriptor that wakes uvloop's, which reads it
empty: the parent's loop would sleep for ever.  So asyncio's queue is exchanged in the child, and the parent's
loop turns by the clock after a fork.

Owns the exchange, and the clock's step.
"""

from __future__ import annotations

import asyncio
import os
import select
import selectors
from typing import Any, Final

# How long a parent's loop sleeps at most.
TURN_S: Final = 1.0


def detach(loop: Any) -> None:
    """Give asyncio's loop an empty queue in the place of its parent's; call it in a forked child.

    uvloop's is left alone: its requests to the queue may still lie in an io_uring(7), which the two share,
    and whoever submits them does it for both.  kqueue(2) passes to no child.
    """
    selector = getattr(loop, "_selector", None)
    if not isinstance(loop, asyncio.BaseEventLoop) or loop.is_closed() or not hasattr(select, "epoll"):
        return
    if isinstance(selector, selectors.EpollSelector):
        empty = select.epoll()
        os.dup2(empty.fileno(), selector.fileno(), inheritable=False)
        empty.close()
