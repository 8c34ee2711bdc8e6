"""The jobs of a daemon, as its program declares them: the tasks, the bounds, and the daemon itself.

A job is noted as running, on the disk, before its task is called: killed in the midst of it, the daemon that
comes next finds it so, and runs it again only where its task's `RetryPolicy` says that this does no harm.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from daemonry.daemon.context import Run
from daemonry.jobs import tasks
from daemonry.jobs.control import JobControl
from daemonry.jobs.interface import JobCalls
from daemonry.jobs.runner import JobRunner
from daemonry.jobs.states import RetryPolicy
from daemonry.jobs.store import JobStore

if TYPE_CHECKING:
    from daemonry.daemon.definition import Daemon

Function = TypeVar("Function", bound=Callable[..., Any])


class JobQueue(JobControl):
    """The jobs of a daemon; made beside it, in the program's module.

    Serves the interface `org.daemonry.Jobs`, for which every daemon's command line has the verb `jobs`.

    Args:
        daemon: the daemon.
        concurrency: how many jobs run at once.
        keep: how many ended jobs are kept, with their logs and keys.
        most_open: how many jobs may be there that have not ended.
        log_bytes: how long a job's log may become.
    """

    def __init__(
        self,
        daemon: Daemon,
        *,
        concurrency: int = 4,
        keep: int = 1000,
        most_open: int = 10_000,
        log_bytes: int = 1 << 20,
    ) -> None:
        known: dict[str, tasks.JobTask] = {}
        store = JobStore()
        runner = JobRunner(store, known, concurrency, log_bytes, daemon.drain_timeout_s)
        super().__init__(store, runner, known, most_open)
        self._concurrency = concurrency
        self._keep = keep
        daemon.setup(self._set_up)
        daemon.work(runner.work)
        daemon.serve(JobCalls(self))

    def task(
        self,
        *,
        name: str = "",
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008  # a frozen value
        concurrency: int | None = None,
        timeout_s: float | None = None,
    ) -> Callable[[Function], Function]:
        """Return the decorator of a function that jobs run: its first parameter is a `JobRun`.

        An `async` function runs on the daemon's loop and is cancelled by an exception; a plain one runs in
        a thread and looks at `job.canceled`.  It returns what JSON can hold.

        Args:
            name: the task's name; the function's by default.
            retry: when its jobs run more than once; never by default.
            concurrency: how many of its jobs run at once; by default as many as of all.
            timeout_s: how long one run may take, for an `async` function.
        """

        def register(function: Function) -> Function:
            known = name or function.__name__
            if known in self._tasks:
                raise ValueError(f"there is a task {known!r} already")
            self._tasks[known] = tasks.JobTask(
                known, function, retry, concurrency or self._concurrency, timeout_s
            )
            return function

        return register

    def _set_up(self, run: Run) -> None:
        self._store.open(os.path.join(run.state_path, "jobs"), self._keep)
