"""A job's life, as a table, and the two decisions about it: when it is tried again, and which one is next.

    QUEUED -> RUNNING -> SUCCEEDED | FAILED | CANCELED | LOST
    RUNNING -> WAITING -> QUEUED          (to be tried again)

Owns what follows what.  The queue acts, and its file holds the states: `queue`, `table`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from daemonry.jobs.retry import RetryPolicy


class JobState(Enum):
    """Where a job is in its life."""

    QUEUED = "queued"
    WAITING = "waiting"
    RUNNING = "running"
    CANCELING = "canceling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    LOST = "lost"


class JobStep(Enum):
    """What can happen to it."""

    STARTED = "started"
    RETURNED = "returned"
    RAISED = "raised"
    RAISED_TO_RETRY = "raised, tries left"
    CANCEL_ASKED = "cancel asked"
    STOPPED = "stopped"
    RUNNER_GONE = "runner gone"
    RUNNER_GONE_TO_RETRY = "runner gone, may run twice"
    DUE = "due"
    RETRY_ASKED = "retry asked"


TRANSITIONS: Final[Mapping[JobState, Mapping[JobStep, JobState]]] = {
    JobState.QUEUED: {
        JobStep.STARTED: JobState.RUNNING,
        JobStep.CANCEL_ASKED: JobState.CANCELED,
    },
    JobState.WAITING: {
        JobStep.DUE: JobState.QUEUED,
        JobStep.CANCEL_ASKED: JobState.CANCELED,
        JobStep.RETRY_ASKED: JobState.QUEUED,  # at once, not at its time
    },
    JobState.RUNNING: {
        JobStep.RETURNED: JobState.SUCCEEDED,
        JobStep.RAISED: JobState.FAILED,
        JobStep.RAISED_TO_RETRY: JobState.WAITING,
        JobStep.CANCEL_ASKED: JobState.CANCELING,
        JobStep.RUNNER_GONE: JobState.LOST,
        JobStep.RUNNER_GONE_TO_RETRY: JobState.QUEUED,
    },
    JobState.CANCELING: {
        JobStep.RETURNED: JobState.SUCCEEDED,  # it was done before it noticed
        JobStep.RAISED: JobState.CANCELED,
        JobStep.RAISED_TO_RETRY: JobState.CANCELED,
        JobStep.STOPPED: JobState.CANCELED,
        JobStep.CANCEL_ASKED: JobState.CANCELING,  # asking twice is not an error
        JobStep.RUNNER_GONE: JobState.CANCELED,
        JobStep.RUNNER_GONE_TO_RETRY: JobState.CANCELED,
    },
    JobState.SUCCEEDED: {JobStep.CANCEL_ASKED: JobState.SUCCEEDED},
    JobState.FAILED: {JobStep.CANCEL_ASKED: JobState.FAILED, JobStep.RETRY_ASKED: JobState.QUEUED},
    JobState.CANCELED: {JobStep.CANCEL_ASKED: JobState.CANCELED, JobStep.RETRY_ASKED: JobState.QUEUED},
    JobState.LOST: {JobStep.CANCEL_ASKED: JobState.LOST, JobStep.RETRY_ASKED: JobState.QUEUED},
}
ENDED: Final = frozenset((JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED, JobState.LOST))
# Those whose work may be going on.
BEGUN: Final = frozenset((JobState.RUNNING, JobState.CANCELING))


def step(state: JobState, happened: JobStep) -> JobState | None:
    """Return the state that follows, or None where the event has no place in this one."""
    return TRANSITIONS[state].get(happened)


def after_raise(policy: RetryPolicy, attempts: int) -> tuple[JobStep, float]:
    """Return what a job's exception means, and how long until it is tried again.

    Args:
        policy: its task's.
        attempts: how often it has run, this time included.
    """
    if attempts > policy.times:
        return JobStep.RAISED, 0.0
    return JobStep.RAISED_TO_RETRY, min(policy.delay_s * 2 ** min(attempts - 1, 60), policy.most_delay_s)


def after_loss(policy: RetryPolicy | None, attempts: int) -> JobStep:
    """Return what the end of its runner means for a job that had begun; None for a task that is not there."""
    if policy is not None and policy.when_lost and attempts <= policy.times:
        return JobStep.RUNNER_GONE_TO_RETRY
    return JobStep.RUNNER_GONE


def next_to_start(
    queued: Iterable[tuple[int, str]], running: Mapping[str, int], limits: Mapping[str, int], room: int
) -> list[int]:
    """Return which jobs may start now, in the order of the queue.

    Args:
        queued: each one's number and task, the first submitted first.
        running: how many of each task run.
        limits: the most that may run of a task; a task that is not there is not started.
        room: how many more may run.
    """
    chosen: list[int] = []
    counts = dict(running)
    for number, task in queued:
        if len(chosen) >= room:
            break
        if counts.get(task, 0) < limits.get(task, 0):
            counts[task] = counts.get(task, 0) + 1
            chosen.append(number)
    return chosen
