"""Waiting for descriptors, also in a program whose `select` was replaced.

gevent and eventlet replace the functions that wait by their own; eventlet takes `poll` away.
"""

from __future__ import annotations

import selectors


def selector() -> selectors.BaseSelector:
    """Return a selector without a descriptor of its own, which a forked child would share."""
    kind: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)
    return kind()
