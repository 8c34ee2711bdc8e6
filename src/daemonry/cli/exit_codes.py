"""How a command ends.

    0  done, or already so
    1  failed
    2  wrong usage, or bad input
    3  not running
    4  access denied
    5  no answer within the deadline
    6  outcome unknown: the call may have run

Owns the table from errors to these codes.
"""

from __future__ import annotations

from daemonry import errors
from daemonry.cli.output import DENIED, DONE, FAILED, NO_ANSWER, NOT_RUNNING, UNKNOWN_OUTCOME, USAGE

__all__ = [
    "DENIED",
    "DONE",
    "FAILED",
    "NOT_RUNNING",
    "NO_ANSWER",
    "UNKNOWN_OUTCOME",
    "USAGE",
    "code_of",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# The first that fits counts: kinds stand before what they are kinds of.
_CODES: Final = (
    (errors.AlreadyRunning, DONE),
    (errors.NotRunning, NOT_RUNNING),
    (errors.NotListening, NOT_RUNNING),
    (errors.ConnectionRefused, NOT_RUNNING),
    (errors.AccessDenied, DENIED),
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
