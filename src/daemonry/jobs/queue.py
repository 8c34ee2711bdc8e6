"""The jobs of a daemon: submitted, run within bounds, followed, and found again after a crash.

Owns performing what `states` decides, on what `table` holds.  A job is noted as running, on the disk, before
its task is called: killed in the midst of it, the daemon that comes next finds it so, and runs it again only
where its task's `RetryPolicy` says that this does no harm.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from daemonry import errors
from daemonry.daemon.context import Run
from daemonry.jobs import log, runners, states, tasks
from daemonry.jobs.interface import (
    JobCalls,
    KeyTaken,
    NoSuchJob,
    NotRetryable,
    QueueFull,
)
from daemonry.jobs.record import JobInfo
from daemonry.jobs.run import JobRun
from daemonry.jobs.states import BEGUN, ENDED, JobState, JobStep, RetryPolicy
from daemonry.jobs.table import JobTable
from daemonry.topics import Topic

if TYPE_CHECKING:
    from daemonry.daemon.definition import Daemon

Result = TypeVar("Result")
Function = TypeVar("Function", bound=Callable[..., Any])

_MOST_LISTED: Final = 10_000
_KEY_CHARS: Final = 200
_PARAMETERS_BYTES: Final = 64 << 10
_RESULT_BYTES: Final = 64 << 10
_ERROR_CHARS: Final = 2000
# How many changes a slow reader of `changes` may be behind.
_CHANGES_KEPT: Final = 1000
# How often it is looked whether an old process, which an upgrade replaced, has ended with jobs of its own.
_RUNNERS_CHECK_S: Final = 1.0
_PRUNE_EVERY: Final = 50
# A task may say its progress as often as it likes; readers get it so often.
_PROGRESS_S: Final = 0.05


class JobQueue:
    """The jobs of a daemon; made beside it, in the program's module.

    Serves the interface `org.daemonry.Jobs`, for which every daemon's command line has the verb `jobs`.

    Args:
        daemon: the daemon.
        concurrency: how many jobs run at once.
        keep: how many ended jobs are kept, with their logs and keys.
        most_open: how many jobs may be there that have not ended.
        log_bytes: how long a job's log may become.

    Attributes:
        changes: each change of a job, as a topic: `queue.changes.read(after=cursor)`.
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
        self.changes: Topic[JobInfo] = Topic(keep=_CHANGES_KEPT)
        self._concurrency = concurrency
        self._keep = keep
        self._most_open = most_open
        self._log_bytes = log_bytes
        self._drain_s = daemon.drain_timeout_s
        self._tasks: dict[str, tasks.JobTask] = {}
        self._runs: dict[int, JobRun] = {}
        self._begun: dict[int, JobInfo] = {}
        self._working: dict[int, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._ended = 0
        self._directory = ""
        self._table: JobTable | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._busy = ExitStack()
        self._telling: set[int] = set()
        daemon.setup(self._set_up)
        daemon.work(self._work)
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

    # --- what callers ask for -----------------------------------------------------------------------

    async def submit(self, task: str, parameters: dict[str, Any] | None = None, *, key: str = "") -> int:
        """Submit a job, and return its number once it is on the disk.

        Args:
            task: the task's name.
            parameters: what it is called with.
            key: an idempotency key of at most 200 characters: with one that is known, for the same task and
                parameters, the job that has it is the answer.

        Raises:
            NoSuchTask, UnfitParameters, KeyTaken, QueueFull: nothing was submitted.
        """
        text = tasks.checked(self._tasks, task, parameters or {}, _PARAMETERS_BYTES)
        if len(key) > _KEY_CHARS:
            raise KeyTaken(key=f"{key[:40]}... is longer than {_KEY_CHARS} characters", job=0)
        job, is_new = await self._do(lambda table: table.submit(task, text, key, self._most_open))
        if not job:
            raise QueueFull(limit=self._most_open)
        info = await self.get(job)
        if not is_new and (info.task, info.parameters) != (task, msgspec.json.decode(text)):
            raise KeyTaken(key=key, job=job)
        if is_new:
            self._changed(info)
        return job

    async def get(self, job: int) -> JobInfo:
        """Return a job.

        Raises:
            NoSuchJob: it is not there.
        """
        info = await self._do(lambda table: table.get(job))
        if info is None:
            raise NoSuchJob(job=job)
        return self._live(info)

    async def list(self, state: str = "", limit: int = 100) -> list[JobInfo]:
        """Return the last jobs, of one state or of all, the first submitted first."""
        found = await self._do(lambda table: table.last(state, max(0, min(limit, _MOST_LISTED))))
        return [self._live(info) for info in found]

    async def follow(self, job: int) -> AsyncIterator[JobInfo]:
        """Yield a job as it is, again whenever it changes, and last as it has ended."""
        cursor = self.changes.cursor  # before it is looked at: what changes meanwhile is behind the cursor
        seen = await self.get(job)
        yield seen
        if JobState(seen.state) in ENDED:
            return
        async for one in self.changes.read(after=cursor):
            if one.missed:
                seen = await self.get(job)
            elif one.value.job != job or one.value == seen:
                continue
            else:
                seen = one.value
            yield seen
            if JobState(seen.state) in ENDED:
                return

    async def wait(self, job: int) -> JobInfo:
        """Return a job when it has ended."""
        async for seen in self.follow(job):
            info = seen
        return info

    async def cancel(self, job: int) -> JobInfo:
        """Cancel a job: one that waits is canceled at once, one that runs is told to end."""
        state = await self._do(lambda table: table.step(job, JobStep.CANCEL_ASKED))
        run = self._runs.get(job)
        if state is JobState.CANCELING and run is not None and not run.canceled:
            run.cancel()
            self._interrupt(job)
        return self._changed(await self.get(job))

    async def retry(self, job: int) -> JobInfo:
        """Queue a job again that failed, was canceled or lost; it begins with its first attempt.

        Raises:
            NotRetryable: it has succeeded, or has not ended.
        """
        state = await self._do(lambda table: table.step(job, JobStep.RETRY_ASKED))
        info = await self.get(job)
        if state is None:
            raise NotRetryable(job=job, state=info.state)
        return self._changed(info)

    async def log_lines(self, job: int, *, follow: bool = False) -> AsyncIterator[str]:
        """Yield the lines of a job's log, and, to follow, those to come until it has ended."""
        info = await self.get(job)
        going_on = follow and JobState(info.state) not in ENDED
        waiting = asyncio.create_task(self.wait(job)) if going_on else None
        try:
            async for line in log.lines(
                self._log_path(job), lambda: waiting is not None and not waiting.done()
            ):
                yield line
        finally:
            if waiting is not None:
                waiting.cancel()

    # --- the daemon's part --------------------------------------------------------------------------

    def _set_up(self, run: Run) -> None:
        self._directory = os.path.join(run.state_path, "jobs")
        os.makedirs(self._directory, 0o700, exist_ok=True)
        self.changes = Topic(keep=_CHANGES_KEPT)
        self._table = JobTable(os.path.join(self._directory, "jobs.db"), self._keep)
        self._thread = ThreadPoolExecutor(1, "daemonry-jobs")

    async def _work(self, run: Run) -> None:
        """Start what may start, until the daemon ends; then give what runs the time of the drain."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                await run.wait_running()
                self._wake.clear()
                others = await self._find_lost()
                await self._start_next()
                await self._stay_busy(run)
                await self._sleep(others)
        finally:
            await self._end()

    async def _stay_busy(self, run: Run) -> None:
        """Keep the daemon from ending as idle while there are jobs that have not ended."""
        self._busy.close()
        if await self._do(lambda table: table.count_open()):
            self._busy.enter_context(run.busy())

    async def _sleep(self, others: bool) -> None:
        due_s = await self._do(lambda table: table.next_due_s())
        waits = [_RUNNERS_CHECK_S] if others else []
        if due_s is not None:
            waits.append(max(0.0, due_s - time.time()))
        try:
            async with asyncio.timeout(min(waits) if waits else None):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _find_lost(self) -> bool:
        """Judge the jobs whose process has ended, and return whether there are some of one that lives."""
        others = False
        for job, task, attempts, runner in await self._do(lambda table: table.begun()):
            if job in self._runs:
                continue
            if runners.lives(runner):
                others = True
                continue
            known = self._tasks.get(task)
            happened = states.after_loss(known.retry if known else None, attempts)
            await self._step(job, happened, {"error": "the daemon ended while it ran"})
        return others

    async def _start_next(self) -> None:
        for job in await self._do(lambda table: table.due(time.time())):
            await self._step(job, JobStep.DUE)
        room = self._concurrency - len(self._runs)
        if room <= 0:
            return
        queued = await self._do(lambda table: table.queued(_MOST_LISTED))
        running = Counter(info.task for info in self._begun.values())
        limits = {name: task.concurrency for name, task in self._tasks.items()}
        for job in states.next_to_start(queued, running, limits, room):
            begun = await self._do(partial(JobTable.start, job=job, runner=runners.own()))
            if begun is not None:
                self._begin(begun)

    def _begin(self, info: JobInfo) -> None:
        job_log = log.JobLog(self._log_path(info.job), self._log_bytes)
        one = JobRun(info.job, info.attempts, job_log, lambda: self._progressed(info.job))
        self._runs[info.job] = one
        self._begun[info.job] = info
        work = self._perform(info, one, job_log)
        self._working[info.job] = asyncio.create_task(work, name=f"job {info.job}")
        self._changed(info)

    async def _perform(self, info: JobInfo, one: JobRun, job_log: log.JobLog) -> None:
        happened, fields = await _outcome(self._tasks[info.task], one, info)
        job_log.close()
        share = 1.0 if happened is JobStep.RETURNED else one.progress_value
        fields |= {"progress": share, "message": one.message}
        await asyncio.shield(self._finish(info.job, happened, fields))

    async def _finish(self, job: int, happened: JobStep, fields: dict[str, Any]) -> None:
        await self._step(job, happened, fields)
        self._runs.pop(job, None)
        self._begun.pop(job, None)
        self._working.pop(job, None)
        self._ended += 1
        if self._ended % _PRUNE_EVERY == 0:
            for gone in await self._do(lambda table: table.prune()):
                try:
                    os.unlink(self._log_path(gone))
                except OSError:
                    pass
        self._wake.set()

    async def _end(self) -> None:
        """Let what runs end, as long as the drain allows; what is left is lost, or runs again later."""
        for limit_s, is_last in ((max(0.0, self._drain_s * 0.6), False), (self._drain_s * 0.3, True)):
            working = list(self._working.values())
            if working:
                if is_last:
                    for job, one in list(self._runs.items()):
                        one.cancel(stopping=True)
                        self._interrupt(job)
                await asyncio.wait(working, timeout=limit_s)
        self.changes.close()
        self._busy.close()
        if self._thread is not None and self._table is not None:
            self._thread.submit(self._table.close)
            self._thread.shutdown(wait=False)

    # --- small things -------------------------------------------------------------------------------

    async def _do(self, act: Callable[[JobTable], Result]) -> Result:
        """Do something with the table, in its thread: a commit waits for the disk."""
        if self._table is None or self._thread is None:
            raise errors.Refused("the daemon's jobs are not set up yet")
        return await asyncio.get_running_loop().run_in_executor(self._thread, act, self._table)

    async def _step(self, job: int, happened: JobStep, fields: dict[str, Any] | None = None) -> None:
        if await self._do(lambda table: table.step(job, happened, fields)) is not None:
            self._changed(await self.get(job))

    def _live(self, info: JobInfo) -> JobInfo:
        """Return a job with the progress that is not on the disk yet."""
        one = self._runs.get(info.job)
        if one is None or JobState(info.state) not in BEGUN:
            return info
        return replace(info, progress=one.progress_value, message=one.message)

    def _changed(self, info: JobInfo) -> JobInfo:
        self.changes.publish(info)
        self._wake.set()
        return info

    def _interrupt(self, job: int) -> None:
        """Cancel an `async` task; a thread has its flag alone."""
        if self._tasks[self._begun[job].task].is_async:
            self._working[job].cancel()

    def _progressed(self, job: int) -> None:
        """Have progress published, soon and once; called in any thread."""
        if self._loop is not None and job not in self._telling:
            self._telling.add(job)
            self._loop.call_soon_threadsafe(self._loop.call_later, _PROGRESS_S, self._tell_progress, job)

    def _tell_progress(self, job: int) -> None:
        self._telling.discard(job)
        if job in self._begun:
            self.changes.publish(self._live(self._begun[job]))

    def _log_path(self, job: int) -> str:
        return os.path.join(self._directory, f"{job}.log")


async def _outcome(task: tasks.JobTask, one: JobRun, info: JobInfo) -> tuple[JobStep, dict[str, Any]]:
    """Run a job's task, and return what happened and what is noted with it."""
    try:
        result = await task.call(one, info.parameters)
        text = msgspec.json.encode(result)
        if len(text) > _RESULT_BYTES:
            raise ValueError(f"the result is longer than {_RESULT_BYTES} bytes")
        return JobStep.RETURNED, {"result": text.decode()}
    except asyncio.CancelledError:
        if one.stopping:
            return states.after_loss(task.retry, info.attempts), {"error": "the daemon ended while it ran"}
        return JobStep.STOPPED, {"error": "canceled"}
    except Exception as error:  # noqa: BLE001  # a task may raise anything; it is noted, and the job fails
        one.log(tasks.trace_of(error))
        happened, delay_s = states.after_raise(task.retry, info.attempts)
        words = f"{type(error).__name__}: {error}"[:_ERROR_CHARS]
        return happened, {"error": words, "due_s": time.time() + delay_s}
