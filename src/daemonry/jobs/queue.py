"""The jobs of a daemon, as its program declares them: the tasks, the bounds, and the daemon itself.

A job is noted as running, on the disk, before its task is called: killed in the midst of it, the daemon that
comes next finds it so, and runs it again only where its task's `RetryPolicy` says that this does no harm.
"""

from __future__ import annotations

from daemonry.limits import JOB_LOG_BYTES, JOBS_AT_ONCE, JOBS_KEPT, MOST_OPEN_JOBS

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Any, TypeVar

    from daemonry.daemon.context import Run
    from daemonry.daemon.definition import Daemon
    from daemonry.jobs.control import JobControl
    from daemonry.jobs.record import JobInfo
    from daemonry.jobs.retry import RetryPolicy
    from daemonry.jobs.runner import JobRunner
    from daemonry.topics import Topic

    Function = TypeVar("Function", bound=Callable[..., Any])


class JobQueue:
    """The jobs of a daemon; made beside it, in the program's module.

    Serves the interface `org.daemonry.Jobs`, for which every daemon's command line has the verb `jobs`.  What
    follows `task` is for the daemon's process, and on its loop: a client calls the interface.

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
        concurrency: int = JOBS_AT_ONCE,
        keep: int = JOBS_KEPT,
        most_open: int = MOST_OPEN_JOBS,
        log_bytes: int = JOB_LOG_BYTES,
    ) -> None:
        self._daemon = daemon
        self._concurrency = concurrency
        self._keep = keep
        self._most_open = most_open
        self._log_bytes = log_bytes
        self._declared: dict[str, tuple[Any, ...]] = {}
        self._made: tuple[JobControl, JobRunner] | None = None
        daemon.setup(self._set_up)
        daemon.work(self._work)

    def task(
        self,
        *,
        name: str = "",
        retry: RetryPolicy | None = None,
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
            if known in self._declared:
                raise ValueError(f"there is a task {known!r} already")
            self._declared[known] = known, function, retry, concurrency or self._concurrency, timeout_s
            return function

        return register

    # --- in the daemon --------------------------------------------------------------------------------

    @property
    def changes(self) -> Topic[JobInfo]:
        """Each change of a job, as a topic: `queue.changes.read(after=cursor)`."""
        return self._control.changes

    async def submit(self, task: str, parameters: dict[str, Any] | None = None, *, key: str = "") -> int:
        """Submit a job, and return its number once it is on the disk.

        Args:
            task: the task's name.
            parameters: the arguments of the task.
            key: an idempotency key of at most 200 characters: with one that is known, for the same task and
                parameters, the job that has it is the answer.

        Raises:
            NoSuchTask, UnfitParameters, KeyTaken, QueueFull: nothing was submitted.
        """
        return await self._control.submit(task, parameters, key=key)

    async def get(self, job: int) -> JobInfo:
        """Return a job.

        Raises:
            NoSuchJob: it is not there; so do the other methods.
        """
        return await self._control.get(job)

    async def list(self, state: str = "", limit: int = 100) -> list[JobInfo]:
        """Return the last jobs, of one state or of all, the first submitted first."""
        return await self._control.list(state, limit)

    async def wait(self, job: int) -> JobInfo:
        """Return a job when it has ended."""
        return await self._control.wait(job)

    def follow(self, job: int) -> AsyncIterator[JobInfo]:
        """Yield a job as it is, again whenever it changes, and last as it has ended."""
        return self._control.follow(job)

    async def cancel(self, job: int) -> JobInfo:
        """Cancel a job: a waiting one is canceled at once, a running one is asked to end."""
        return await self._control.cancel(job)

    async def retry(self, job: int) -> JobInfo:
        """Queue a job again that failed, was canceled or lost; it begins with its first attempt.

        Raises:
            NotRetryable: it has succeeded, or has not ended.
        """
        return await self._control.retry(job)

    @property
    def _control(self) -> JobControl:
        if self._made is None:
            raise RuntimeError("a daemon's jobs are there in its own process, once it is set up")
        return self._made[0]

    def _set_up(self, run: Run) -> None:
        from daemonry.jobs import assembly

        self._made = assembly.begin(
            self._declared,
            f"{run.state_path}/jobs",
            keep=self._keep,
            most_open=self._most_open,
            concurrency=self._concurrency,
            log_bytes=self._log_bytes,
            drain_s=self._daemon.drain_timeout_s,
        )
        self._daemon.serve(assembly.served(self._made[0]))

    async def _work(self, run: Run) -> None:
        assert self._made is not None
        await self._made[1].work(run)
