"""What a test left behind: sockets, held locks, processes.

Owns finding them.  Processes are known by a variable in their environment, which children
inherit and nobody else has, so a daemon that outlived its test is found wherever it went.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from daemonry import clock
from daemonry.process import lock, platform

MARK = "DAEMONRY_SANDBOX"
_EXEC_LOOKS = 10
_EXEC_LOOK_S = 0.002


class Leftovers(NamedTuple):
    """The leftovers that were found.

    Attributes:
        sockets: paths of socket files.
        locks: paths of lock files that some process holds.
        processes: `PID COMMAND` of processes that still run.
    """

    sockets: list[str]
    locks: list[str]
    processes: list[str]

    def __bool__(self) -> bool:
        return bool(self.sockets or self.locks or self.processes)

    def __str__(self) -> str:
        named = (("socket", self.sockets), ("held lock", self.locks), ("process", self.processes))
        return "; ".join(f"{kind} {one}" for kind, found in named for one in found) or "nothing"


def leftovers_in(directory: str | os.PathLike[str]) -> Leftovers:
    """Return the leftovers of all that ran with `directory` as its sandbox."""
    path = os.fspath(directory)
    files = [os.path.join(above, name) for above, _, names in os.walk(path) for name in names]
    return Leftovers(
        sorted(file for file in files if _is_socket(file)),
        sorted(file for file in files if file.endswith(".lock") and lock.is_held(file)),
        processes_marked(path),
    )


def processes_marked(value: str) -> list[str]:
    """Return the processes whose environment has the sandbox `value`, or one below it.

    Only where there is a procfs; elsewhere nothing is found.
    """
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
    mark = f"{MARK}={value}".encode()
    return [f"{pid} {_command(pid)}" for pid in sorted(pids) if pid != os.getpid() and _has(pid, mark)]


def _has(pid: int, mark: bytes) -> bool:
    entries = _environment(pid).split(b"\0")
    found = any(entry == mark or entry.startswith(mark + b"/") for entry in entries)
    return found and platform.start_time(pid) is not None


def _environment(pid: int) -> bytes:
    """Return a process's environment; b"" where it cannot be read.

    A process in the middle of its exec has none for a moment, though whoever started it has learned
    that it runs.  Threads of the kernel have none at all, and no program either.
    """
    try:
        for _ in range(_EXEC_LOOKS):
            with open(f"/proc/{pid}/environ", "rb") as file:
                found = file.read()
            if found:
                return found
            os.readlink(f"/proc/{pid}/exe")
            clock.sleep(_EXEC_LOOK_S)
    except OSError:
        pass
    return b""


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return "?"


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False
