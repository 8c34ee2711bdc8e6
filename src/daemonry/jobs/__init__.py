"""Jobs of a daemon: submitted, run within bounds, followed, canceled, tried again, and kept over a crash.

    JobQueue        a daemon's jobs: `queue = JobQueue(daemon)`, and `@queue.task()` above what they run
    JobRun          what such a function is given: `log`, `progress`, `canceled`, `command`
    RetryPolicy     which jobs run more than once
    JobInfo, JobState, JobChange
                    a job as its callers see it; where it is in its life; a change, as it is broadcast
    JobCalls        the interface org.daemonry.Jobs, for clients that call it by a proxy

and its errors: NoSuchJob, NoSuchTask, UnfitParameters, KeyTaken, QueueFull, NotRetryable.
"""

from daemonry.jobs.interface import JobCalls
from daemonry.jobs.queue import JobQueue
from daemonry.jobs.record import JobChange, JobInfo
from daemonry.jobs.refusals import (
    KeyTaken,
    NoSuchJob,
    NoSuchTask,
    NotRetryable,
    QueueFull,
    UnfitParameters,
)
from daemonry.jobs.run import JobRun
from daemonry.jobs.states import JobState, RetryPolicy

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
