"""Which jobs run more than once: a value of the program's module, so it imports almost nothing."""

from __future__ import annotations

from daemonry.values import Value


class RetryPolicy(Value):
    """Which jobs of a task run more than once.  By default none does.

    Attributes:
        times: how often one that raised is tried again.
        delay_s: the wait before the first of these; each further one is twice the one before.
        most_delay_s: the longest wait.
        when_lost: whether one is run again whose daemon was killed in the midst of it, as often as `times`
            allows: the task has to be idempotent.
    """

    __slots__ = ("delay_s", "most_delay_s", "times", "when_lost")
    times: int
    delay_s: float
    most_delay_s: float
    when_lost: bool

    def __init__(
        self, times: int = 0, *, delay_s: float = 1.0, most_delay_s: float = 300.0, when_lost: bool = False
    ) -> None:
        self._set(times=times, delay_s=delay_s, most_delay_s=most_delay_s, when_lost=when_lost)
