"""How often a remote failed, and whether it is asked at all for a while.

Owns the rule: three failures in a row, or one of a remote that never answered, and nobody asks for half a
minute; then one call tries.  Keeps the
last failures in words, numbered, for those who tell people.  Pure: the clock is the caller's.
"""

from __future__ import annotations

from collections import deque
from typing import Final

# Bazel gives a remote up after five tries of one call, too; a build must not wait for a dead one twice.
MOST_IN_A_ROW: Final = 3
PAUSE_S: Final = 30.0
_KEPT: Final = 100


class RemoteFailed(Exception):
    """A call of a remote did not come to a good end.

    Attributes:
        reason: why, in one line.
        code: gRPC's name of it; "" for what we refuse ourselves.
    """

    def __init__(self, reason: str, code: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class RemoteDamaged(RemoteFailed):
    """It answered, with something damaged: the next answer may be right."""


class RemotePaused(RemoteFailed):
    """It is not asked for a while, for reasons that are noted already."""


class Failures:
    """The failures of one remote.

    Attributes:
        count: all so far; the number of the last.
        skipped: how many questions were not asked for that reason.
    """

    def __init__(self) -> None:
        self.count = 0
        self.skipped = 0
        self._in_a_row = 0
        self._paused_until_s = 0.0
        self._answered = False
        self._told: deque[tuple[int, str]] = deque(maxlen=_KEPT)

    def check(self, now_s: float) -> None:
        """Return if it may be asked now.

        Raises:
            RemotePaused: it may not.
        """
        if now_s < self._paused_until_s:
            self.skipped += 1
            raise RemotePaused(
                f"is not asked for {self._paused_until_s - now_s:.0f} s: it failed again and again"
            )

    def failed(self, reason: str, now_s: float, *, counts: bool = True) -> None:
        """Note a failure.

        Args:
            reason: in one line.
            now_s: a monotonic clock's time.
            counts: whether it says that the remote is out of order: `RemoteDamaged` does not.
        """
        self.count += 1
        self._told.append((self.count, reason))
        if counts:
            self._in_a_row += 1
            if self._in_a_row >= MOST_IN_A_ROW or not self._answered:
                self._paused_until_s = now_s + PAUSE_S
                self._in_a_row = MOST_IN_A_ROW - 1  # after the pause, one more is enough

    def succeeded(self) -> None:
        """Note an answer."""
        self._answered = True
        self._in_a_row = 0
        self._paused_until_s = 0.0

    def resume(self) -> None:
        """End the pause: the caller does nothing but wait for this remote."""
        self._paused_until_s = 0.0

    def since(self, number: int) -> list[str]:
        """Return the reasons of the failures after one, each once."""
        return list(dict.fromkeys(reason for at, reason in list(self._told) if at > number))
