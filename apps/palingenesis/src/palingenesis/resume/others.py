"""The tries of one session by other processes: other daemons, of other state directories, and terminals.

Owns their meaning for this daemon's entry, and claiming a try of its own.  The decision is `claim_rules`'s,
the files are `claims`'s.
"""

from __future__ import annotations

import time

import msgspec

from palingenesis.evidence.survey import Session
from palingenesis.resume import claims, turns
from palingenesis.resume import entry as rules
from palingenesis.resume.claim_rules import KnownClaim, Outcome, Standing, standing
from palingenesis.resume.context import ResumeContext
from palingenesis.resume.entry import MAX_BEGUN, AgentRun, SessionEntry
from palingenesis.resume.states import State
from palingenesis.verdict.reasons import Reason


class OtherTries:
    """Other processes' tries of the sessions of one daemon.

    Args:
        context: shared with the other parts.
    """

    def __init__(self, context: ResumeContext) -> None:
        self._context = context

    def hold_up(self, entry: SessionEntry, session: Session) -> SessionEntry | None:
        """Return the entry of a session that another process tries, or has tried; None where it is free."""
        try:
            known, means = self._look(entry, session)
        except OSError as error:
            return _wait(entry, f"who tries it cannot be seen: {error.strerror or error}")
        if known is None or means is Standing.FREE:
            return None
        if means is Standing.WAIT:
            return _wait(entry, f"another palingenesis has it: process {known.run_pid or known.claim.pid}")
        return self._counted(entry, known)

    def claim(self, entry: SessionEntry, session: Session, run: AgentRun) -> AgentRun | SessionEntry:
        """Claim a try, and return its run with its gate; the entry of one that waits where that cannot be."""
        try:
            known, means = self._look(entry, session)
            gate = ""
            if means is Standing.FREE:
                made = claims.new_claim(entry.key, run.token, rules.stop_in(entry.observed))
                new_id = run.new_id if run.new_id in run.argv else ""
                made = msgspec.structs.replace(made, new_id=new_id)
                gate = claims.take(session.path, session.id, made, known)
        except OSError as error:
            return _wait(entry, f"its try cannot be claimed: {error.strerror or error}")
        if not gate:
            return _wait(entry, "another palingenesis was first")
        return msgspec.structs.replace(run, gate=gate)

    def _look(self, entry: SessionEntry, session: Session) -> tuple[KnownClaim | None, Standing]:
        accounted = frozenset({entry.accounted, entry.run.token if entry.run is not None else ""})
        return latest(session, rules.stop_in(entry.observed), accounted, self._context.limits.silence_s)

    def _counted(self, entry: SessionEntry, known: KnownClaim) -> SessionEntry:
        """Return the entry with another's try counted as one of its own."""
        now_s, claim, limits = time.time(), known.claim, self._context.limits
        entry = msgspec.structs.replace(
            entry,
            accounted=claim.token,
            begun_at_s=(*entry.begun_at_s, claim.began_s)[-MAX_BEGUN:],
        )
        linked = known.end.continued_by if known.end is not None else ""
        if entry.reason is Reason.CONTEXT and not linked:
            linked = self._context.took_over(entry, claim.new_id, claim.began_s)
        if linked or (known.end is not None and known.end.outcome is Outcome.TOOK_OVER):
            note = f"{linked or 'a new session'} took over, begun by another palingenesis"
            return msgspec.structs.replace(
                entry, state=State.DONE, since_s=now_s, continued_by=linked, note=note
            )
        note = f"another palingenesis has tried it: process {known.run_pid or claim.pid}"
        return rules.failed(entry, now_s, note, None, limits.tries, limits.delays)


def latest(
    session: Session, stop: str, accounted: frozenset[str], silence_s: float
) -> tuple[KnownClaim | None, Standing]:
    """Return a session's latest claim and what it means; one that does not begin is refused its beginning.

    Args:
        session: as it was looked at before: tries since then have claims.
        stop: names its stop.
        accounted: the tokens of claims that are accounted for here.
        silence_s: a run that cannot be seen, and writes nothing for so long, is over.

    Raises:
        OSError: claims cannot be seen there.
    """
    basis = session.verdict.basis
    stop_at_s = basis[0].at_s if basis else 0.0
    for may_refuse in (True, False):
        known = claims.last(session.path, session.id)
        means = standing(known, stop, stop_at_s, accounted, time.time(), session.changed_at_s, silence_s)
        if known is None or means is not Standing.REFUSE or not may_refuse:
            break
        claims.refuse(claims.gate_of(session.path, session.id, known))
    return known, means


def _wait(entry: SessionEntry, note: str) -> SessionEntry:
    return msgspec.structs.replace(entry, at_s=time.time() + turns.ASK_AGAIN_S, note=note)
