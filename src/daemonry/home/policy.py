"""Restart, leave it, or give up: the decision about a service that has ended.

Owns the decision and the wait before the next start.  Whoever performs it owns the clock and the
dice.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import islice
from typing import NamedTuple

from daemonry.backoff import delays, jittered


class When(Enum):
    """After which ends a service is started again."""

    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    NEVER = "never"


class Policy(NamedTuple):
    """What a home's file says about restarts.

    Attributes:
        when: after which ends.
        delay_s: the wait before the first restart, in seconds; doubled for each one after.
        delay_most_s: the longest wait, in seconds.
        most: how many restarts within `within_s` are too many; beyond them it is given up.
        within_s: the span that restarts are counted over, in seconds.
    """

    when: When
    delay_s: float
    delay_most_s: float
    most: int
    within_s: float


class Restart(NamedTuple):
    """Start it again.

    Attributes:
        delay_s: after this long, in seconds.
    """

    delay_s: float


class GiveUp(NamedTuple):
    """Leave it: it ends again and again, or it failed and is not to be restarted.

    Attributes:
        restarts: how many there were within the span.
    """

    restarts: int


class Leave(NamedTuple):
    """Leave it: its job is done."""


def after_end(
    policy: Policy, failed: bool, restarts_s: Sequence[float], now_s: float, dice: float
) -> Restart | GiveUp | Leave:
    """Decide about a service that has ended without being asked to.

    Args:
        policy: what the home's file says.
        failed: whether it ended with another code than 0, by a signal, or was not ready in time.
        restarts_s: when it was restarted before, on the clock that `now_s` is of.
        now_s: the moment of its end.
        dice: a number from [0, 1).
    """
    if policy.when is When.NEVER or (policy.when is When.ON_FAILURE and not failed):
        return GiveUp(0) if failed else Leave()
    recent = sum(1 for moment_s in restarts_s if moment_s > now_s - policy.within_s)
    if recent >= policy.most:
        return GiveUp(recent)
    delay_s = next(islice(delays(policy.delay_s, policy.delay_most_s), recent, None))
    return Restart(jittered(delay_s, dice))
