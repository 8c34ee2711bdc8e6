"""When a try is due, and which of those that are due may begin.

Owns the times: margins, backoff, and the rule that one session of an account goes first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from palingenesis.resume.states import State
from palingenesis.verdict.reasons import Reason

if TYPE_CHECKING:
    from palingenesis.resume.entry import Entry

# Limits were seen to end a few seconds late; many sessions of one account have the same reset.
MARGIN_S: Final = 10.0
JITTER_S: Final = 10.0
# The original's delays and number of tries.
FIRST_DELAY_S: Final = 30.0
LONGEST_DELAY_S: Final = 300.0
MAX_TRIES: Final = 10
# Between the starts of two sessions of one account.
STAGGER_S: Final = 5.0


def jitter_s(key: str, attempt: int) -> float:
    """Return a delay below `JITTER_S` that differs between sessions and is the same after a restart."""
    digest = hashlib.blake2b(f"{key} {attempt}".encode("utf-8", "surrogateescape"), digest_size=4).digest()
    return JITTER_S * int.from_bytes(digest, "big") / 2**32


def due_at_s(key: str, reason: Reason, resets_at_s: float | None, attempt: int, now_s: float) -> float:
    """Return when a try is due: after the reset, else after a delay that doubles with each failed try."""
    delay_s = min(FIRST_DELAY_S * 2**attempt, LONGEST_DELAY_S) if attempt < 10 else LONGEST_DELAY_S
    spread_s = jitter_s(key, attempt)
    if reason is Reason.RATE_LIMIT and resets_at_s is not None:
        after_reset_s = resets_at_s + MARGIN_S + spread_s
        return after_reset_s if attempt == 0 else max(after_reset_s, now_s + delay_s)
    return now_s + delay_s + spread_s


def may_begin(entries: Iterable[Entry], now_s: float) -> list[str]:
    """Return the keys of the sessions that may begin a try now: at most one of each account.

    While a run of an account has not shown that the model answers, it is the account's scout, and the
    others wait for it.
    """
    kept = list(entries)
    blocked = set()
    for one in kept:
        run = one.run
        if run is not None and (
            (one.state is State.RESUMING and not run.progressed) or now_s < run.began_s + STAGGER_S
        ):
            blocked.add(one.account)
    chosen = []
    due = [one for one in kept if one.state is State.SCHEDULED and one.at_s <= now_s]
    for one in sorted(due, key=lambda entry: (entry.at_s, entry.key)):
        if one.account not in blocked:
            blocked.add(one.account)
            chosen.append(one.key)
    return chosen
