"""Looks at the sessions once a second, and lets the parts of resuming act.

Owns the order of one look: observe, account for runs, begin the tries that are due.  Each decision is made by
the pure files of this folder, written down by `context`, and done by `tries`, `run_watch` or `user_requests`.
All of it blocks; one call at a time, which `service` and the daemon's work see to.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from palingenesis.evidence.attention import Attention
from palingenesis.evidence.survey import Session, Survey
from palingenesis.hooks.told import HookFacts
from palingenesis.resume import entry as rules
from palingenesis.resume import freezer, guard, project, turns
from palingenesis.resume.context import DecisionRecord, ResumeContext, ResumeLimits
from palingenesis.resume.entry import SessionEntry
from palingenesis.resume.ledger import Ledger
from palingenesis.resume.run_watch import RunWatch
from palingenesis.resume.states import Happened, State
from palingenesis.resume.tries import Tries
from palingenesis.resume.user_requests import UserRequests

# Between looks.  Sessions at work are looked at each other time, for their process.
TICK_S: Final = 1.0
LIVING_EVERY_S: Final = 2.0
_AT_WORK: Final = (State.RUNNING, State.WAITING_INSIDE)
# One that stopped, with its process there, may be one whose turns end with errors, again and again.
_MAY_RUN_AWAY: Final = (*_AT_WORK, State.STOPPED)


class Counted(NamedTuple):
    """The additions of one look to the counts of STATUS.

    Attributes:
        saved: the records that changed, the last one at the end.
        resumed: sessions that went on by a run of ours.
    """

    saved: list[str]
    resumed: int


class ResumeEngine:
    """Keeps the sessions of a survey going.

    Args:
        survey: looks at them.
        ledger: their entries.
        state_dir: for runs, backups and the audit.
        environment: of resumed agents.
        limits: the configuration's.
        told: takes in the reports of agents' hooks; None for no hooks.
        changed: called with each entry that was written down; None for no callback.

    Attributes:
        attention: which records are looked at; another one when the agents change.
    """

    def __init__(
        self,
        survey: Survey,
        ledger: Ledger,
        state_dir: str,
        environment: Mapping[str, str],
        limits: ResumeLimits,
        told: HookFacts | None = None,
        changed: Callable[[SessionEntry], None] | None = None,
    ) -> None:
        self.ledger = ledger
        record = DecisionRecord(ledger, os.path.join(state_dir, "audit.jsonl"), changed)
        self._context = ResumeContext(survey, limits, record, state_dir, environment)
        self._tries = Tries(self._context)
        self._run_watch = RunWatch(self._context)
        self._told = told
        self.attention = Attention(survey)
        self._living_at_s = 0.0  # by the monotonic clock
        self._is_first = True
        self.ask = UserRequests(self._context).ask
        self.recover = self._run_watch.recover

    def use(self, survey: Survey, limits: ResumeLimits) -> None:
        """Go on with other agents and limits."""
        self._context.survey, self._context.limits = survey, limits
        self.attention = Attention(survey)
        self._is_first = True

    def tick(self) -> Counted:
        """Look at changed sessions and at those at work; account for runs; begin those that are due.

        Raises:
            OSError: a decision could not be written down; it was not carried out.
        """
        now_s = time.time()
        if back_s := self._run_watch.note_gap(now_s):
            moved = (rules.with_clock_back(one, back_s) for one in self.ledger.entries.values())
            self.ledger.keep(*moved)
        changed = self.attention.changed(now_s)
        saved = [] if self._is_first else [path for agent, path in changed if agent != "markdown"]
        self._is_first = False
        changed += self._told_of(now_s)
        if time.monotonic() >= self._living_at_s:
            self._living_at_s = time.monotonic() + LIVING_EVERY_S
            changed += [
                (one.agent, one.path)
                for one in self.ledger.entries.values()
                if one.state in _AT_WORK or not one.observed or one.observed.endswith(rules.ALIVE)
            ]
        if changed:
            self._observe(self._context.survey.look_at(dict.fromkeys(changed)))
        for entry in list(self.ledger.entries.values()):
            if entry.state is State.RESUMING:
                self._run_watch.watch(entry, now_s)
        if self._context.limits.enabled:
            for key in turns.may_begin(self.ledger.entries.values(), time.time()):
                other_now = self._tries.try_(self.ledger.entries[key])
                if other_now is not None:
                    self._observe([other_now])
        self.ledger.forget(now_s)
        return Counted(saved, self._run_watch.take_resumed())

    def _told_of(self, now_s: float) -> list[tuple[str, str]]:
        """Return the records of the sessions that hooks reported: of the ledger, or else by their names.

        A session that is in no record is not looked at: nothing tells where it works.
        """
        told = [] if self._told is None else self._told.take_in(self._context.survey.profiles, now_s)
        records: list[tuple[str, str]] = []
        for key in told:
            entry = self.ledger.entries.get(key)
            agent, _, session_id = key.partition(":")
            named = self.attention.named(agent, session_id) if entry is None else [(agent, entry.path)]
            records += named
        return records

    def _observe(self, sessions: Iterable[Session]) -> None:
        context = self._context
        changed = []
        for session in sessions:
            before = self.ledger.entries.get(session.key)
            after = rules.observe(
                before, session, context.profile(session.agent), context.account(session.agent),
                self.ledger.watching_since_s, context.limits.delays,
            )  # fmt: skip
            if after is not None:
                after = self._held_if_it_runs_away(after, session)
            if after is not None and after is not before:
                changed.append((after, session))
        context.record.keep_seen(changed)

    def _held_if_it_runs_away(self, entry: SessionEntry, session: Session) -> SessionEntry:
        """Return the entry; held, with its process stopped, where the session sends too many requests."""
        if entry.state not in _MAY_RUN_AWAY or session.verdict.alive_pid is None:
            return entry
        ours = self._context.limits.bounds
        bounds = project.bounds_of(entry.cwd, ours)
        bounds = ours if isinstance(bounds, str) else bounds
        seen = session.transcript
        since_s = max(time.time() - guard.MINUTE_S, entry.released_at_s)
        why = guard.runs_away(seen.requests_at_s, seen.errors_at_s, bounds, since_s)
        held = rules.asked(entry, Happened.HOLD, time.time()) if why else None
        if held is None:
            return entry
        # A server that is stopped would hold up the sessions of all windows.
        frozen = None if session.verdict.served else freezer.freeze(session.verdict.alive_pid)
        return msgspec.structs.replace(held, note=why, frozen=frozen)
