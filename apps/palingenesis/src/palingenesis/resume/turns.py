"""Which of the tries that are due may begin: one session of an account goes first.

Owns the decisions, within one daemon and between all processes of this user.  No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from palingenesis.resume.entry import SessionEntry
from palingenesis.resume.states import State

# Between the starts of two sessions of one account.
STAGGER_S: Final = 5.0
# How soon a session that waits for another's answer asks again.
ASK_AGAIN_S: Final = 2.0
# A scout that lives and brings nothing, such as one at a dialog, holds up its account for so long at most.
MAX_SCOUT_S: Final = 900.0
# An instant that is further ahead is a mistake, or the clock was set: the longest limit is a week.
MAX_AHEAD_S: Final = 8 * 86400.0


class Claim(msgspec.Struct, frozen=True):
    """A try that one process has begun, as all processes see it.

    Attributes:
        account: whose limit it is under.
        key: the session.
        began_s: when.
        pid, start: the process that is gone when the try is over.
        is_scout: whether others wait for it: it goes on, and the model has not answered in it.
    """

    account: str
    key: str
    began_s: float
    pid: int
    start: str
    is_scout: bool = True


class Limit(msgspec.Struct, frozen=True):
    """A limit that a try of an account has met.

    Attributes:
        account: whose.
        until_s: when it ends.
        met_s: when it was met: a try that was decided on later is not held up by it.
    """

    account: str
    until_s: float
    met_s: float


class Wait(msgspec.Struct, frozen=True):
    """A try may not begin yet.

    Attributes:
        at_s: when to ask again.
        why: for its user.
        is_limit: whether `at_s` is the end of a limit.
    """

    at_s: float
    why: str
    is_limit: bool = False


def may_begin(entries: Iterable[SessionEntry], now_s: float) -> list[str]:
    """Return the keys of the sessions that may begin a try now: at most one of each account.

    While a run of an account has not shown that the model answers, it is the account's scout, and the
    others wait for it.
    """
    kept = list(entries)
    blocked = set()
    for one in kept:
        run = one.run
        if run is not None and (
            (one.state is State.RESUMING and not run.progressed) or abs(now_s - run.began_s) < STAGGER_S
        ):
            blocked.add(one.account)
    chosen = []
    due = [one for one in kept if one.state is State.SCHEDULED and one.at_s <= now_s]
    for one in sorted(due, key=lambda entry: (entry.at_s, entry.key)):
        if one.account not in blocked:
            blocked.add(one.account)
            chosen.append(one.key)
    return chosen


def wait_for_others(
    claims: Iterable[Claim],
    limits: Iterable[Limit],
    wanted: Claim,
    since_s: float,
    lives: Callable[[Claim], bool],
) -> Wait | None:
    """Return until when a try has to wait for those of other processes; None where it may begin.

    Args:
        claims: the tries of all accounts, by all processes.
        limits: the limits that such tries have met.
        wanted: the try that is to begin.
        since_s: when that was decided.
        lives: whether a claim's process is there.
    """
    now_s = wanted.began_s
    for limit in limits:
        is_ahead = now_s < limit.until_s < now_s + MAX_AHEAD_S
        if limit.account == wanted.account and since_s < limit.met_s and is_ahead:
            return Wait(limit.until_s, "its account has met the limit again", is_limit=True)
    for claim in claims:
        age_s = now_s - claim.began_s
        if claim.account != wanted.account or claim.key == wanted.key or age_s < -1.0:
            continue
        if claim.is_scout and age_s < MAX_SCOUT_S and lives(claim):
            return Wait(now_s + ASK_AGAIN_S, f"{claim.key} of the same account goes first")
        if age_s < STAGGER_S:
            return Wait(claim.began_s + STAGGER_S, f"{claim.key} of the same account has just begun")
    return None


def still_of_use(
    claims: Iterable[Claim], limits: Iterable[Limit], now_s: float
) -> tuple[list[Claim], list[Limit]]:
    """Return the claims and limits that can still hold up a try."""
    kept = [one for one in claims if now_s - one.began_s < (MAX_SCOUT_S if one.is_scout else STAGGER_S)]
    return kept, [one for one in limits if now_s < one.until_s]
