"""Whether a call that failed is made again, and the error that is raised in the end.

Owns the rule, and neither connections nor waiting:

    it did not run                    made again: it runs once in all
    it may have run                   made again only if the method is idempotent
    nobody listens, or no time left   not made again

The connection is new each time.  The error at the end tells of all attempts together: once one
may have run, the call may have.
"""

from __future__ import annotations

from daemonry.errors import ConnectError, ConnectionLost, DeadlineExceeded, IpcError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# How long to wait before each new attempt, in seconds.  The first finds a daemon that was restarted
# since the last call; what loses three connections in a row is not mended by a fourth.
WAITS_S: Final = (0.0, 0.05, 0.2)


class Attempts:
    """The failed attempts of one call.

    Args:
        idempotent: whether the method is idempotent.
        reconnects: whether there can be a new connection.
    """

    __slots__ = ("_failed", "_idempotent", "_may_have_run", "_reconnects")

    def __init__(self, *, idempotent: bool, reconnects: bool = True) -> None:
        self._idempotent = idempotent
        self._reconnects = reconnects
        self._failed = 0
        self._may_have_run = False

    def wait_s(self, error: IpcError, left_s: float | None) -> float:
        """Return how long to wait before the next attempt, in seconds.

        Args:
            error: how the last one failed.
            left_s: the rest of the call's timeout; None for no end.

        Raises:
            IpcError: the call must not be retried; what became of the call.
        """
        again = isinstance(error, ConnectionLost) and self._reconnects
        if isinstance(error, ConnectionLost) and error.ran != "no":
            self._may_have_run = True
            again = again and self._idempotent
        if again and self._failed < len(WAITS_S):
            wait_s = WAITS_S[self._failed]
            if left_s is None or wait_s < left_s:
                self._failed += 1
                return wait_s
        outcome = self._outcome(error)
        raise outcome from outcome.__cause__

    def _outcome(self, error: IpcError) -> IpcError:
        if not self._may_have_run:
            return error
        outcome: IpcError = error
        if isinstance(error, DeadlineExceeded):
            outcome = DeadlineExceeded(error.phase, error.timeout_s, "maybe", error.subject)
        elif isinstance(error, ConnectError):
            outcome = ConnectionLost(error.path, "maybe")
        elif isinstance(error, ConnectionLost):
            outcome = type(error)(error.endpoint, "maybe")
        if outcome is not error:
            outcome.__cause__ = error
        return outcome
