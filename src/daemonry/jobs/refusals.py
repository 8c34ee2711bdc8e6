"""What a daemon refuses about its jobs: the errors of org.daemonry.Jobs."""

from __future__ import annotations

from daemonry.jobs.refusal_text import sentence
from daemonry.service.interface.declare import CallError


class _JobError(CallError):
    """Says its cause, and what to do."""

    def _sentence(self) -> str:
        told = sentence(self.error, self.parameters)
        return f"{self.error}: {told}" if told else super()._sentence()


class NoSuchJob(_JobError):
    """There is no job of that number: it was never submitted, or ended so long ago that it is forgotten."""

    job: int


class NoSuchTask(_JobError):
    """The daemon has no such task."""

    task: str
    known: list[str]


class UnfitParameters(_JobError):
    """The task cannot be called with these parameters."""

    task: str
    reason: str


class KeyTaken(_JobError):
    """The key is that of another job, with another task or other parameters."""

    key: str
    job: int


class QueueFull(_JobError):
    """There are as many jobs that have not ended as the daemon takes."""

    limit: int


class NotRetryable(_JobError):
    """The job has succeeded, or has not ended."""

    job: int
    state: str
