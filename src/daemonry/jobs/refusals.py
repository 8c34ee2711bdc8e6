"""What a daemon refuses about its jobs: the errors of org.daemonry.Jobs."""

from __future__ import annotations

from daemonry.service.interface.declare import CallError


class NoSuchJob(CallError):
    """There is no job of that number: it was never submitted, or ended so long ago that it is forgotten."""

    job: int


class NoSuchTask(CallError):
    """The daemon has no such task."""

    task: str
    known: list[str]


class UnfitParameters(CallError):
    """The task cannot be called with these parameters."""

    task: str
    reason: str


class KeyTaken(CallError):
    """The key is that of another job, with another task or other parameters."""

    key: str
    job: int


class QueueFull(CallError):
    """There are as many jobs that have not ended as the daemon takes."""

    limit: int


class NotRetryable(CallError):
    """The job has succeeded, or has not ended."""

    job: int
    state: str
