"""Runs that go on or have ended: their progress, their silence, and what became of the session.

Owns accounting for a run.  Beginning one is `tries`'.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from palingenesis.evidence import processes
from palingenesis.evidence.survey import Session, with_facts
from palingenesis.resume import entry as rules
from palingenesis.resume import guard
from palingenesis.resume.claim_rules import Outcome
from palingenesis.resume.context import ResumeContext
from palingenesis.resume.entry import SessionEntry
from palingenesis.resume.states import Happened, State
from palingenesis.verdict.judge import Verdict
from palingenesis.verdict.reasons import RESUMABLE, Reason
from palingenesis.verdict.run_end import failure_of

# Two looks that are further apart: the machine slept, or its clock was set.
GAP_S: Final = 60.0


class RunWatch:
    """Accounts for the runs of all sessions.

    Args:
        context: shared with the other parts.
    """

    def __init__(self, context: ResumeContext) -> None:
        self._context = context
        self._resumed = 0
        self._looked_at_s = self._awake_since_s = time.time()

    def recover(self) -> None:
        """Account for the runs that an earlier daemon wrote down.

        Raises:
            OSError: a decision could not be written down.
        """
        runs, keep = self._context.runs, self._context.record.keep
        boot, now_s = processes.boot_id(), time.time()
        for entry in list(self._context.record.ledger.entries.values()):
            run = entry.run
            if entry.state is not State.RESUMING or run is None:
                continue
            if run.boot != boot:
                keep("the machine has restarted", rules.with_run(entry, pid=0, start=""))
            elif runs.has_begun(run):
                pid, start = (run.pid, run.start) if run.start else runs.process_of(run)
                keep("found again", rules.with_run(entry, pid=pid, start=start))
                is_scout = not run.progressed
                self._context.scouts.belongs_to(entry.account, entry.key, pid, is_scout=is_scout)
            else:
                again = msgspec.structs.replace(entry, state=State.SCHEDULED, at_s=now_s, run=None)
                keep("had not begun", again)

    def note_gap(self, now_s: float) -> float:
        """Note the time of a look: silence before the machine woke from sleep does not count.

        Returns:
            How far the clock was set back since the look before; 0.0 if it was not.
        """
        gap_s = now_s - self._looked_at_s
        if abs(gap_s) > GAP_S:
            self._awake_since_s = now_s
        self._looked_at_s = now_s
        return -gap_s if gap_s < -GAP_S else 0.0

    def take_resumed(self) -> int:
        """Return how many sessions went on by a run since this was last called."""
        resumed, self._resumed = self._resumed, 0
        return resumed

    def watch(self, entry: SessionEntry, now_s: float) -> None:
        """Look at a session's run: note its progress, account for its end, or end it for its silence.

        Raises:
            OSError: a decision could not be written down.
        """
        context, run = self._context, entry.run
        assert run is not None
        lives = context.runs.lives(run)  # before the look, which then does not see it as somebody else
        session = context.look(entry)
        progressed = session is not None and (session.transcript.progress_at_s or 0.0) > run.began_s
        if progressed and not run.progressed:
            entry = msgspec.structs.replace(rules.with_run(entry, progressed=True), attempt=0)
            context.record.keep("progress", entry, session)
            context.scouts.let_others(entry.account, entry.key)
        if not lives and not (run.is_handed and self._is_under_way(entry, session)):
            self._ended(entry, session, now_s)
            return
        said_s = max(context.runs.changed_at_s(run), session.changed_at_s if session else 0.0)
        moved_s = max(run.began_s, self._awake_since_s, said_s)
        if now_s - moved_s > context.limits.silence_s:
            context.runs.end(run)
            context.scouts.let_others(entry.account, entry.key)
            note = f"its run wrote nothing for {int(context.limits.silence_s)} s, and was ended"
            # Looked at again: its process, which lived in it a moment ago, is gone.
            self._failed(entry, context.look(entry), now_s, note)

    def _is_under_way(self, entry: SessionEntry, session: Session | None) -> bool:
        """Whether the server that took a run's prompt is at it, or has not begun yet."""
        assert entry.run is not None
        if session is None or self._context.runs.exit_code(entry.run) not in (0, None):
            return False
        return session.verdict.reason is Reason.RUNNING or rules.name_of(session) == entry.observed

    def _ended(self, entry: SessionEntry, session: Session | None, now_s: float) -> None:
        context, run = self._context, entry.run
        assert run is not None
        context.scouts.let_others(entry.account, entry.key)
        if context.runs.was_refused(run):
            again = msgspec.structs.replace(entry, state=State.SCHEDULED, at_s=now_s, run=None)
            context.record.keep("had not begun", again)
            return
        code = context.runs.exit_code(run)
        note = f"its run ended with {'an unknown code' if code is None else code}"
        if run.new_id:
            self._fresh_ended(entry, session, now_s, code, note)
            return
        if session is None:
            gone = msgspec.structs.replace(entry, state=State.STOPPED, note=rules.RECORD_GONE)
            context.record.keep("gone", gone)
        else:
            happened, why = rules.what_ended(session, context.profile(entry.agent))
            told = self._told_by(entry, session, code, now_s)
            wrote_nothing = rules.name_of(session) == entry.observed or told is not None
            went_on = run.progressed or (happened is Happened.SEEN_DONE and not wrote_nothing)
            if not went_on and (wrote_nothing or happened is Happened.SEEN_RESUMABLE):
                self._failed(entry, session, now_s, note, told)
                return
            resumes = entry.resumes + (1 if went_on else 0)
            went = msgspec.structs.replace(entry, resumes=resumes)
            after = rules.settled(went, session, happened, why, context.limits.delays)
            context.record.keep("ended", after, session, exit=code)
            self._resumed += went_on
        context.runs.forget(run)

    def _told_by(
        self, entry: SessionEntry, session: Session, code: int | None, now_s: float
    ) -> Verdict | None:
        """Return why a run failed, by its exit code and last words; None where the record tells that."""
        profile, runs = self._context.profile(entry.agent), self._context.runs
        assert entry.run is not None
        if profile.tells_errors:
            return None
        at_s = runs.changed_at_s(entry.run) or now_s
        failure = failure_of(code, runs.tail(entry.run), at_s, profile.exits)
        verdict = with_facts(session, [failure]).verdict if failure is not None else None
        return verdict if verdict is not None and verdict.reason in RESUMABLE else None

    def _fresh_ended(
        self, entry: SessionEntry, session: Session | None, now_s: float, code: int | None, note: str
    ) -> None:
        run = entry.run
        assert run is not None
        given_id = run.new_id if run.new_id in run.argv else ""
        linked = self._context.took_over(entry, given_id, run.began_s)
        if code == 0 or (code is None and linked):  # None: of a run that an earlier daemon began
            linked = linked or (f"{entry.agent}:{given_id}" if given_id else "")
            note = f"{linked or 'a new session'} took over"
            done = msgspec.structs.replace(
                entry, state=State.DONE, since_s=now_s, continued_by=linked, note=note
            )
            self._context.record.keep("took over", done, session, exit=code, continued_by=linked)
            self._context.runs.forget(run, Outcome.TOOK_OVER, linked)
            self._resumed += 1
        else:
            self._failed(entry, session, now_s, note)

    def _failed(
        self,
        entry: SessionEntry,
        session: Session | None,
        now_s: float,
        note: str,
        told: Verdict | None = None,
    ) -> None:
        context, run = self._context, entry.run
        assert run is not None
        limits = context.limits
        after = rules.failed(entry, now_s, note, session, limits.tries, limits.delays, told)
        if session is not None:
            after = guard.same_again(entry, after, (told or session.verdict).said, limits.bounds)
        code, said = context.runs.exit_code(run), context.runs.tail(run)
        context.record.keep("failed", after, session, exit=code, said=said)
        context.runs.forget(run)
        if after.reason is Reason.RATE_LIMIT and after.state is State.SCHEDULED:
            context.postpone_others(after)
            context.scouts.let_others(entry.account, entry.key, after.resets_at_s or after.at_s)
