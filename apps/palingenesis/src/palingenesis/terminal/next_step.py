"""What follows when the program in a terminal has stopped: it is over, it goes on later, or it is given up.

Owns the decision.  The verdict is `verdict.judge`'s, the times are `resume.schedule`'s; how the process
ended says whether its user ended it.  No I/O, no clock.
"""

from __future__ import annotations

import os
import signal
from typing import Final

import msgspec

from palingenesis.resume import schedule
from palingenesis.verdict.judge import Verdict
from palingenesis.verdict.reasons import RESUMABLE, Confidence, Reason

# sysexits.h: EX_TEMPFAIL, what `run` ends with when it gives up on a limit.
GAVE_UP: Final = 75
# Signals by which somebody asks a program to end.  Its user did that, or the machine does.
_ASKED: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
# Signals by which a program ends that neither wanted it nor was asked to.
_KILLED: Final = frozenset(
    {signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}
)
# A program in its terminal that nobody has typed in for so long is alone with its limit.
ALONE_S: Final = 60.0


class Over(msgspec.Struct, frozen=True):
    """The program has ended, and so has its terminal."""


class Later(msgspec.Struct, frozen=True):
    """It goes on.

    Attributes:
        at_s: when.
        reason: why it stopped.
    """

    at_s: float
    reason: Reason


class GivenUp(msgspec.Struct, frozen=True):
    """It is not tried again.

    Attributes:
        why: for its user.
        code: the exit code; None for the program's own.
    """

    why: str
    code: int | None = None


NextStep = Over | Later | GivenUp


class Allowance(msgspec.Struct, frozen=True):
    """How long and how often it is tried.

    Attributes:
        began_s: when the terminal began.
        budget_s: how long after that a try may begin; None without end.
        tries: how many tries may bring nothing, one after the other.
        delays: how long a try waits after one that brought nothing.
    """

    began_s: float
    budget_s: float | None = None
    tries: int = schedule.MAX_TRIES
    delays: schedule.Delays = schedule.Delays()


def after_end(
    key: str, status: int, verdict: Verdict | None, attempt: int, allowance: Allowance, now_s: float
) -> NextStep:
    """Return what follows when the program has ended.

    Args:
        key: names the session.
        status: how it ended, as wait(2) tells.
        verdict: why, as far as its record tells; None where there is no record.
        attempt: tries that brought nothing so far.
        allowance: how long and how often.
        now_s: when it ended.
    """
    if verdict is None or verdict.confidence is Confidence.NONE or _was_asked_to_end(status):
        return Over()
    if verdict.reason not in RESUMABLE and verdict.reason is not Reason.CONTEXT:
        return Over()
    if verdict.reason in (Reason.CRASHED, Reason.MACHINE) and status == 0:
        return Over()  # it ended by its own will, in the middle of a turn: so its user wanted it
    return _at(key, verdict, attempt, allowance, now_s)


def while_alive(
    key: str, verdict: Verdict, typed_at_s: float, attempt: int, allowance: Allowance, now_s: float
) -> NextStep | None:
    """Return what follows while the program lives and its session has stopped; None where it is left alone.

    It is left alone when it waits by itself, and when somebody has typed since it stopped, or just now.

    Args:
        key: names the session.
        verdict: why it stopped.
        typed_at_s: when somebody typed last.
        attempt: tries that brought nothing so far.
        allowance: how long and how often.
        now_s: when this is asked.
    """
    if (
        verdict.reason not in (Reason.RATE_LIMIT, Reason.TRANSIENT)
        or verdict.confidence is not Confidence.SURE
    ):
        return None
    stopped_at_s = verdict.basis[0].at_s if verdict.basis else now_s
    if typed_at_s > stopped_at_s or now_s - typed_at_s < ALONE_S:
        return None
    return _at(key, verdict, attempt, allowance, stopped_at_s)


def _at(key: str, verdict: Verdict, attempt: int, allowance: Allowance, now_s: float) -> NextStep:
    limited = verdict.reason is Reason.RATE_LIMIT
    if attempt >= allowance.tries:
        return GivenUp(f"{attempt} tries brought nothing", GAVE_UP if limited else None)
    at_s = schedule.due_at_s(key, verdict.reason, verdict.resets_at_s, attempt, now_s, allowance.delays)
    if attempt == 0 and verdict.reason in (Reason.CONTEXT, Reason.CRASHED):
        at_s = now_s + 1.0  # nothing is gained by waiting; a program that ends at once counts as a try
    if allowance.budget_s is not None and at_s > allowance.began_s + allowance.budget_s:
        return GivenUp("its budget of time ends before that", GAVE_UP if limited else None)
    return Later(max(at_s, now_s), verdict.reason)


def was_killed(status: int) -> bool:
    """Whether a signal that asks nobody ended a program, or the one for which a shell stands."""
    return _ended_by(status, _KILLED)


def _was_asked_to_end(status: int) -> bool:
    return _ended_by(status, _ASKED)


def _ended_by(status: int, signals: frozenset[signal.Signals]) -> bool:
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status) in signals
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) in {128 + number for number in signals}
