"""A daemon that has nothing to do, for `scripts/bench idle`; QUIET names its parts beside calls."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from daemonry import Daemon, Http, Interface
from daemonry.jobs import JobQueue, JobRun
from daemonry.topics import Topic

WITH = os.environ.get("QUIET", "").split(",")
daemon = Daemon(
    os.environ.get("QUIET_NAME", "quiet"),
    version="1.0",
    environment=("QUIET", "QUIET_NAME", "PYTHONPATH"),
    http=Http(port=0) if "http" in WITH else None,
    idle_timeout_s=3600.0 if "idle" in WITH else None,
)


class Quiet(Interface, name="org.example.quiet"):
    """Calls of each kind, and a topic."""

    def __init__(self) -> None:
        self.readings: Topic[int] = Topic(keep=10)

    def add(self, number: int) -> int:
        self.readings.publish(number)
        return number + 1

    async def later(self, number: int) -> int:
        await asyncio.sleep(0.01)
        return number

    async def follow(self) -> AsyncIterator[int]:
        async for one in self.readings.read(last=1):
            yield one.value


daemon.serve(Quiet())
if "jobs" in WITH:
    queue = JobQueue(daemon, concurrency=2)

    @queue.task()
    async def work(job: JobRun) -> None:
        job.log("done")
