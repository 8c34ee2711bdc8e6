"""The parts of resuming share these: the survey, the limits, the runs, and the record of decisions.

Owns writing a decision down before anybody hears of it: on the disk first, then in the audit and the log.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from palingenesis.agents.profile import Profile
from palingenesis.evidence.survey import Session, Survey
from palingenesis.path_text import listed
from palingenesis.resume import guard, schedule
from palingenesis.resume.audit import Audit
from palingenesis.resume.entry import SessionEntry
from palingenesis.resume.launch import Runs
from palingenesis.resume.ledger import Ledger
from palingenesis.resume.scouts import Scouts
from palingenesis.resume.states import State

logger = logging.getLogger("palingenesis.resume")


class ResumeLimits(msgspec.Struct, frozen=True):
    """The configuration's settings of resuming.

    Attributes:
        enabled: whether sessions are resumed at all.
        silence_s: a run that writes nothing for so long is a failed try.
        tries: tries without progress, until a session is given up.
        backups: backups of full sessions that are kept.
        delays: how long a try waits after one without progress.
        bounds: how much a session may cost.
    """

    enabled: bool = True
    silence_s: float = 600.0
    tries: int = schedule.MAX_TRIES
    backups: int = 10
    delays: schedule.Delays = schedule.Delays()
    bounds: guard.HoldingBounds = guard.HoldingBounds()


class DecisionRecord:
    """Writes decisions down: the ledger, then the audit, the log, and a callback.

    Args:
        ledger: the sessions' entries.
        audit_path: the file of the audit.
        changed: called with each entry that was written down; None for no callback.
    """

    def __init__(
        self, ledger: Ledger, audit_path: str, changed: Callable[[SessionEntry], None] | None
    ) -> None:
        self.ledger = ledger
        self._audit = Audit(audit_path)
        self._changed = changed

    def keep(self, what: str, entry: SessionEntry, session: Session | None = None, **more: Any) -> None:
        """Write down an entry and why it changed.

        Args:
            what: what happened, in a word or two.
            entry: the session's new entry.
            session: the observation that it was decided from, where there was one.
            more: further fields of the audit's line.

        Raises:
            OSError: the ledger cannot be written; the entry is as it was.
        """
        self.ledger.keep(entry)
        self._tell(what, entry, session, **more)

    def keep_seen(self, seen: Iterable[tuple[SessionEntry, Session]]) -> None:
        """Write down many entries at once, each with the observation that it was decided from.

        Raises:
            OSError: as `keep`.
        """
        pairs = list(seen)
        if pairs:
            self.ledger.keep(*(entry for entry, _ in pairs))
        for entry, session in pairs:
            self._tell("seen", entry, session)

    def _tell(self, what: str, entry: SessionEntry, session: Session | None, **more: Any) -> None:
        fields: dict[str, Any] = {
            "session": listed(entry.key),
            "state": entry.state.value,
            "reason": entry.reason.value,
            "attempt": entry.attempt,
        }
        if entry.note:
            fields["note"] = listed(entry.note)
        if entry.state is State.SCHEDULED:
            fields["due_at_s"] = round(entry.at_s, 3)
        if session is not None:
            fields["verdict"] = msgspec.to_builtins(session.verdict)
        if entry.run is not None and entry.state is State.RESUMING:
            fields["argv"] = [listed(word) for word in entry.run.argv]
            fields["pid"] = entry.run.pid
        if self._changed is not None:
            self._changed(entry)
        self._audit.write(what, time.time(), **fields, **more)
        note = f": {entry.note}" if entry.note else ""
        logger.info("%s", _line(f"{entry.key}: {what}: {entry.state.value} ({entry.reason.value}){note}"))


class ResumeContext:
    """Shared by the parts of resuming.

    Args:
        survey: looks at the sessions.
        limits: the configuration's.
        record: where decisions are written down.
        state_dir: for runs and backups.
        environment: of the agents that are run.

    Attributes:
        survey, limits: replaced when the configuration changes.
        runs: the agents' processes.
        scouts: whose turn it is on an account, among all processes of this user.
    """

    def __init__(
        self,
        survey: Survey,
        limits: ResumeLimits,
        record: DecisionRecord,
        state_dir: str,
        environment: Mapping[str, str],
    ) -> None:
        self.survey = survey
        self.limits = limits
        self.record = record
        self.state_dir = state_dir
        self.environment = environment
        self.runs = Runs(os.path.join(state_dir, "runs"), environment)
        self.scouts = Scouts(state_dir)

    def look(self, entry: SessionEntry) -> Session | None:
        """Look at an entry's session; None where its record is gone."""
        found = self.survey.look_at([(entry.agent, entry.path)])
        return next((one for one in found if one.key == entry.key), None)

    def profile(self, agent: str) -> Profile:
        """Return an agent's profile."""
        return self.survey.profiles[agent]

    def account(self, agent: str) -> str:
        """Return the name of those that share an agent's limit."""
        return self.survey.account(agent)

    def took_over(self, entry: SessionEntry, new_id: str, since_s: float) -> str:
        """Return the session that has taken over from a full one and has an answer; "" for no such session.

        Args:
            entry: the full session.
            new_id: the id that the new one was given; "" where its agent chose that.
            since_s: when it was begun.
        """
        begun = self.begun_by(entry, new_id, since_s)
        return next((one.key for one in begun if (one.transcript.progress_at_s or 0.0) > since_s), "")

    def begun_by(self, entry: SessionEntry, new_id: str, since_s: float) -> Iterator[Session]:
        """Yield the sessions that a run from a full one has begun; the arguments are those of `took_over`."""
        for one in self.survey.look(since_s):
            is_it = one.id == new_id if new_id else one.cwd == entry.cwd and one.id != entry.id
            if one.agent == entry.agent and is_it:
                yield one

    def postpone_others(self, scout: SessionEntry) -> None:
        """Postpone the tries of a whole account, whose scout has met the limit again.

        Raises:
            OSError: that could not be written down.
        """
        ledger = self.record.ledger
        others = [
            msgspec.structs.replace(one, at_s=scout.at_s + schedule.jitter_s(one.key, 0))
            for one in ledger.entries.values()
            if one.account == scout.account and one.state is State.SCHEDULED and one.at_s < scout.at_s
        ]
        if others:
            ledger.keep(*others)


def _line(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in listed(text))
