"""Waiting for descriptors, also in a program whose `select` was replaced.

gevent and eventlet replace the functions that wait by their own; eventlet takes `poll` away.
"""

from __future__ import annotations

import selectors


def selector() -> selectors.BaseSelector:
    """Return a selector without a descriptor of its own, which a forked child would share."""
    kind: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)
    return kind()


def wait_readable(fd: int, timeout_s: float | None) -> bool:
    """Wait until a descriptor has something to read, or its end; False when the time is over first."""
    waiting = selector()
    waiting.register(fd, selectors.EVENT_READ)
    return bool(waiting.select(timeout_s))
