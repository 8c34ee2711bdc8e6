"""Is the daemon there?  Five answers, each with its evidence, from the attempts to reach it.

    serving   it answered
    busy      it is there and did not answer (yet)
    absent    it is certainly not there: the only answer that allows a start
    denied    we may not know
    unreachable
              its machine cannot be asked

Owns the decision.  Trying the lock and the socket is `instance`'s.
"""

from __future__ import annotations

from daemonry.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

SERVING: Final = "serving"
BUSY: Final = "busy"
ABSENT: Final = "absent"
DENIED: Final = "denied"
UNREACHABLE: Final = "unreachable"

# How the connection went.
ANSWERED: Final = "answered"
SILENT: Final = "connected, but no answer in time"
FULL: Final = "the backlog is full"
LOST: Final = "the connection was lost before an answer"
REFUSED: Final = "the connection was refused"
MISSING: Final = "there is no socket"
FORBIDDEN: Final = "access denied"
CUT_OFF: Final = "the machine cannot be reached"

_THERE = frozenset((SILENT, FULL, LOST))


class Liveness(Value):
    """Whether a daemon is there, and how we know.

    Attributes:
        answer: "serving", "busy", "absent", "denied" or "unreachable".
        connection: how the connection went, one of this module's words.
        lock_held: whether the life lock is held; None when it could not be asked.
    """

    __slots__ = ("answer", "connection", "lock_held")
    answer: str
    connection: str
    lock_held: bool | None

    def __init__(self, answer: str, connection: str, lock_held: bool | None) -> None:
        self._set(answer=answer, connection=connection, lock_held=lock_held)

    def evidence(self) -> str:
        """Return how we know, for people."""
        lock = {True: "held", False: "free", None: "unknown"}[self.lock_held]
        return f"{self.connection}; life lock {lock}"


def judge(connection: str, lock_held: bool | None) -> Liveness:
    """Return what a connection's outcome and the life lock say together.

    The lock is the truth where it can be asked: held means alive, whatever the socket does.
    Something that answers or holds the socket without the lock is alive too (another program, or
    one whose state directory was removed): it is not ours to replace.
    """
    if connection == ANSWERED:
        return Liveness(SERVING, connection, lock_held)
    if connection == CUT_OFF:
        return Liveness(UNREACHABLE, connection, lock_held)
    if connection in _THERE or lock_held:
        return Liveness(BUSY, connection, lock_held)
    if connection == FORBIDDEN or lock_held is None:
        return Liveness(DENIED, connection, lock_held)
    return Liveness(ABSENT, connection, lock_held)
