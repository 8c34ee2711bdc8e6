"""Waiting for conditions.

Owns the one loop that a test may wait in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from daemonry.backoff import delays
from daemonry.clock import Deadline

Found = TypeVar("Found")


def wait_until(condition: Callable[[], Found], timeout_s: float = 10.0, what: str = "") -> Found:
    """Return the first true value that `condition` gives.

    Args:
        condition: asked again and again, at first every millisecond, later every 50.
        timeout_s: for how long, in seconds.
        what: the condition in words, for the error; by default its own name.

    Raises:
        AssertionError: it stayed false.
    """
    deadline = Deadline(timeout_s)
    for delay_s in delays(0.001, 0.05):
        found = condition()
        if found:
            return found
        if not deadline.sleep(delay_s):
            break
    described = what or getattr(condition, "__qualname__", repr(condition))
    raise AssertionError(f"not within {timeout_s:g} s: {described} (last: {found!r})")
