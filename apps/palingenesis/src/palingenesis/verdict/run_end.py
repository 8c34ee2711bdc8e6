"""What the end of a run without a window tells, where the agent's record does not tell why a turn failed.

Owns the decision.  The exit code comes first, by the agent's table; the words that it printed last, on the
stream of its errors, say the rest, such as when a limit ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from palingenesis.verdict.facts import Fact, Sign, Source
from palingenesis.verdict.messages import meaning
from palingenesis.verdict.reasons import Reason
from palingenesis.verdict.reset_time import reset_of

_NO_END: Final = frozenset({Reason.UNKNOWN, Reason.PROGRESS, Reason.USER_EXIT})


def failure_of(code: int | None, said: str, at_s: float, exits: Mapping[str, Reason]) -> Fact | None:
    """Return the error that ended a run; None where neither its code nor its words tell one.

    Args:
        code: its exit code; None for a run that a signal ended.
        said: the last that it printed, some kilobytes at most; foreign text.
        at_s: when that was.
        exits: what the agent's exit codes mean.
    """
    if not code:
        return None
    reason = exits.get(str(code))
    words = _telling(said, reason, datetime.fromtimestamp(at_s, UTC))
    if reason is None and not words:
        return None
    return Fact(Sign.FAILED, Source.OUTPUT, at_s, text=words, reason=reason)


def _telling(said: str, reason: Reason | None, at: datetime) -> str:
    """Return the last line that means `reason`, or any end; of a limit the last that says when it ends."""
    found = ""
    for line in reversed(said.splitlines()):
        means = meaning(line)
        if means in _NO_END or reason not in (None, means):
            continue
        if means is not Reason.RATE_LIMIT or reset_of(line, at, UTC) is not None:
            return line.strip()
        found, reason = found or line.strip(), means
    return found
