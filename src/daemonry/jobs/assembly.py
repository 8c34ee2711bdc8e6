"""A daemon's jobs, put together in its own process: clients that import the program pay nothing for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daemonry.jobs.control import JobControl
from daemonry.jobs.interface import JobCalls
from daemonry.jobs.retry import RetryPolicy
from daemonry.jobs.runner import JobRunner
from daemonry.jobs.store import JobStore
from daemonry.jobs.tasks import JobTask


def begin(
    declared: Mapping[str, tuple[Any, ...]],
    directory: str,
    *,
    keep: int,
    most_open: int,
    concurrency: int,
    log_bytes: int,
    drain_s: float,
) -> tuple[JobControl, JobRunner]:
    """Open the jobs in a directory, and return what callers use and what runs them.

    Raises:
        Refused: the file of jobs cannot be used.
    """
    known = {
        name: JobTask(name, function, retry or RetryPolicy(), most, timeout_s)
        for name, function, retry, most, timeout_s in declared.values()
    }
    store = JobStore(directory, keep)
    runner = JobRunner(store, known, concurrency, log_bytes, drain_s)
    return JobControl(store, runner, known, most_open), runner


def served(control: JobControl) -> JobCalls:
    """Return what answers the calls of org.daemonry.Jobs."""
    return JobCalls(control)
