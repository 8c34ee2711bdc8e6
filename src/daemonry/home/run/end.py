"""The end of a run, judged: stopped, idle, done, to be restarted, or given up.

Owns the order in which the reasons count.  A stop that was asked for comes first, then the daemon's own
word, then idleness, and last the restart policy of `policy`.  What follows is `keeper`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from daemonry.home.policy import GiveUp, Leave, Policy, Restart, after_end
from daemonry.process import homes


class RunEnd(NamedTuple):
    """How a run ended.

    Attributes:
        code: the exit code, negative for a signal; None where it cannot be known.
        failure: why the supervisor ended it or could not start it, or "".
        word: how a daemon of daemonry says that it ended: `homes.IDLE`, `homes.BY_COMMAND`, or "".
        is_idle: whether the supervisor ended it because it was idle.
    """

    code: int | None
    failure: str = ""
    word: str = ""
    is_idle: bool = False

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than it should."""
        # The exit code of a run that a predecessor started is unknown; its word counts instead.
        meant = self.is_idle or self.code == 0 or (self.code is None and self.word == homes.IDLE)
        return bool(self.failure) or not meant


class Stopped(NamedTuple):
    """It was asked to stop.

    Attributes:
        as_expected: whether it ended with 0, or by a signal that stops it.
    """

    as_expected: bool


class StoppedByCommand(NamedTuple):
    """Somebody stopped the daemon itself, by its own command line."""


class EndedIdle(NamedTuple):
    """It is not needed now.

    Attributes:
        starts_itself: whether the daemon ended by itself, and a client's call starts it again; else its
            trigger does.
    """

    starts_itself: bool


Judgement = Stopped | StoppedByCommand | EndedIdle | Restart | Leave | GiveUp


class Expectation(NamedTuple):
    """The rules that a run's end is held against.

    Attributes:
        is_stopping: whether it was asked to stop.
        stop_signals: the signals that it is stopped by.
        has_trigger: whether something starts it later.
        policy: the restart policy.
    """

    is_stopping: bool
    stop_signals: Sequence[int]
    has_trigger: bool
    policy: Policy


def given_up(decided: GiveUp, span_s: float) -> str:
    """Return a sentence about a service that is given up; `span_s` is the counted span."""
    if not decided.restarts:
        return "given up"
    restarts = "1 restart" if decided.restarts == 1 else f"{decided.restarts} restarts"
    return f"given up after {restarts} within {span_s:g} s"


def judge(
    end: RunEnd, rules: Expectation, restarts_s: Sequence[float], now_s: float, dice: float
) -> Judgement:
    """Return what follows from the end of a run.

    Args:
        end: the end.
        rules: the rules.
        restarts_s: the moments of former restarts, on the clock of `now_s`.
        now_s: the moment of the end.
        dice: a number from [0, 1).
    """
    if rules.is_stopping:
        return Stopped(end.code in (0, None, *(-number for number in rules.stop_signals)))
    if end.word == homes.BY_COMMAND:
        return StoppedByCommand()
    if not end.failed and (end.word == homes.IDLE or rules.has_trigger):
        return EndedIdle(starts_itself=end.word == homes.IDLE)
    return after_end(rules.policy, end.failed, restarts_s, now_s, dice)
