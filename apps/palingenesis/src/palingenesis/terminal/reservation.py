"""A terminal's claim of its session: made when it waits, begun with each run, ended with the terminal.

Owns the claim's course.  So a daemon of another state directory, which knows nothing of this terminal, sees
that the session is in one, also between two runs.  What claims mean is `resume.claim_rules`'s.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from typing import NamedTuple

from palingenesis.evidence.survey import Session
from palingenesis.resume import claims, schedule, turns
from palingenesis.resume import entry as rules
from palingenesis.resume.claim_rules import Outcome, Standing
from palingenesis.resume.others import latest
from palingenesis.resume.turns import Wait


class _Held(NamedTuple):
    path: str
    id: str
    gate: str
    is_begun: bool = False


class Reservation:
    """The claims of one terminal, of which one is open at a time.

    Args:
        silence_s: a run that cannot be seen, and writes nothing for so long, is over.
    """

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._held: _Held | None = None
        self._accounted: set[str] = set()

    def hold(self, session: Session) -> None:
        """Claim a session whose next run is waited for; where another has it, that shows when it is due."""
        with contextlib.suppress(OSError):
            if self._claim(session) is not None:
                self._claim(session)  # what others have tried is accounted for now

    def begin(self, session: Session) -> Wait | None:
        """Note that a run is begun now; return until when it has to wait, where another process has it."""
        now_s = time.time()
        try:
            wait = self._claim(session)
            if wait is not None or self._held is None:
                return wait
            if not claims.begin_here(self._held.gate):
                self._held = None
                return Wait(now_s + turns.ASK_AGAIN_S, "another palingenesis was first")
        except OSError as error:
            self._held = None
            return Wait(now_s + schedule.POSTPONE_S, f"its try cannot be claimed: {error.strerror or error}")
        self._held = self._held._replace(is_begun=True)
        return None

    def close(self) -> None:
        """The terminal is over, or goes on to another session."""
        held, self._held = self._held, None
        if held is not None:
            claims.end(held.gate, Outcome.TRIED if held.is_begun else Outcome.NOT_TRIED)

    def _claim(self, session: Session) -> Wait | None:
        held = self._held
        if held is not None and (held.path, held.id, held.is_begun) == (session.path, session.id, False):
            return None
        self.close()
        stop = rules.stop_in(rules.name_of(session))
        known, means = latest(session, stop, frozenset(self._accounted), self._silence_s)
        now_s = time.time()
        if known is not None and means is Standing.MADE:
            self._accounted.add(known.claim.token)
            return Wait(now_s + schedule.POSTPONE_S, "another palingenesis has tried it")
        gate = ""
        if means is Standing.FREE:
            token = uuid.uuid4().hex
            made = claims.new_claim(session.key, token, stop, in_terminal=True)
            gate = claims.take(session.path, session.id, made, known)
            self._accounted.add(token)
        if not gate:
            return Wait(now_s + turns.ASK_AGAIN_S, "another palingenesis has it")
        self._held = _Held(session.path, session.id, gate)
        return None
