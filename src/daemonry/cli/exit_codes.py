"""How a command ends: what each exit code means, and which one an error means.

Owns both tables.
"""

from __future__ import annotations

from daemonry import errors
from daemonry.cli.output import DENIED, DONE, FAILED, NO_ANSWER, NOT_RUNNING, UNKNOWN_OUTCOME, USAGE

__all__ = [
    "DENIED",
    "DONE",
    "FAILED",
    "HELP",
    "MEANINGS",
    "NOT_RUNNING",
    "NO_ANSWER",
    "UNKNOWN_OUTCOME",
    "USAGE",
    "code_of",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MEANINGS: Final = {
    DONE: "done, or already so",
    FAILED: "failed",
    USAGE: "wrong usage, or bad input",
    NOT_RUNNING: "not running",
    DENIED: "access denied",
    NO_ANSWER: "no answer within the deadline",
    UNKNOWN_OUTCOME: "outcome unknown: the call may have run",
}
HELP: Final = "exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in MEANINGS.items())

# The first that fits counts: subclasses stand before their bases.
_CODES: Final = (
    (errors.AlreadyRunning, DONE),
    (errors.NotRunning, NOT_RUNNING),
    (errors.NotListening, NOT_RUNNING),
    (errors.ConnectionRefused, NOT_RUNNING),
    (errors.AccessDenied, DENIED),
    (PermissionError, DENIED),
    (errors.Unreachable, NO_ANSWER),
    (errors.DeadlineExceeded, NO_ANSWER),
    (errors.NotReadyInTime, NO_ANSWER),
    (errors.StopFailed, NO_ANSWER),
    (errors.ConnectionLost, UNKNOWN_OUTCOME),
    (errors.EndpointInvalid, USAGE),
    (errors.TargetInvalid, USAGE),
    (errors.ArgumentInvalid, USAGE),
)


def code_of(error: BaseException) -> int:
    """Return the exit code that an error means."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return FAILED
