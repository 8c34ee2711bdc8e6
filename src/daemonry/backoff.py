"""Waits between attempts.

Owns the sequence; the caller owns the clock and the dice.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def delays(first_s: float, most_s: float, factor: float = 2.0) -> Iterator[float]:
    """Yield `first_s`, then each `factor` times the one before, never above `most_s`.  Endless."""
    delay_s = min(first_s, most_s)
    while True:
        yield delay_s
        delay_s = min(delay_s * factor, most_s)


def jittered(delay_s: float, dice: float, share: float = 0.25) -> float:
    """Shorten `delay_s` by up to `share` of it.

    Args:
        delay_s: the wait, in seconds.
        dice: a number from [0, 1), drawn by the caller.
        share: the largest part that is taken off.
    """
    return delay_s * (1.0 - share * dice)
