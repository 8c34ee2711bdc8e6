"""When a try is due.

Owns the times: margins and backoff.  Which of those that are due may begin is `turns`'s.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from palingenesis.verdict.reasons import Reason

# Limits were seen to end a few seconds late; many sessions of one account have the same reset.
MARGIN_S: Final = 10.0
JITTER_S: Final = 10.0
# The original's delays and number of tries.
FIRST_DELAY_S: Final = 30.0
LONGEST_DELAY_S: Final = 300.0
MAX_TRIES: Final = 10
# How long a try waits where nothing says when to try again: a process lives in the session, a limit goes on.
POSTPONE_S: Final = 30.0


class Delays(msgspec.Struct, frozen=True):
    """How long a try waits after one that brought nothing.

    Attributes:
        first_s: after the first.
        longest_s: what that is doubled up to; one below the first counts as the first.
        spread: whether sessions get times that differ, so that they do not begin in the same second.
    """

    first_s: float = FIRST_DELAY_S
    longest_s: float = LONGEST_DELAY_S
    spread: bool = True

    def after(self, attempt: int) -> float:
        """Return the delay after `attempt` tries that brought nothing."""
        return min(self.first_s * 2.0 ** min(attempt, 30), max(self.first_s, self.longest_s))


def jitter_s(key: str, attempt: int) -> float:
    """Return a delay below `JITTER_S` that differs between sessions and is the same after a restart."""
    digest = hashlib.blake2b(f"{key} {attempt}".encode("utf-8", "surrogateescape"), digest_size=4).digest()
    return JITTER_S * int.from_bytes(digest, "big") / 2**32


def due_at_s(
    key: str,
    reason: Reason,
    resets_at_s: float | None,
    attempt: int,
    now_s: float,
    delays: Delays = Delays(),  # noqa: B008  # it is frozen
) -> float:
    """Return when a try is due: after the reset, else after a delay that doubles with each failed try."""
    delay_s = delays.after(attempt)
    spread_s = jitter_s(key, attempt) if delays.spread else 0.0
    if reason is Reason.RATE_LIMIT and resets_at_s is not None:
        after_reset_s = resets_at_s + MARGIN_S + spread_s
        return after_reset_s if attempt == 0 else max(after_reset_s, now_s + delay_s)
    return now_s + delay_s + spread_s
