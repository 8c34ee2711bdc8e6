"""What may be done with a daemon's jobs: submitted, looked at, followed, canceled, queued again.

Owns the rules for callers, in the daemon and outside.  Running them is `runner`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from daemonry.jobs import log, tasks
from daemonry.jobs.record import JobInfo
from daemonry.jobs.refusals import KeyTaken, NotRetryable, QueueFull
from daemonry.jobs.runner import JobRunner
from daemonry.jobs.states import ENDED, JobState, JobStep
from daemonry.jobs.store import JobStore
from daemonry.limits import JOB_KEY_CHARS, JOB_PARAMETERS_BYTES, MOST_JOBS_LISTED
from daemonry.topics import Topic


class JobControl:
    """A daemon's jobs, for callers.

    Args:
        store: the jobs.
        runner: runs them.
        known: the tasks.
        most_open: how many jobs may be there that have not ended.
    """

    def __init__(
        self, store: JobStore, runner: JobRunner, known: dict[str, tasks.JobTask], most_open: int
    ) -> None:
        self._store = store
        self._runner = runner
        self._tasks = known
        self._most_open = most_open

    @property
    def changes(self) -> Topic[JobInfo]:
        """Each change of a job, as a topic: `queue.changes.read(after=cursor)`."""
        return self._store.changes

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
        text = tasks.checked(self._tasks, task, parameters or {}, JOB_PARAMETERS_BYTES)
        if len(key) > JOB_KEY_CHARS:
            raise KeyTaken(key=f"{key[:40]}... is longer than {JOB_KEY_CHARS} characters", job=0)
        job, is_new = await self._store.do(lambda table: table.submit(task, text, key, self._most_open))
        if not job:
            raise QueueFull(limit=self._most_open)
        info = await self.get(job)
        if not is_new and (info.task, info.parameters) != (task, msgspec.json.decode(text)):
            raise KeyTaken(key=key, job=job)
        if is_new:
            self._store.changed(info)
        return job

    async def get(self, job: int) -> JobInfo:
        """Return a job.

        Raises:
            NoSuchJob: it is not there.
        """
        return self._runner.live(await self._store.get(job))

    async def list(self, state: str = "", limit: int = 100) -> list[JobInfo]:
        """Return the last jobs, of one state or of all, the first submitted first."""
        found = await self._store.do(lambda table: table.last(state, max(0, min(limit, MOST_JOBS_LISTED))))
        return [self._runner.live(info) for info in found]

    async def follow(self, job: int) -> AsyncIterator[JobInfo]:
        """Yield a job as it is, again whenever it changes, and last as it has ended."""
        cursor = (
            self._store.changes.cursor
        )  # before it is looked at: what changes meanwhile is behind the cursor
        seen = await self.get(job)
        yield seen
        if JobState(seen.state) in ENDED:
            return
        async for one in self._store.changes.read(after=cursor):
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
        """Cancel a job: a waiting one is canceled at once, a running one is asked to end."""
        state = await self._store.do(lambda table: table.step(job, JobStep.CANCEL_ASKED))
        if state is JobState.CANCELING:
            self._runner.cancel(job)
        return self._store.changed(await self.get(job))

    async def retry(self, job: int) -> JobInfo:
        """Queue a job again that failed, was canceled or lost; it begins with its first attempt.

        Raises:
            NotRetryable: it has succeeded, or has not ended.
        """
        state = await self._store.do(lambda table: table.step(job, JobStep.RETRY_ASKED))
        info = await self.get(job)
        if state is None:
            raise NotRetryable(job=job, state=info.state)
        return self._store.changed(info)

    async def log_lines(self, job: int, *, follow: bool = False) -> AsyncIterator[str]:
        """Yield the lines of a job's log, and, to follow, those to come until it has ended."""
        info = await self.get(job)
        going_on = follow and JobState(info.state) not in ENDED
        waiting = asyncio.create_task(self.wait(job)) if going_on else None
        try:
            async for line in log.lines(
                self._store.log_path(job), lambda: waiting is not None and not waiting.done()
            ):
                yield line
        finally:
            if waiting is not None:
                waiting.cancel()
