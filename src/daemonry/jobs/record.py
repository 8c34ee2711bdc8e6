"""A job as its callers see it, and the value that announces each change of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class JobInfo:
    """A job.

    Attributes:
        job: its number: each is given once.
        task: the name of the task that it is a run of.
        state: one of queued, waiting, running, canceling, succeeded, failed, canceled, lost.
        parameters: what the task is called with.
        key: the idempotency key that it was submitted with; "" for none.
        attempts: how often it has begun.
        progress: how far it is, from 0 to 1, as its task says.
        message: the task's word about that.
        result: what the task returned.
        error: why it failed or was lost.
        submitted_s: when it was submitted, in seconds since 1970.
        started_s: when it began the last time; 0 for never.
        ended_s: when it ended; 0 for not yet.
        due_s: when it is tried again, for one that waits.
    """

    job: int
    task: str
    state: str
    parameters: dict[str, Any] = field(default_factory=dict)
    key: str = ""
    attempts: int = 0
    progress: float = 0.0
    message: str = ""
    result: Any = None
    error: str = ""
    submitted_s: float = 0.0
    started_s: float = 0.0
    ended_s: float = 0.0
    due_s: float = 0.0


@dataclass(frozen=True)
class JobChange:
    """A change of a job, as the topic of all of them has it.

    Attributes:
        cursor: to go on behind this change.
        missed: how many changes before it this reader did not get.
        job: the job's number.
        state: its state.
        progress: how far it is.
        message: its task's word about that.
    """

    cursor: str
    missed: int
    job: int
    state: str
    progress: float
    message: str
