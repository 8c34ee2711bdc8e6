"""One function: what the evidence about a session says.

Owns the decision why a session is as it is.  The last sign of the transcript or of a hook says where
the turn stands; processes say whether somebody is at it; an error's meaning comes from the agent's own
field first, and from its words where the field says less.  Where nothing decides, the verdict is
`unknown`: a wrong resume costs more than a missed one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from palingenesis.verdict.facts import IN_TURN, TURN, Evidence, Fact, Sign, Source
from palingenesis.verdict.messages import meaning
from palingenesis.verdict.reasons import Confidence, Reason
from palingenesis.verdict.reset_time import from_epoch, reset_of

# Claude Code was seen to continue up to a minute after the reset.
OVERRUN_S: Final = 120.0
# Agents that wait write a line or a retry every 30 s.
HEARTBEAT_S: Final = 90.0
# A tool may run for long without a line; where processes cannot be seen, this long counts as running.
QUIET_S: Final = 300.0
# From here on a limit is used up.
_USED_UP: Final = 0.995

# Words that say more than the field beside them: Codex has one kind for limits and for unpaid bills.
_WORDS_WIN: Final = frozenset({Reason.CREDIT, Reason.LOGIN, Reason.TRANSIENT})


class Verdict(msgspec.Struct, frozen=True):
    """Why a session is as it is.

    Attributes:
        reason: why.
        confidence: how sure that is.
        basis: the facts that it rests on.
        resets_at_s: when the limit ends, or the wait of the agent itself; None if not known.
        alive_pid: the process that lives in it; None if there is none, or it is not known.
        served: whether that process is a server of its agent, and nobody is seen at the session.
        overrun: the agent's own wait should be over, and it has not gone on.
        said: what the agent said, bounded; foreign text.
    """

    reason: Reason
    confidence: Confidence
    basis: tuple[Fact, ...] = ()
    resets_at_s: float | None = None
    alive_pid: int | None = None
    served: bool = False
    overrun: bool = False
    said: str = ""


def judge(evidence: Evidence) -> Verdict:
    """Return why the session is as it is, and what that rests on."""
    turn = _last_turn(evidence.facts)
    if turn is None:
        return _without_turn(evidence)
    found = _DECISIONS[turn.sign](turn, evidence)
    living = _living(evidence)
    if living is None:
        return found
    return msgspec.structs.replace(found, alive_pid=living.pid, served=living.sign is Sign.SERVED)


def _last_turn(facts: Iterable[Fact]) -> Fact | None:
    """Return the last sign of the turn.  A hook's counts where it is later than the transcript's.

    Where both say the same, the transcript's does, which has the reset with it.
    """
    last: Fact | None = None
    for fact in facts:
        if fact.sign in TURN and fact.source in (Source.TRANSCRIPT, Source.HOOK, Source.OUTPUT):
            newer = last is None or fact.source is last.source or fact.at_s >= last.at_s
            repeats = last is not None and fact.source is not Source.TRANSCRIPT and fact.sign is last.sign
            last = fact if newer and not repeats else last
    return last


def _without_turn(evidence: Evidence) -> Verdict:
    basis = tuple(fact for fact in evidence.facts if fact.sign is Sign.UNREADABLE)
    said = basis[0].text if basis else ""
    return Verdict(Reason.UNKNOWN, Confidence.NONE, basis, said=said)


def _find(evidence: Evidence, *signs: Sign) -> Fact | None:
    return next((fact for fact in reversed(evidence.facts) if fact.sign in signs), None)


def _living(evidence: Evidence) -> Fact | None:
    return _find(evidence, Sign.ALIVE) or _find(evidence, Sign.MAYBE_ALIVE) or _find(evidence, Sign.SERVED)


# --- one decision for each sign -------------------------------------------------------------------


def _completed(turn: Fact, _: Evidence) -> Verdict:
    return Verdict(Reason.COMPLETED, Confidence.SURE, (turn,))


def _by_user(turn: Fact, _: Evidence) -> Verdict:
    return Verdict(Reason.USER_EXIT, Confidence.SURE, (turn,), said=turn.text)


def _permission(turn: Fact, _: Evidence) -> Verdict:
    return Verdict(Reason.PERMISSION, Confidence.SURE, (turn,), said=turn.text)


def _ended(turn: Fact, evidence: Evidence) -> Verdict:
    """The session ended by something else than its user: what stood before says whether that matters."""
    last = _last_turn(fact for fact in evidence.facts if fact.sign is not Sign.ENDED)
    if last is None:
        return Verdict(Reason.UNKNOWN, Confidence.NONE, (turn,))
    if last.sign in IN_TURN:
        return Verdict(Reason.CRASHED, Confidence.LIKELY, (last, turn))
    return _DECISIONS[last.sign](last, evidence)


def _in_turn(turn: Fact, evidence: Evidence) -> Verdict:
    if living := _find(evidence, Sign.ALIVE, Sign.SERVED):  # a server goes on with a turn by itself
        return Verdict(Reason.RUNNING, Confidence.SURE, (turn, living))
    if living := _find(evidence, Sign.MAYBE_ALIVE):
        return Verdict(Reason.RUNNING, Confidence.LIKELY, (turn, living))
    return _left_in_turn(turn, evidence)


def _left_in_turn(turn: Fact, evidence: Evidence) -> Verdict:
    """Nobody is seen in a session that stopped in the middle of a turn."""
    gone = _find(evidence, Sign.DEAD, Sign.NOBODY)
    booted = _find(evidence, Sign.BOOTED)
    if booted is not None and booted.at_s > turn.at_s:
        return Verdict(Reason.MACHINE, _sure_of_restart(gone, evidence), (turn, booted))
    if gone is None:
        fresh = evidence.now_s - turn.at_s <= QUIET_S
        return Verdict(Reason.RUNNING if fresh else Reason.UNKNOWN, Confidence.NONE, (turn,))
    if gone.sign is Sign.DEAD:
        return Verdict(Reason.CRASHED, Confidence.SURE, (turn, gone))
    if evidence.registers:
        # A crash leaves the entry in the registry.  There is none, so the end was clean: the user left, or
        # closed the window.  To leave it alone is the safe reading of the two.
        return Verdict(Reason.USER_EXIT, Confidence.LIKELY, (turn, gone))
    if not evidence.tells_errors:
        return Verdict(Reason.UNKNOWN, Confidence.NONE, (turn, gone))
    return Verdict(Reason.CRASHED, Confidence.LIKELY, (turn, gone))


def _sure_of_restart(gone: Fact | None, evidence: Evidence) -> Confidence:
    """How sure it is that a turn ran when the machine went down, and had not been left before that.

    Where no process is left, a registry has no entry, or errors are not written down, a turn that was
    left or failed looks the same.
    """
    left_looks_the_same = evidence.registers or not evidence.tells_errors
    if gone is not None and gone.sign is Sign.NOBODY and left_looks_the_same:
        return Confidence.LIKELY
    return Confidence.SURE


def _retrying(turn: Fact, evidence: Evidence) -> Verdict:
    basis: tuple[Fact, ...] = (turn,)
    living = _living(evidence)
    gone = _find(evidence, Sign.DEAD, Sign.NOBODY)
    if living is not None:
        basis += (living,)
    elif gone is not None:
        return _died_waiting(turn, gone, evidence)
    elif evidence.now_s - turn.at_s > HEARTBEAT_S + max(0.0, (turn.until_s or turn.at_s) - turn.at_s):
        return Verdict(Reason.UNKNOWN, Confidence.NONE, basis, said=turn.text)
    confidence = Confidence.SURE if living is not None else Confidence.LIKELY
    overrun = turn.until_s is not None and evidence.now_s > turn.until_s + OVERRUN_S
    return Verdict(Reason.WAITING_INSIDE, confidence, basis, turn.until_s, overrun=overrun, said=turn.text)


def _died_waiting(turn: Fact, gone: Fact, evidence: Evidence) -> Verdict:
    """Its process died while it waited: the limit that it waited for still holds."""
    if meaning(turn.text) is Reason.RATE_LIMIT:
        return Verdict(Reason.RATE_LIMIT, Confidence.LIKELY, (turn, gone), turn.until_s, said=turn.text)
    return _left_in_turn(turn, evidence)


def _failed(turn: Fact, evidence: Evidence) -> Verdict:
    reason = _reason_of(turn)
    if reason is Reason.PROGRESS:
        return _in_turn(turn, evidence)
    if reason is Reason.UNKNOWN:
        return Verdict(Reason.UNKNOWN, Confidence.NONE, (turn,), said=turn.text)
    if reason is not Reason.RATE_LIMIT:
        return Verdict(reason, Confidence.SURE, (turn,), said=turn.text)
    return _limited(turn, evidence)


def _reason_of(turn: Fact) -> Reason:
    by_words = meaning(turn.text)
    if turn.reason is None or by_words in _WORDS_WIN:
        return by_words
    return turn.reason


def _limited(turn: Fact, evidence: Evidence) -> Verdict:
    resets_at_s, quota = _reset(turn, evidence)
    basis = (turn, *quota)
    armed = _find(evidence, Sign.NATIVE_WAIT)
    living = _living(evidence)
    if armed is not None and armed.at_s >= turn.at_s - 1 and living is not None:
        overrun = resets_at_s is not None and evidence.now_s > resets_at_s + OVERRUN_S
        return Verdict(
            Reason.WAITING_INSIDE, Confidence.SURE, (*basis, armed, living), resets_at_s, overrun=overrun,
            said=turn.text,
        )  # fmt: skip
    return Verdict(Reason.RATE_LIMIT, Confidence.SURE, basis, resets_at_s, said=turn.text)


def _reset(turn: Fact, evidence: Evidence) -> tuple[float | None, tuple[Fact, ...]]:
    """Return when the limit ends: by the error's own field, by the quota's, by the words."""
    said_at = datetime.fromtimestamp(turn.at_s, UTC)
    if instant := from_epoch(turn.until_s, said_at):
        return instant.timestamp(), ()
    used_up = [fact for fact in evidence.facts if fact.sign is Sign.QUOTA and (fact.used or 0) >= _USED_UP]
    ends = [(end.timestamp(), fact) for fact in used_up if (end := from_epoch(fact.until_s, said_at))]
    if ends:
        last = max(ends, key=lambda pair: pair[0])  # all of them must have ended
        return last[0], (last[1],)
    by_words = reset_of(turn.text, said_at, _zone(evidence.zone))
    return (by_words.timestamp() if by_words else None), ()


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (OSError, ValueError, LookupError):
        return UTC


_DECISIONS: Final = {
    Sign.PROMPTED: _in_turn,
    Sign.ANSWERING: _in_turn,
    Sign.TOOL_RUNNING: _in_turn,
    Sign.COMPLETED: _completed,
    Sign.FAILED: _failed,
    Sign.RETRYING: _retrying,
    Sign.INTERRUPTED: _by_user,
    Sign.ASKS_PERMISSION: _permission,
    Sign.ENDED_BY_USER: _by_user,
    Sign.ENDED: _ended,
}
