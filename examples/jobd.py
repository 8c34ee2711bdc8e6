"""A job runner: shell commands as jobs, at most so many at once, kept over a crash, with their logs."""

from __future__ import annotations

from daemonry import Daemon
from daemonry.jobs import JobQueue, JobRun

daemon = Daemon("jobd", version="1.0")
queue = JobQueue(daemon, concurrency=2)


@queue.task()
async def shell(job: JobRun, line: str) -> None:
    code = await job.command(["/bin/sh", "-c", line])
    if code:
        raise RuntimeError(f"ended with {code}")


if __name__ == "__main__":
    daemon.main()
