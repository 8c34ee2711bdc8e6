"""One run of an agent: begun at most once, and found again after a restart of this daemon.

Owns the run's output, `{state}/runs/TOKEN.out`, and its process, which outlives this daemon.  Before it
becomes the agent, it makes its claim's gate, a file that only one can make.  Whoever finds a run that was
written down and not begun puts a directory there, and the run can never begin any more.  So whenever a daemon
is killed, a run has begun once or not at all, and the gate says which.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import BinaryIO, Final

from daemonry import open_regular
from palingenesis.evidence import processes
from palingenesis.resume import claims
from palingenesis.resume.claim_rules import Outcome
from palingenesis.resume.claims import MARK_VARIABLE
from palingenesis.resume.entry import AgentRun

MAX_OUTPUT_BYTES: Final = 64 * 2**20
TAIL_BYTES: Final = 2_000
# Agents write down how far they came when they are asked to end.
GRACE_S: Final = 5.0
# Files of runs that nobody accounts for any more; a run that was stopped from beginning is among them.
KEEP_S: Final = 30 * 86400.0
# `$0` is the file that only one can make, the arguments are the agent's words.
_GATE: Final = 'set -C; echo "$$" >"$0" || exit 75; exec "$@"'


class Runs:
    """The runs of this daemon, and those that an earlier one began.

    Args:
        directory: for their files; made if it is not there.
        environment: what the agents get.
    """

    def __init__(self, directory: str, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = dict(environment)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._sweep(time.time() - KEEP_S)

    def begin(self, run: AgentRun, cwd: str) -> tuple[int, str]:
        """Begin a run that was written down, and return its process and what tells it from others.

        Raises:
            OSError: its directory is not there, or no process could be started.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        output = os.open(self._file(run, "out"), flags, 0o600)
        try:
            child = subprocess.Popen(
                ["/bin/sh", "-c", _GATE, self._gate(run), *run.argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env={**self._environment, MARK_VARIABLE: run.token},
                start_new_session=True,
            )
        finally:
            os.close(output)
        self._children[run.token] = child
        return child.pid, processes.start_of(child.pid)

    def has_begun(self, run: AgentRun) -> bool:
        """Whether a run that was written down has begun.  If not, it cannot begin any more."""
        try:
            return not claims.refuse(self._gate(run))
        except FileNotFoundError:  # its claim is gone: later ones have been made
            return True

    def was_refused(self, run: AgentRun) -> bool:
        """Whether another process has refused a run its beginning."""
        return os.path.isdir(self._gate(run))

    def process_of(self, run: AgentRun) -> tuple[int, str]:
        """Return the process of a run that has begun, and its start; (0, "") where it is gone."""
        with contextlib.suppress(OSError, ValueError), _opened(self._gate(run)) as file:
            pid = int(file.read(32))
            start = processes.start_of(pid)
            if start and claims.is_marked(pid, run.token):
                return pid, start
        return 0, ""

    def exit_code(self, run: AgentRun) -> int | None:
        """Return the exit code of a run of ours that has ended; None while it runs, or for another's."""
        child = self._children.get(run.token)
        return None if child is None else child.poll()

    def lives(self, run: AgentRun) -> bool:
        """Whether the run's process is there."""
        child = self._children.get(run.token)
        if child is not None:
            return child.poll() is None
        return bool(run.pid) and bool(run.start) and processes.start_of(run.pid) == run.start

    def changed_at_s(self, run: AgentRun) -> float:
        """Return when the run printed something last; 0.0 if it has printed nothing."""
        try:
            found = os.lstat(self._file(run, "out"))
        except OSError:
            return 0.0
        if found.st_size > MAX_OUTPUT_BYTES:
            with contextlib.suppress(OSError):
                os.close(open_regular(self._file(run, "out"), os.O_WRONLY | os.O_TRUNC))
        return found.st_mtime if found.st_size else 0.0

    def tail(self, run: AgentRun) -> str:
        """Return the last words that the run printed; foreign text."""
        with contextlib.suppress(OSError), _opened(self._file(run, "out")) as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            return file.read(TAIL_BYTES).decode("utf-8", "replace")
        return ""

    def end(self, run: AgentRun) -> None:
        """End the run's process group, which is its own session: ask, and after `GRACE_S` kill."""
        if not run.pid or not self.lives(run):
            return
        deadline_s = time.monotonic() + GRACE_S
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(run.pid, number)
            while self.lives(run) and time.monotonic() < deadline_s:
                time.sleep(0.02)
            deadline_s += GRACE_S

    def forget(self, run: AgentRun, outcome: Outcome = Outcome.TRIED, continued_by: str = "") -> None:
        """Remove the files of a run that ended, and was accounted for; tell others what became of it."""
        child = self._children.pop(run.token, None)
        if child is not None:
            child.poll()
        with contextlib.suppress(OSError):
            os.unlink(self._file(run, "out"))
        if run.gate:
            claims.end(run.gate, outcome, continued_by)
        else:
            with contextlib.suppress(OSError):
                os.unlink(self._gate(run))

    def _sweep(self, before_s: float) -> None:
        for name in os.listdir(self._directory):
            path = os.path.join(self._directory, name)
            with contextlib.suppress(OSError):
                if os.stat(path).st_mtime < before_s:
                    os.unlink(path)

    def _gate(self, run: AgentRun) -> str:
        return run.gate or self._file(run, "started")  # of a version before there were claims

    def _file(self, run: AgentRun, kind: str) -> str:
        return os.path.join(self._directory, f"{run.token}.{kind}")


def _opened(path: str) -> BinaryIO:
    return open(open_regular(path), "rb")
