"""Waiting for descriptors, also in a program whose `select` was replaced.

gevent and eventlet replace the functions that wait by their own; eventlet takes `poll` away.
"""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    import selectors


def selector() -> selectors.BaseSelector:
    """Return a selector without a descriptor of its own, which a forked child would share."""
    import selectors

    kind: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)
    return kind()


def wait_readable(fd: int, timeout_s: float | None) -> bool:
    """Wait until a descriptor has something to read, or its end; False when the time is over first."""
    if not hasattr(select, "poll"):
        return bool(select.select([fd], (), (), timeout_s)[0])
    # As `selectors.PollSelector`, whose import would take longer than most waits.
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    return bool(waiting.poll(None if timeout_s is None else -int(-timeout_s * 1000 // 1)))
