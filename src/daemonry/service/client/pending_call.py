"""A call in a pipeline that blocks, as its caller has it.

Owns the wait for its result; the pipeline does it.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from daemonry.service.client.pipelined import QueuedCall

T = TypeVar("T")


class Waits(Protocol):
    """What a call needs of its pipeline; see `Pipeline`."""

    def wait_for(self, call: PendingCall[Any]) -> None:
        """Wait until a call has its outcome."""

    def cancel(self, call: PendingCall[Any]) -> None:
        """Have a call fail alone."""


class PendingCall(QueuedCall[T]):
    """A call in a pipeline: its result, once it is there."""

    __slots__ = ()
    _pipeline: Waits

    def result(self) -> T:
        """Return the result; it is sent, and waited for, if it is not there.

        Raises:
            As `Client.call`; the error of a lost connection says whether this call may have run.
        """
        if self.outcome == "waiting":
            self._pipeline.wait_for(self)
        if self.failure is not None:
            return self.known()
        value: T = self.value
        return value
