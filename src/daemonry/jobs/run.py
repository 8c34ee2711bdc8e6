"""One run of a job, as its task sees it: its number, its log, its progress, and commands that end with it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Final

from daemonry.jobs.log import JobLog
from daemonry.limits import OWNED_STOP_TIMEOUT_S, READ_BYTES
from daemonry.process.lifeline import Owned, spawn_owned

_MESSAGE_CHARS: Final = 200


class JobRun:
    """What a task is given as its first argument.

    Attributes:
        job: the job's number.
        attempt: which run of it this is, from 1.
        progress_value: how far it is, from 0 to 1.
        message: the last word about that.
        stopping: whether it is to end because the daemon does.
    """

    def __init__(self, job: int, attempt: int, log: JobLog, changed: Callable[[], None]) -> None:
        self.job: int = job
        self.attempt: int = attempt
        self.progress_value: float = 0.0
        self.message: str = ""
        self._log = log
        self._changed = changed
        self._canceled = threading.Event()
        self.stopping: bool = False

    @property
    def canceled(self) -> bool:
        """Whether it is to end: a plain task, which runs in a thread, has to look here."""
        return self._canceled.is_set()

    def cancel(self, *, stopping: bool = False) -> None:
        """Have `canceled` say so; the queue does."""
        self.stopping = stopping
        self._canceled.set()

    def log(self, text: str) -> None:
        """Write a line to the job's log, with the time before it."""
        now_s = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s))
        line = f"{stamp}.{int(now_s % 1 * 1000):03d}Z {text}\n"
        self._log.write(line.encode("utf-8", "backslashreplace"))

    def progress(self, share: float, message: str = "") -> None:
        """Say how far the job is.  From any thread.

        Args:
            share: from 0 to 1; what is beyond is cut.
            message: a word about it, of at most 200 characters.
        """
        self.progress_value = min(1.0, max(0.0, float(share)))
        self.message = message[:_MESSAGE_CHARS]
        self._changed()

    async def command(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        grace_s: float = OWNED_STOP_TIMEOUT_S,
    ) -> int:
        """Run a command with its output in the job's log, and return its exit code, negative for a signal.

        It ends with the job when that is canceled, and with the daemon, also by kill -9: see `spawn_owned`.

        Args:
            argv: its words.
            cwd: its directory; the daemon's by default.
            env: its whole environment; the daemon's by default.
            grace_s: the time between SIGTERM and SIGKILL when the job is canceled, in seconds.

        Raises:
            OSError: it cannot be started.
        """
        owned = spawn_owned(argv, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert owned.stdout is not None
        writer = threading.Thread(
            target=self._copy, args=(owned.stdout,), name="daemonry-job-log", daemon=True
        )
        writer.start()
        try:
            return await owned.wait_ended()
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.to_thread(_end, owned, grace_s))
            raise
        finally:
            await asyncio.to_thread(writer.join)
            owned.stdout.close()

    def _copy(self, output: IO[bytes]) -> None:
        fd = output.fileno()
        while data := os.read(fd, READ_BYTES):
            self._log.write(data)


def _end(owned: Owned, grace_s: float) -> None:
    owned.terminate(grace_s)
