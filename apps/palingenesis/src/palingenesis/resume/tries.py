"""A try that is due: looked at once more, postponed, or begun as a run of the session's agent.

Owns the command of a run, and the order of its beginning: written down first, then started.  What becomes of
the run is `run_watch`'s.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from datetime import datetime

import msgspec

from palingenesis.agents.profile import command
from palingenesis.evidence import processes, quota
from palingenesis.evidence.survey import Session
from palingenesis.resume import entry as rules
from palingenesis.resume import guard, project, schedule
from palingenesis.resume.backup import keep_backup
from palingenesis.resume.claim_rules import Outcome
from palingenesis.resume.context import ResumeContext
from palingenesis.resume.entry import MAX_BEGUN, AgentRun, SessionEntry
from palingenesis.resume.notes import prompt_from_notes
from palingenesis.resume.others import OtherTries
from palingenesis.resume.prompt import resume_prompt
from palingenesis.resume.states import State
from palingenesis.verdict.reasons import Reason


class Tries:
    """Begins the tries that are due.

    Args:
        context: shared with the other parts.
    """

    def __init__(self, context: ResumeContext) -> None:
        self._context = context
        self._others = OtherTries(context)
        self._path = context.environment.get("PATH", os.defpath)

    def try_(self, entry: SessionEntry) -> Session | None:
        """Begin a run, or write down why not.

        Returns:
            The session, where it is not any more as it was when the try was decided: observe it instead.

        Raises:
            OSError: the decision could not be written down; no run was begun.
        """
        context = self._context
        keep = context.record.keep
        session = context.look(entry)
        now_s = time.time()
        if session is None:
            keep("gone", msgspec.structs.replace(entry, state=State.STOPPED, note=rules.RECORD_GONE))
            return None
        if session.verdict.alive_pid is not None and not session.verdict.served:
            note = f"process {session.verdict.alive_pid} lives in it: waiting for its end"
            keep(
                "postponed",
                msgspec.structs.replace(entry, at_s=now_s + schedule.POSTPONE_S, note=note),
                session,
            )
            return None
        if entry.observed != rules.name_of(session):
            return session
        if (waiting := self._postponed(entry)) is not None:
            self._keep_postponed(entry, waiting, session)
            return None
        if (after := self._others.hold_up(entry, session)) is not None:
            if after.state is State.SCHEDULED and after.attempt == entry.attempt:
                self._keep_postponed(entry, after, session)
            else:
                keep("tried by another", after, session)
            return None
        run = self._run_of(entry, session, now_s)
        if isinstance(run, str):
            keep("failed", self._failed(entry, now_s, run), session)
            return None
        if (waiting := self._waits_for_account(entry)) is not None:
            self._keep_postponed(entry, waiting, session)
            return None
        claimed = self._others.claim(entry, session, run)
        if isinstance(claimed, SessionEntry):
            context.scouts.let_others(entry.account, entry.key)
            self._keep_postponed(entry, claimed, session)
            return None
        begun_at_s = (*entry.begun_at_s, now_s)[-MAX_BEGUN:]
        begun = msgspec.structs.replace(
            entry, run=claimed, state=State.RESUMING, since_s=now_s, begun_at_s=begun_at_s, wanted_at_s=0.0
        )
        self._begin(begun, session)
        return None

    def _keep_postponed(self, entry: SessionEntry, waiting: SessionEntry, session: Session) -> None:
        """Write down that a try waits; in the audit once for each cause, however often it is looked at."""
        if waiting.note == entry.note:
            self._context.record.ledger.keep(waiting)
        else:
            self._context.record.keep("postponed", waiting, session)

    def _postponed(self, entry: SessionEntry) -> SessionEntry | None:
        """Return the entry of a try that is due and may not begin now; None where it may."""
        context = self._context
        bounds = project.bounds_of(entry.cwd, context.limits.bounds)
        if isinstance(bounds, str):  # somebody may mend the file
            return msgspec.structs.replace(entry, at_s=time.time() + schedule.POSTPONE_S, note=bounds)
        if not bounds.enabled:
            note = f"{project.NAME} says that it is not resumed"
            return msgspec.structs.replace(entry, state=State.STOPPED, at_s=0.0, note=note)
        wait = guard.not_before(entry, bounds, datetime.now().astimezone())
        return None if wait is None else msgspec.structs.replace(entry, at_s=wait[0], note=wait[1])

    def _waits_for_account(self, entry: SessionEntry) -> SessionEntry | None:
        """Return the entry of a try that waits for its account; None where it is the account's scout.

        The scout asks the agent whether the limit has ended, where that can be asked.
        """
        context = self._context
        wait = context.scouts.claim(entry.account, entry.key, entry.since_s)
        if wait is not None:
            spread_s = schedule.MARGIN_S + schedule.jitter_s(entry.key, 0) if wait.is_limit else 0.0
            return msgspec.structs.replace(entry, at_s=wait.at_s + spread_s, note=wait.why)
        if entry.reason is not Reason.RATE_LIMIT:
            return None
        asked = quota.ask(context.profile(entry.agent), context.environment, entry.cwd)
        if asked.ended is not False:
            return None
        at_s = asked.resets_at_s or time.time() + schedule.POSTPONE_S
        context.scouts.let_others(entry.account, entry.key, at_s)
        later = msgspec.structs.replace(entry, at_s=at_s, note="its limit has not ended, says its agent")
        context.postpone_others(later)
        return later

    def _begin(self, entry: SessionEntry, session: Session) -> None:
        context = self._context
        assert entry.run is not None
        try:
            context.record.keep("intended", entry, session)  # on the disk before there is a process
        except OSError:
            context.runs.has_begun(entry.run)
            context.runs.forget(entry.run, Outcome.NOT_TRIED)
            context.scouts.let_others(entry.account, entry.key)
            raise
        try:
            pid, start = context.runs.begin(entry.run, entry.cwd)
        except OSError as error:
            context.runs.has_begun(entry.run)
            context.runs.forget(entry.run)
            note = f"its run could not be started: {error.strerror}"
            context.scouts.let_others(entry.account, entry.key)
            context.record.keep("failed", self._failed(entry, time.time(), note))
            return
        context.record.keep("begun", rules.with_run(entry, pid=pid, start=start))
        at_work = session.verdict.alive_pid if entry.run.is_handed else None
        context.scouts.belongs_to(entry.account, entry.key, at_work or pid)

    def _run_of(self, entry: SessionEntry, session: Session, now_s: float) -> AgentRun | str:
        """Return the run that a session needs, or why none is possible."""
        profile = self._context.profile(entry.agent)
        is_fresh = entry.reason is Reason.CONTEXT
        is_handed = session.verdict.served and not is_fresh
        words = profile.fresh if is_fresh else profile.served if is_handed else profile.resume
        if not words:
            return f"{entry.agent} has no command for that"
        if shutil.which(words[0], path=self._path) is None:
            return f"{words[0]} is not in the daemon's PATH"
        if why := rules.not_to_run(entry.id, entry.cwd):  # of a ledger that another version wrote
            return why
        if not os.path.isdir(entry.cwd):
            return f"its directory {entry.cwd} is not there"
        new_id = str(uuid.uuid4()) if is_fresh else ""
        prompt = self._fresh_prompt(entry, session) if is_fresh else resume_prompt(entry, now_s)
        values = {"id": entry.id, "cwd": entry.cwd, "prompt": prompt, "new_id": new_id}
        permissions = profile.permissions.get(session.transcript.permission, ())
        argv = tuple(command(words, values, permissions))
        boot = processes.boot_id()
        return AgentRun(uuid.uuid4().hex, argv, now_s, boot, new_id=new_id, is_handed=is_handed)

    def _fresh_prompt(self, entry: SessionEntry, session: Session) -> str:
        backups = os.path.join(self._context.state_dir, "backups")
        keep_backup(entry.path, backups, self._context.limits.backups)
        return prompt_from_notes(entry.cwd, session.transcript.summary)

    def _failed(self, entry: SessionEntry, now_s: float, note: str) -> SessionEntry:
        limits = self._context.limits
        return rules.failed(entry, now_s, note, None, limits.tries, limits.delays)
