"""Running jobs: which may start, what becomes of each, and the end of the daemon in the midst of some.

Owns the loop that starts them and their asyncio tasks.  The order of states is `states`'; the file on the
disk is `store`'s.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from daemonry.daemon.context import Run
from daemonry.jobs import log, runners, states, tasks
from daemonry.jobs.record import JobInfo
from daemonry.jobs.run import JobRun
from daemonry.jobs.states import BEGUN, JobState, JobStep
from daemonry.jobs.store import JobStore
from daemonry.jobs.table import JobTable
from daemonry.limits import (
    JOB_ERROR_CHARS,
    JOB_PROGRESS_S,
    JOB_RESULT_BYTES,
    JOB_RUNNERS_CHECK_S,
    JOBS_PRUNED_EVERY,
)


class JobRunner:
    """Runs the jobs of a daemon.

    Args:
        store: the jobs.
        known: the tasks.
        concurrency: how many jobs run at once.
        log_bytes: how long a job's log may become.
        drain_s: how long the daemon's work may take to end, in seconds.
    """

    def __init__(
        self,
        store: JobStore,
        known: dict[str, tasks.JobTask],
        concurrency: int,
        log_bytes: int,
        drain_s: float,
    ) -> None:
        self._store = store
        self._tasks = known
        self._concurrency = concurrency
        self._log_bytes = log_bytes
        self._drain_s = drain_s
        self._runs: dict[int, JobRun] = {}
        self._begun: dict[int, JobInfo] = {}
        self._working: dict[int, asyncio.Task[None]] = {}
        self._ended = 0
        self._others: set[int] = set()  # jobs of a process that we replace
        self._loop: asyncio.AbstractEventLoop | None = None
        self._busy = ExitStack()
        self._telling: set[int] = set()

    def live(self, info: JobInfo) -> JobInfo:
        """Return a job with the progress that is not on the disk yet."""
        one = self._runs.get(info.job)
        if one is None or JobState(info.state) not in BEGUN:
            return info
        return replace(info, progress=one.progress_value, message=one.message)

    def cancel(self, job: int) -> None:
        """Tell a job that runs here to end.  Twice is not an error."""
        one = self._runs.get(job)
        if one is not None and not one.canceled:
            one.cancel()
            self._interrupt(job)

    async def work(self, run: Run) -> None:
        """Start what may start, until the daemon ends; then give what runs the time of the drain."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                await run.wait_running()
                self._store.wake.clear()
                others = await self._find_lost()
                await self._start_next()
                await self._stay_busy(run)
                await self._sleep(others)
        finally:
            await self._end()

    async def _stay_busy(self, run: Run) -> None:
        """Keep the daemon from ending as idle while there are jobs that have not ended."""
        self._busy.close()
        if await self._store.do(lambda table: table.count_open()):
            self._busy.enter_context(run.busy())

    async def _sleep(self, others: bool) -> None:
        due_s = await self._store.do(lambda table: table.next_due_s())
        waits = [JOB_RUNNERS_CHECK_S] if others else []
        if due_s is not None:
            waits.append(max(0.0, due_s - time.time()))
        try:
            async with asyncio.timeout(min(waits) if waits else None):
                await self._store.wake.wait()
        except TimeoutError:
            pass

    async def _find_lost(self) -> bool:
        """Judge the jobs whose process has ended, and return whether there are some of one that lives.

        We replace that one, and it ends with its jobs; their changes are published here too.
        """
        before, self._others = self._others, set()
        for job, task, attempts, runner in await self._store.do(lambda table: table.begun()):
            if job in self._runs:
                continue
            if runners.lives(runner):
                self._others.add(job)
                continue
            known = self._tasks.get(task)
            happened = states.after_loss(known.retry if known else None, attempts)
            await self._store.step(job, happened, {"error": "the daemon ended while it ran"})
        for job in before - self._others:
            self._store.changed(await self._store.get(job))
        return bool(self._others)

    async def _start_next(self) -> None:
        for job in await self._store.do(lambda table: table.due(time.time())):
            await self._store.step(job, JobStep.DUE)
        room = self._concurrency - len(self._runs)
        if room <= 0:
            return
        running = Counter(info.task for info in self._begun.values())
        limits = {name: task.concurrency for name, task in self._tasks.items()}
        spare = {name: limit - running[name] for name, limit in limits.items()}
        queued = await self._store.do(lambda table: table.queued(spare, room))
        for job in states.next_to_start(queued, running, limits, room):
            begun = await self._store.do(partial(JobTable.start, job=job, runner=runners.own()))
            if begun is not None:
                self._begin(begun)

    def _begin(self, info: JobInfo) -> None:
        job_log = log.JobLog(self._store.log_path(info.job), self._log_bytes)
        one = JobRun(info.job, info.attempts, job_log, lambda: self._progressed(info.job))
        self._runs[info.job] = one
        self._begun[info.job] = info
        work = self._perform(info, one, job_log)
        self._working[info.job] = asyncio.create_task(work, name=f"job {info.job}")
        self._store.changed(info)

    async def _perform(self, info: JobInfo, one: JobRun, job_log: log.JobLog) -> None:
        happened, fields = await _outcome(self._tasks[info.task], one, info)
        job_log.close()
        share = 1.0 if happened is JobStep.RETURNED else one.progress_value
        fields |= {"progress": share, "message": one.message}
        await asyncio.shield(self._finish(info.job, happened, fields))

    async def _finish(self, job: int, happened: JobStep, fields: dict[str, Any]) -> None:
        await self._store.step(job, happened, fields)
        self._runs.pop(job, None)
        self._begun.pop(job, None)
        self._working.pop(job, None)
        self._ended += 1
        if self._ended % JOBS_PRUNED_EVERY == 0:
            for gone in await self._store.do(lambda table: table.prune()):
                try:
                    os.unlink(self._store.log_path(gone))
                except OSError:
                    pass
        self._store.wake.set()

    async def _end(self) -> None:
        """Let running jobs end, as long as the drain allows; the others are lost, or run again later."""
        for limit_s, is_last in ((max(0.0, self._drain_s * 0.6), False), (self._drain_s * 0.3, True)):
            working = list(self._working.values())
            if working:
                if is_last:
                    for job, one in list(self._runs.items()):
                        one.cancel(stopping=True)
                        self._interrupt(job)
                await asyncio.wait(working, timeout=limit_s)
        self._busy.close()
        self._store.close()

    def _interrupt(self, job: int) -> None:
        """Cancel an `async` task; a thread has its flag alone."""
        if self._tasks[self._begun[job].task].is_async:
            self._working[job].cancel()

    def _progressed(self, job: int) -> None:
        """Have progress published, soon and once; called in any thread."""
        if self._loop is not None and job not in self._telling:
            self._telling.add(job)
            self._loop.call_soon_threadsafe(self._loop.call_later, JOB_PROGRESS_S, self._tell_progress, job)

    def _tell_progress(self, job: int) -> None:
        self._telling.discard(job)
        if job in self._begun:
            self._store.changes.publish(self.live(self._begun[job]))


async def _outcome(task: tasks.JobTask, one: JobRun, info: JobInfo) -> tuple[JobStep, dict[str, Any]]:
    """Run a job's task, and return the event and the columns that change with it."""
    try:
        result = await task.call(one, info.parameters)
        text = msgspec.json.encode(result)
        if len(text) > JOB_RESULT_BYTES:
            raise ValueError(f"the result is longer than {JOB_RESULT_BYTES} bytes")
        return JobStep.RETURNED, {"result": text.decode()}
    except asyncio.CancelledError:
        if one.stopping:
            return states.after_loss(task.retry, info.attempts), {"error": "the daemon ended while it ran"}
        return JobStep.STOPPED, {"error": "canceled"}
    except Exception as error:  # noqa: BLE001  # a task may raise anything; it is noted, and the job fails
        one.log(tasks.trace_of(error))
        happened, delay_s = states.after_raise(task.retry, info.attempts)
        words = f"{type(error).__name__}: {error}"[:JOB_ERROR_CHARS]
        return happened, {
            "error": words,
            "due_s": time.time() + delay_s if happened is JobStep.RAISED_TO_RETRY else 0.0,
        }
