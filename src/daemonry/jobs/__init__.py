"""Jobs of a daemon: submitted, run within bounds, followed, canceled, tried again, and kept over a crash.

    JobQueue        a daemon's jobs: `queue = JobQueue(daemon)`, and `@queue.task()` above each task
    JobRun          the argument of such a function: `log`, `progress`, `canceled`, `command`
    RetryPolicy     which jobs run more than once
    JobInfo, JobState, JobChange
                    a job as its callers see it; where it is in its life; a change, as it is broadcast
    JobCalls        the interface org.daemonry.Jobs, for clients that call it by a proxy

and its errors: NoSuchJob, NoSuchTask, UnfitParameters, KeyTaken, QueueFull, NotRetryable.

Names are imported when they are used: quick commands import the module of a program with jobs, too.
"""

from __future__ import annotations

# With the annotation jedi looks into the block below.
TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from typing import Any

    from daemonry.jobs.interface import JobCalls as JobCalls
    from daemonry.jobs.queue import JobQueue as JobQueue
    from daemonry.jobs.record import JobChange as JobChange
    from daemonry.jobs.record import JobInfo as JobInfo
    from daemonry.jobs.refusals import KeyTaken as KeyTaken
    from daemonry.jobs.refusals import NoSuchJob as NoSuchJob
    from daemonry.jobs.refusals import NoSuchTask as NoSuchTask
    from daemonry.jobs.refusals import NotRetryable as NotRetryable
    from daemonry.jobs.refusals import QueueFull as QueueFull
    from daemonry.jobs.refusals import UnfitParameters as UnfitParameters
    from daemonry.jobs.retry import RetryPolicy as RetryPolicy
    from daemonry.jobs.run import JobRun as JobRun
    from daemonry.jobs.states import JobState as JobState

_HOMES = {
    "JobCalls": "interface",
    "JobChange": "record",
    "JobInfo": "record",
    "JobQueue": "queue",
    "JobRun": "run",
    "JobState": "states",
    "KeyTaken": "refusals",
    "NoSuchJob": "refusals",
    "NoSuchTask": "refusals",
    "NotRetryable": "refusals",
    "QueueFull": "refusals",
    "RetryPolicy": "retry",
    "UnfitParameters": "refusals",
}

__all__ = [
    "JobCalls",
    "JobChange",
    "JobInfo",
    "JobQueue",
    "JobRun",
    "JobState",
    "KeyTaken",
    "NoSuchJob",
    "NoSuchTask",
    "NotRetryable",
    "QueueFull",
    "RetryPolicy",
    "UnfitParameters",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'daemonry.jobs' has no attribute {name!r}")
    value = globals()[name] = getattr(__import__(f"daemonry.jobs.{home}", fromlist=["_"]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
