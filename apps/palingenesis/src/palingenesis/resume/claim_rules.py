"""Whether a session's latest claim lets another one try it.

Owns the decision, and the values that it rests on.  No I/O, no clock.  The files are `claims`'s.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

# A claim whose process lives and that has not begun after this time is refused its beginning.
BEGIN_S: Final = 60.0


class Lives(enum.Enum):
    """Whether a process is there."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"  # it is of another machine, or of a container that is not ours


class Outcome(enum.Enum):
    """What became of a claim whose process has accounted for it."""

    TRIED = "tried"
    TOOK_OVER = "took over"  # a new session has the task
    NOT_TRIED = "not tried"


class SessionClaim(msgspec.Struct, frozen=True):
    """A note, made before a session is tried, for all processes that may try it.

    Attributes:
        session: AGENT:ID, for a reader.
        token: of the run.
        stop: names the stop that it is about.
        began_s: when it was made.
        boot, machine: where its processes are numbered.
        pid, start: the process that made it.
        in_terminal: whether that process holds the session in a terminal, and lives as long as that does.
        new_id: the session that the run begins; "" for none, or where the agent chooses its id.
    """

    session: str
    token: str
    stop: str
    began_s: float
    boot: str
    machine: str
    pid: int
    start: str
    in_terminal: bool = False
    new_id: str = ""


class ClaimEnd(msgspec.Struct, frozen=True):
    """What became of a claim.

    Attributes:
        outcome: in a word.
        continued_by: the session that took over; "" where that is not known.
    """

    outcome: Outcome
    continued_by: str = ""


class KnownClaim(msgspec.Struct, frozen=True):
    """A session's latest claim, as it is found.

    Attributes:
        number: counts the session's claims.
        claim: its content.
        is_begun: whether its run has begun.
        is_void: whether its run can never begin.
        end: what became of it; None where nobody has accounted for it.
        owner: whether the process that made it lives.
        run: whether the run's process lives.
        run_pid: that process; 0 where it is not known.
    """

    number: int
    claim: SessionClaim
    is_begun: bool = False
    is_void: bool = False
    end: ClaimEnd | None = None
    owner: Lives = Lives.NO
    run: Lives = Lives.NO
    run_pid: int = 0


class Standing(enum.Enum):
    """What a session's latest claim means for the next one."""

    FREE = "a try may be claimed"
    WAIT = "another process tries it"
    REFUSE = "another process has not begun: refuse it the beginning, and look again"
    MADE = "another process has tried it, which is not accounted for here"


def standing(
    known: KnownClaim | None,
    stop: str,
    stop_at_s: float,
    accounted: frozenset[str],
    now_s: float,
    moved_s: float,
    silence_s: float,
) -> Standing:
    """Return what a session's latest claim means.

    Args:
        known: the claim; None for no claim yet.
        stop: names the stop that is to be tried.
        stop_at_s: when that was, by the record, which all processes read.
        accounted: the tokens of claims that are accounted for here.
        now_s: the time.
        moved_s: when the record changed last.
        silence_s: a run that cannot be seen, and writes nothing for so long, is over.
    """
    if known is None:
        return Standing.FREE
    claim = known.claim
    if known.end is None and not known.is_void:
        is_fresh = abs(now_s - claim.began_s) < (silence_s if claim.in_terminal else BEGIN_S)
        if not known.is_begun:
            holds = claim.in_terminal and known.owner is Lives.YES
            waits = holds or (known.owner is not Lives.NO and is_fresh)
            return Standing.WAIT if waits else Standing.REFUSE
        moves = abs(now_s - max(claim.began_s, moved_s)) < silence_s
        if known.run is Lives.YES or (known.run is Lives.UNKNOWN and moves):
            return Standing.WAIT
    if known.is_void or claim.token in accounted:
        return Standing.FREE
    if known.end is not None and known.end.outcome is Outcome.NOT_TRIED:
        return Standing.FREE
    is_about_it = claim.stop == stop or claim.began_s > stop_at_s
    return Standing.MADE if is_about_it else Standing.FREE
