"""Which of the tries that are due may begin: one session of an account goes first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from palingenesis.resume.entry import Entry
from palingenesis.resume.states import State

# Between the starts of two sessions of one account.
STAGGER_S: Final = 5.0


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
