"""Whether a terminal's next try may begin: the account's turn, the quota, and the session's claim.

Owns the order of the questions.  The decisions are `resume.turns`'s and the agent's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from palingenesis.evidence.quota_answer import Quota
from palingenesis.evidence.survey import Session
from palingenesis.resume import schedule
from palingenesis.resume.scouts import Scouts
from palingenesis.resume.turns import Wait
from palingenesis.terminal.reservation import Reservation


class Permit:
    """The tries of one terminal, among all those of its account.

    Args:
        scouts: what other processes try.
        account: whose limit the terminal's sessions are under.
        agent: the agent's name.
        ask: asks whether a limit has ended.
        reservation: the terminal's claim of its session.
    """

    def __init__(
        self,
        scouts: Scouts,
        account: str,
        agent: str,
        ask: Callable[[], Quota],
        reservation: Reservation,
    ) -> None:
        self._scouts = scouts
        self.reservation = reservation
        self._account = account
        self._agent = agent
        self._ask = ask
        self._claimed = ""

    @property
    def is_scout(self) -> bool:
        """Whether others of the account wait for this terminal."""
        return bool(self._claimed)

    def wait(self, session: Session, since_s: float, *, limited: bool) -> Wait | None:
        """Return until when a try has to wait; None where it may begin, and is the account's scout.

        Args:
            session: the session, looked at just now.
            since_s: when the try was decided on.
            limited: whether a limit stopped it.
        """
        key = f"{self._agent}:{session.id}"
        wait = self._scouts.claim(self._account, key, since_s)
        if wait is not None:
            spread_s = schedule.MARGIN_S + schedule.jitter_s(key, 0) if wait.is_limit else 0.0
            return Wait(wait.at_s + spread_s, wait.why, wait.is_limit)
        self._claimed = key
        quota = self._ask() if limited else Quota()
        if quota.ended is not False:
            if (wait := self.reservation.begin(session)) is not None:
                self.over()
            return wait
        again_s = quota.resets_at_s or time.time() + schedule.POSTPONE_S
        self.over(again_s)
        return Wait(again_s, "its limit has not ended yet, says the agent")

    def over(self, limit_until_s: float | None = None) -> None:
        """The model has answered, or the try is over; with a limit that it met, others wait for its end."""
        if self._claimed:
            self._scouts.let_others(self._account, self._claimed, limit_until_s)
        self._claimed = ""
