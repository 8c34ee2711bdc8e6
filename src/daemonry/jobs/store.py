"""The table of jobs, used from the daemon's loop, and the topic of their changes.

Owns the thread in which the table is used, because a commit waits for the disk, and telling every change.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from daemonry import errors
from daemonry.jobs.record import JobInfo
from daemonry.jobs.refusals import NoSuchJob
from daemonry.jobs.states import JobStep
from daemonry.jobs.table import JobTable
from daemonry.limits import JOB_CHANGES_KEPT
from daemonry.topics import Topic

Result = TypeVar("Result")


class JobStore:
    """The jobs of one run of a daemon.

    Args:
        directory: where its table and its logs are; made if need be.
        keep: how many ended jobs are kept.

    Raises:
        Refused: the file of the table cannot be used.

    Attributes:
        changes: each change of a job.
        wake: set by each change, for the loop that starts jobs.
    """

    def __init__(self, directory: str, keep: int) -> None:
        os.makedirs(directory, 0o700, exist_ok=True)
        self._directory = directory
        self.changes: Topic[JobInfo] = Topic(keep=JOB_CHANGES_KEPT)
        self.wake: asyncio.Event = asyncio.Event()
        self._table = JobTable(os.path.join(directory, "jobs.db"), keep)
        self._thread = ThreadPoolExecutor(1, "daemonry-jobs")

    def close(self) -> None:
        """End, once the statements under way are done."""
        self.changes.close()
        try:
            self._thread.submit(self._table.close)
        except RuntimeError:
            return  # it was closed before
        self._thread.shutdown(wait=False)

    async def do(self, act: Callable[[JobTable], Result]) -> Result:
        """Do something with the table, in its thread.

        Raises:
            Refused: the jobs have ended.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, act, self._table)
        except RuntimeError as error:  # the thread takes no more
            raise errors.Refused(f"the daemon's jobs have ended: {error}") from None

    async def get(self, job: int) -> JobInfo:
        """Return a job, as it is on the disk.

        Raises:
            NoSuchJob: it is not there.
        """
        info = await self.do(lambda table: table.get(job))
        if info is None:
            raise NoSuchJob(job=job)
        return info

    async def step(self, job: int, happened: JobStep, fields: dict[str, Any] | None = None) -> None:
        """Change a job's state, if the event has a place in it, and tell the change."""
        if await self.do(lambda table: table.step(job, happened, fields)) is not None:
            self.changed(await self.get(job))

    def changed(self, info: JobInfo) -> JobInfo:
        """Tell a change, and return the job."""
        self.changes.publish(info)
        self.wake.set()
        return info

    def log_path(self, job: int) -> str:
        """Return the file of a job's log."""
        return os.path.join(self._directory, f"{job}.log")
