"""A process that is stopped until its session is released, and nothing of it is lost.

Owns the signals.  SIGSTOP cannot be refused, and SIGCONT undoes it; a later process of that number is left
alone.
"""

from __future__ import annotations

import contextlib
import os
import signal

from palingenesis.evidence import processes


def freeze(pid: int) -> tuple[int, str] | None:
    """Stop a process; return what tells it from a later one of its number, or None where it is gone."""
    start = processes.start_of(pid)
    if not start or pid in (os.getpid(), os.getppid()):
        return None
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGSTOP)
        return pid, start
    return None


def thaw(frozen: tuple[int, str] | None) -> None:
    """Let a process go on that was stopped by `freeze`, if it is still there."""
    if frozen is None or processes.start_of(frozen[0]) != frozen[1]:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(frozen[0], signal.SIGCONT)
