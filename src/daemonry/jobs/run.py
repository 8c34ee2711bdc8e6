"""One run of a job, as its task sees it: its number, its log, its progress, and commands that end with it."""

from __future__ import annotations

import os
import time

from daemonry.limits import JOB_MESSAGE_CHARS, OWNED_STOP_TIMEOUT_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from daemonry.jobs.log import JobLog


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
        self._canceled = False
        self.stopping: bool = False

    @property
    def canceled(self) -> bool:
        """Whether it is to end: a plain task, which runs in a thread, has to look here."""
        return self._canceled

    def cancel(self, *, stopping: bool = False) -> None:
        """Have `canceled` say so; the queue does."""
        self.stopping = stopping
        self._canceled = True

    def log(self, text: str) -> None:
        """Write a line to the job's log, with the time before it."""
        now_s = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s))
        line = f"{stamp}.{int(now_s % 1 * 1000):03d}Z {text}\n"
        self._log.write(line.encode("utf-8", "backslashreplace"))

    def progress(self, share: float, message: str = "") -> None:
        """Say how far the job is.  From any thread.

        Args:
            share: from 0 to 1; other values are cut.
            message: a word about it, of at most 200 characters.
        """
        self.progress_value = min(1.0, max(0.0, float(share)))
        self.message = message[:JOB_MESSAGE_CHARS]
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
        from daemonry.jobs.commands import run

        return await run(self._log, argv, cwd, env, grace_s)
