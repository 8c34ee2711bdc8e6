"""What callers may do with a daemon's jobs: the interface org.daemonry.Jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from daemonry.jobs.record import JobChange, JobInfo
from daemonry.jobs.refusals import KeyTaken, NoSuchJob, NoSuchTask, NotRetryable, QueueFull, UnfitParameters
from daemonry.service.interface.declare import Interface, method

if TYPE_CHECKING:
    from daemonry.jobs.control import JobControl


class JobCalls(
    Interface,
    name="org.daemonry.Jobs",
    errors=(NoSuchJob, NoSuchTask, UnfitParameters, KeyTaken, QueueFull, NotRetryable),
):
    """Submits jobs, and looks after them."""

    def __init__(self, queue: JobControl) -> None:
        self._queue = queue

    async def submit(self, task: str, parameters: dict[str, Any] | None = None, key: str = "") -> int:
        """Submit a job and return its number, once it is on the disk.

        With a key it is idempotent: the same key, task and parameters give the same job.
        """
        return await self._queue.submit(task, parameters or {}, key=key)

    @method(reads=True)
    async def list(self, state: str = "", limit: int = 100) -> list[JobInfo]:
        """Return the last jobs, of one state or of all, the first submitted first."""
        return await self._queue.list(state, limit)

    @method(reads=True)
    async def show(self, job: int) -> JobInfo:
        """Return a job."""
        return await self._queue.get(job)

    @method(reads=True)
    async def wait(self, job: int) -> AsyncIterator[JobInfo]:
        """Give a job as it is, again whenever it changes, and last as it has ended."""
        async for info in self._queue.follow(job):
            yield info

    @method(idempotent=True)
    async def cancel(self, job: int) -> JobInfo:
        """Cancel a job, and return it; a running one is asked to end, and may be `canceling` for a while."""
        return await self._queue.cancel(job)

    async def retry(self, job: int) -> JobInfo:
        """Queue a job again that has failed, was canceled or lost, and return it."""
        return await self._queue.retry(job)

    @method(reads=True)
    async def log(self, job: int, follow: bool = False) -> AsyncIterator[str]:
        """Give the lines of a job's log, and, to follow, those to come until it has ended."""
        async for line in self._queue.log_lines(job, follow=follow):
            yield line

    @method(reads=True)
    async def changes(self, after: str = "", last: int = 0) -> AsyncIterator[JobChange]:
        """Give the changes of all jobs behind a cursor, or the last ones, and those to come."""
        async for one in self._queue.changes.read(after, last=last):
            info = one.value
            yield JobChange(one.cursor, one.missed, info.job, info.state, info.progress, info.message)
