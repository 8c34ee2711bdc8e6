"""Commands of jobs: their output goes to the job's log, and they end with the job and with the daemon."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence

from daemonry.jobs.log import JobLog
from daemonry.limits import READ_BYTES
from daemonry.process.lifeline import spawn_owned


async def run(
    log: JobLog,
    argv: Sequence[str | os.PathLike[str]],
    cwd: str | os.PathLike[str] | None,
    env: Mapping[str, str] | None,
    grace_s: float,
) -> int:
    """Run a command to its end; arguments and errors as for `JobRun.command`."""
    owned = spawn_owned(argv, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert owned.stdout is not None
    fd = owned.stdout.fileno()

    def copy() -> None:
        while data := os.read(fd, READ_BYTES):
            log.write(data)

    writer = threading.Thread(target=copy, name="daemonry-job-log", daemon=True)
    writer.start()
    try:
        return await owned.wait_ended()
    except asyncio.CancelledError:
        await asyncio.shield(asyncio.to_thread(owned.terminate, grace_s))
        raise
    finally:
        await asyncio.to_thread(writer.join)
        owned.stdout.close()
