"""Looks at the sessions, decides by the pure files of this room, and acts.

Owns the order: what is decided is written down, then done, then shown.  All of it blocks; one call at a
time, which `service` and the daemon's work see to.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from palingenesis.agents.profile import Profile, command
from palingenesis.evidence import places, processes, quota
from palingenesis.evidence.attention import Attention
from palingenesis.evidence.survey import Session, Survey
from palingenesis.hooks.told import Told
from palingenesis.resume import entry as rules
from palingenesis.resume import freezer, guard, project, schedule, turns
from palingenesis.resume.audit import Audit
from palingenesis.resume.backup import keep_backup
from palingenesis.resume.entry import Entry, Run
from palingenesis.resume.launch import Runs
from palingenesis.resume.ledger import Ledger
from palingenesis.resume.notes import prompt_from_notes
from palingenesis.resume.prompt import resume_prompt
from palingenesis.resume.states import Happened, State
from palingenesis.verdict.reasons import RESUMABLE, Reason

logger = logging.getLogger("palingenesis.resume")

# Between looks.  Sessions at work are looked at each other time, for their process.
TICK_S: Final = 1.0
LIVING_EVERY_S: Final = 2.0
# How long a try waits for somebody who lives in the session to leave.
POSTPONE_S: Final = 30.0
# Two looks that are further apart: the machine slept, or its clock was set.
GAP_S: Final = 60.0
# Begun runs that are kept of a session, for its bound a day.
MAX_BEGUN: Final = 1_000
_AT_WORK: Final = (State.RUNNING, State.WAITING_INSIDE)


class Limits(msgspec.Struct, frozen=True):
    """What the configuration says about resuming.

    Attributes:
        enabled: whether sessions are resumed at all.
        silence_s: a run that writes nothing for so long is a failed try.
        tries: tries without progress, until a session is given up.
        backups: backups of full sessions that are kept.
        delays: how long a try waits after one that brought nothing.
        bounds: what a session may cost.
    """

    enabled: bool = True
    silence_s: float = 600.0
    tries: int = schedule.MAX_TRIES
    backups: int = 10
    delays: schedule.Delays = schedule.Delays()
    bounds: guard.Bounds = guard.Bounds()


class Counted(NamedTuple):
    """What one look adds to the counts of STATUS.

    Attributes:
        saved: the records that changed, the last one at the end.
        resumed: sessions that went on by a run of ours.
    """

    saved: list[str]
    resumed: int


class Engine:
    """Keeps the sessions of a survey going.

    Args:
        survey: what looks at them.
        ledger: what is kept of them.
        state_dir: for runs, backups and the audit.
        environment: what resumed agents get.
        limits: what the configuration says.
        told: what agents told by their hooks; None where nothing is taken in.
        changed: called with each entry that was written down; None where nobody asks.
    """

    def __init__(
        self,
        survey: Survey,
        ledger: Ledger,
        state_dir: str,
        environment: Mapping[str, str],
        limits: Limits,
        told: Told | None = None,
        changed: Callable[[Entry], None] | None = None,
    ) -> None:
        self._changed = changed
        self._environment = environment
        self.ledger = ledger
        self.limits = limits
        self._told = told
        self._survey = survey
        self._attention = Attention(survey)
        self._state_dir = state_dir
        self._path = environment.get("PATH", os.defpath)
        self._runs = Runs(os.path.join(state_dir, "runs"), environment)
        self._audit = Audit(os.path.join(state_dir, "audit.jsonl"))
        self._resumed = 0
        self._living_at_s = 0.0  # by the monotonic clock
        self._looked_at_s = self._awake_since_s = time.time()
        self._is_first = True

    def use(self, survey: Survey, limits: Limits) -> None:
        """Go on with other agents and limits."""
        self._survey = survey
        self._attention = Attention(survey)
        self.limits = limits
        self._is_first = True

    # --- the work -------------------------------------------------------------------------------

    def recover(self) -> None:
        """Account for the runs that an earlier daemon wrote down."""
        boot, now_s = processes.boot_id(), time.time()
        for entry in list(self.ledger.entries.values()):
            run = entry.run
            if entry.state is not State.RESUMING or run is None:
                continue
            if run.boot != boot:
                other = msgspec.structs.replace(entry, run=_with(run, pid=0, start=""))
                self._keep("the machine has restarted", other)
            elif self._runs.has_begun(run):
                pid, start = (run.pid, run.start) if run.start else self._runs.process_of(run)
                self._keep(
                    "found again", msgspec.structs.replace(entry, run=_with(run, pid=pid, start=start))
                )
            else:
                again = msgspec.structs.replace(entry, state=State.SCHEDULED, at_s=now_s, run=None)
                self._keep("had not begun", again)

    def tick(self) -> Counted:
        """Look at what changed and at what is at work; account for runs; begin those that are due.

        Raises:
            OSError: what was decided could not be written down; nothing was done by it.
        """
        now_s = time.time()
        self._note_gap(now_s)
        changed = self._attention.changed(now_s)
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
            self._observe(self._survey.look_at(dict.fromkeys(changed)))
        for entry in list(self.ledger.entries.values()):
            if entry.state is State.RESUMING:
                self._watch_run(entry, now_s)
        if self.limits.enabled:
            for key in turns.may_begin(self.ledger.entries.values(), time.time()):
                self._try(self.ledger.entries[key])
        self.ledger.forget(now_s)
        resumed, self._resumed = self._resumed, 0
        return Counted(saved, resumed)

    def _told_of(self, now_s: float) -> list[tuple[str, str]]:
        """Return the kept sessions of which hooks told something; new ones are found by their records."""
        told = [] if self._told is None else self._told.take_in(self._survey.profiles, now_s)
        entries = (self.ledger.entries.get(key) for key in told)
        return [(one.agent, one.path) for one in entries if one is not None]

    def _note_gap(self, now_s: float) -> None:
        """A machine that slept has let its runs sleep too: their silence counts from its waking on."""
        if abs(now_s - self._looked_at_s) > GAP_S:
            self._awake_since_s = now_s
        self._looked_at_s = now_s

    def _observe(self, sessions: Iterable[Session]) -> None:
        changed = []
        for session in sessions:
            before = self.ledger.entries.get(session.key)
            after = rules.observe(
                before, session, self._profile(session.agent), self._account(session.agent),
                self.ledger.watching_since_s, self.limits.delays,
            )  # fmt: skip
            if after is not None:
                after = self._held_if_it_runs_away(after, session)
            if after is not None and after is not before:
                changed.append((after, session))
        if changed:
            self.ledger.keep(*(entry for entry, _ in changed))
        for entry, session in changed:
            self._tell("seen", entry, session)

    def _held_if_it_runs_away(self, entry: Entry, session: Session) -> Entry:
        """Return the entry; held, with its process stopped, where the session sends too many requests."""
        if entry.state is not State.RUNNING or session.verdict.alive_pid is None:
            return entry
        bounds = project.bounds_of(entry.cwd, self.limits.bounds)
        bounds = self.limits.bounds if isinstance(bounds, str) else bounds
        seen = session.transcript
        why = guard.runs_away(seen.recent_requests, seen.recent_errors, bounds)
        held = rules.asked(entry, Happened.HOLD, time.time()) if why else None
        if held is None:
            return entry
        return msgspec.structs.replace(held, note=why, frozen=freezer.freeze(session.verdict.alive_pid))

    def _not_now(self, entry: Entry) -> Entry | None:
        """Return the entry of a try that is due and may not begin now; None where it may."""
        bounds = project.bounds_of(entry.cwd, self.limits.bounds)
        if isinstance(bounds, str) or not bounds.enabled:
            note = bounds if isinstance(bounds, str) else f"{project.NAME} says that it is not resumed"
            return msgspec.structs.replace(entry, state=State.STOPPED, at_s=0.0, note=note)
        wait = guard.not_before(entry, bounds, datetime.now().astimezone())
        if wait is None and entry.reason is Reason.RATE_LIMIT:
            asked = quota.has_ended(self._profile(entry.agent).quota, self._environment, entry.cwd)
            wait = (
                (time.time() + POSTPONE_S, "its limit has not ended, says its agent")
                if asked is False
                else None
            )
        return None if wait is None else msgspec.structs.replace(entry, at_s=wait[0], note=wait[1])

    # --- a try ----------------------------------------------------------------------------------

    def _try(self, entry: Entry) -> None:
        """Begin a run, unless the session is not any more what the decision was made from."""
        session = self._look(entry)
        now_s = time.time()
        if session is None:
            self._keep("gone", msgspec.structs.replace(entry, state=State.STOPPED, note="its record is gone"))
            return
        if session.verdict.alive_pid is not None:
            note = f"process {session.verdict.alive_pid} lives in it: waiting for its end"
            self._keep(
                "postponed", msgspec.structs.replace(entry, at_s=now_s + POSTPONE_S, note=note), session
            )
            return
        if entry.observed != rules.name_of(session):
            self._observe([session])
            return
        if (waiting := self._not_now(entry)) is not None:
            self._keep("postponed", waiting, session)
            return
        run = self._run_of(entry, session, now_s)
        if isinstance(run, str):
            self._keep("failed", self._failed(entry, now_s, run), session)
            return
        begun_at_s = (*entry.begun_at_s, now_s)[-MAX_BEGUN:]
        begun = msgspec.structs.replace(
            entry, run=run, state=State.RESUMING, since_s=now_s, begun_at_s=begun_at_s, wanted_at_s=0.0
        )
        self._begin(begun, session)

    def _begin(self, entry: Entry, session: Session) -> None:
        assert entry.run is not None
        self._keep("intended", entry, session)  # on the disk before there is a process
        try:
            pid, start = self._runs.begin(entry.run, entry.cwd)
        except OSError as error:
            self._runs.has_begun(entry.run)
            note = f"its run could not be started: {error.strerror}"
            self._keep("failed", self._failed(entry, time.time(), note))
            return
        self._keep("begun", msgspec.structs.replace(entry, run=_with(entry.run, pid=pid, start=start)))

    def _run_of(self, entry: Entry, session: Session, now_s: float) -> Run | str:
        """Return the run that a session needs, or why there can be none."""
        profile = self._profile(entry.agent)
        is_fresh = entry.reason is Reason.CONTEXT
        words = profile.fresh if is_fresh else profile.resume
        if not words:
            return f"{entry.agent} has no command for that"
        if shutil.which(words[0], path=self._path) is None:
            return f"{words[0]} is not in the daemon's PATH"
        if not os.path.isdir(entry.cwd):
            return f"its directory {entry.cwd} is not there"
        new_id = str(uuid.uuid4()) if is_fresh else ""
        prompt = self._fresh_prompt(entry, session) if is_fresh else resume_prompt(entry)
        values = {"id": entry.id, "cwd": entry.cwd, "prompt": prompt, "new_id": new_id}
        permissions = profile.permissions.get(session.transcript.permission, ())
        argv = tuple(command(words, values, permissions))
        return Run(uuid.uuid4().hex, argv, now_s, processes.boot_id(), new_id=new_id)

    def _fresh_prompt(self, entry: Entry, session: Session) -> str:
        keep_backup(entry.path, os.path.join(self._state_dir, "backups"), self.limits.backups)
        return prompt_from_notes(entry.cwd, session.transcript.summary)

    def _watch_run(self, entry: Entry, now_s: float) -> None:
        run = entry.run
        assert run is not None
        lives = self._runs.lives(run)  # before the look, which then does not see it as somebody else
        session = self._look(entry)
        progressed = session is not None and (session.transcript.progress_at_s or 0.0) > run.began_s
        if progressed and not run.progressed:
            entry = msgspec.structs.replace(entry, run=_with(run, progressed=True), attempt=0)
            self._keep("progress", entry, session)
        if not lives:
            self._run_ended(entry, session, now_s)
            return
        said_s = max(self._runs.changed_at_s(run), session.changed_at_s if session else 0.0)
        moved_s = max(run.began_s, self._awake_since_s, said_s)
        if now_s - moved_s > self.limits.silence_s:
            self._runs.end(run)
            note = f"its run wrote nothing for {int(self.limits.silence_s)} s, and was ended"
            self._settle_failed(entry, session, now_s, note)

    def _run_ended(self, entry: Entry, session: Session | None, now_s: float) -> None:
        run = entry.run
        assert run is not None
        code = self._runs.exit_code(run)
        note = f"its run ended with {'an unknown code' if code is None else code}"
        if run.new_id:
            self._fresh_ended(entry, session, now_s, code, note)
        elif session is None:
            self._keep("gone", msgspec.structs.replace(entry, state=State.STOPPED, note="its record is gone"))
        else:
            happened, why = rules.what_ended(session, self._profile(entry.agent))
            by_code = self._profile(entry.agent).exits.get(str(code))
            wrote_nothing = rules.name_of(session) == entry.observed or by_code in RESUMABLE
            progressed = entry.run is not None and entry.run.progressed
            went_on = progressed or (happened is Happened.SEEN_DONE and not wrote_nothing)
            if not went_on and (wrote_nothing or happened is Happened.SEEN_RESUMABLE):
                self._settle_failed(entry, session, now_s, note)
                return
            resumes = entry.resumes + (1 if went_on else 0)
            went = msgspec.structs.replace(entry, resumes=resumes)
            after = rules.settled(went, session, happened, why, self.limits.delays)
            self._keep("ended", after, session, exit=code)
            if went_on:
                self._resumed += 1
        self._runs.forget(run)

    def _fresh_ended(
        self, entry: Entry, session: Session | None, now_s: float, code: int | None, note: str
    ) -> None:
        assert entry.run is not None
        if code == 0:
            linked = self._begun_by(entry, entry.run)
            note = f"{linked or 'a new session'} took over"
            done = msgspec.structs.replace(
                entry, state=State.DONE, since_s=now_s, continued_by=linked, note=note
            )
            self._keep("took over", done, session, exit=code, continued_by=linked)
            self._resumed += 1
        else:
            self._settle_failed(entry, session, now_s, note)

    def _begun_by(self, entry: Entry, run: Run) -> str:
        """Return the session that a run began; "" where the agent chose its id, and it is not found."""
        if run.new_id in run.argv:
            return f"{entry.agent}:{run.new_id}"
        for one in self._survey.look(run.began_s):
            if one.agent == entry.agent and one.cwd == entry.cwd and one.id != entry.id:
                return one.key
        return ""

    def _settle_failed(self, entry: Entry, session: Session | None, now_s: float, note: str) -> None:
        assert entry.run is not None
        after = self._failed(entry, now_s, note, session)
        if session is not None:
            after = guard.same_again(entry, after, session.verdict.said, self.limits.bounds)
        code, said = self._runs.exit_code(entry.run), self._runs.tail(entry.run)
        self._keep("failed", after, session, exit=code, said=said)
        self._runs.forget(entry.run)
        if after.reason is Reason.RATE_LIMIT and after.state is State.SCHEDULED:
            self._postpone_others(after)

    def _failed(self, entry: Entry, now_s: float, note: str, session: Session | None = None) -> Entry:
        return rules.failed(entry, now_s, note, session, self.limits.tries, self.limits.delays)

    def _postpone_others(self, scout: Entry) -> None:
        """The scout met the limit again: it holds for all of its account."""
        others = [
            msgspec.structs.replace(one, at_s=scout.at_s + schedule.jitter_s(one.key, 0))
            for one in self.ledger.entries.values()
            if one.account == scout.account and one.state is State.SCHEDULED and one.at_s < scout.at_s
        ]
        if others:
            self.ledger.keep(*others)

    # --- a user's word --------------------------------------------------------------------------

    def ask(self, words: str, happened: Happened, at_s: float = 0.0) -> Entry | str:
        """Do what a user asked about a session; the reason, where that cannot be done."""
        entry = self._named(words)
        if isinstance(entry, str):
            return entry
        after = rules.asked(entry, happened, time.time(), at_s)
        if after is None:
            return f"{entry.key} is {entry.state.value}: it cannot be done now"
        if happened is Happened.RELEASE:
            freezer.thaw(entry.frozen)
            after = msgspec.structs.replace(after, frozen=None)
        if happened is Happened.ABORT and entry.run is not None:
            self._runs.end(entry.run)
            self._runs.forget(entry.run)
        if happened in (Happened.NOW, Happened.RENEW, Happened.WANTED) and not self.limits.enabled:
            return "resume.enabled is false in the configuration"
        self._keep(f"user: {happened.name.lower()}", after)
        return after

    def _named(self, words: str) -> Entry | str:
        kept = self.ledger.entries
        fitting = [one for key, one in kept.items() if words in (key, one.id, one.path)]
        fitting = fitting or [
            one for key, one in kept.items() if words and (key.startswith(words) or one.id.startswith(words))
        ]
        if len(fitting) > 1:
            return f"{words!r} fits {len(fitting)} sessions"
        if fitting:
            return fitting[0]
        seen = [one for one in self._survey.look(0.0) if words and words in (one.key, one.id, one.path)]
        seen = seen or [one for one in self._survey.look(0.0) if words and one.id.startswith(words)]
        if len(seen) != 1:
            return f"no session {words!r}" if not seen else f"{words!r} fits {len(seen)} sessions"
        return self._taken_up(seen[0])

    def _taken_up(self, session: Session) -> Entry:
        """Return the entry of a session that was left alone so far."""
        entry = rules.begun(session, self._account(session.agent))
        happened, why = rules.what_ended(session, self._profile(session.agent))
        if happened is Happened.SEEN_RESUMABLE:
            happened, why = Happened.SEEN_STOPPED, ""
        return rules.settled(entry, session, happened, why)

    # --- small things ---------------------------------------------------------------------------

    def _look(self, entry: Entry) -> Session | None:
        found = self._survey.look_at([(entry.agent, entry.path)])
        return next((one for one in found if one.key == entry.key), None)

    def _profile(self, agent: str) -> Profile:
        return self._survey.profiles[agent]

    def _account(self, agent: str) -> str:
        patterns = self._survey.patterns[agent]
        return f"{agent}:{places.base(patterns[0]) if patterns else ''}"

    def _keep(self, what: str, entry: Entry, session: Session | None = None, **more: Any) -> None:
        self.ledger.keep(entry)
        self._tell(what, entry, session, **more)

    def _tell(self, what: str, entry: Entry, session: Session | None, **more: Any) -> None:
        fields: dict[str, Any] = {
            "session": _utf8(entry.key),
            "state": entry.state.value,
            "reason": entry.reason.value,
            "attempt": entry.attempt,
        }
        if entry.note:
            fields["note"] = _utf8(entry.note)
        if entry.state is State.SCHEDULED:
            fields["due_at_s"] = round(entry.at_s, 3)
        if session is not None:
            fields["verdict"] = msgspec.to_builtins(session.verdict)
        if entry.run is not None and entry.state is State.RESUMING:
            fields["argv"] = [_utf8(word) for word in entry.run.argv]
            fields["pid"] = entry.run.pid
        if self._changed is not None:
            self._changed(entry)
        self._audit.write(what, time.time(), **fields, **more)
        note = f": {entry.note}" if entry.note else ""
        logger.info("%s", _line(f"{entry.key}: {what}: {entry.state.value} ({entry.reason.value}){note}"))


def _with(run: Run, **changes: Any) -> Run:
    return msgspec.structs.replace(run, **changes)


def _utf8(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")


def _line(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in _utf8(text))
