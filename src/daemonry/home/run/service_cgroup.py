"""Control groups of services, where the service manager has given the supervisor a group of its own.

Owns the files below that group: one group for the supervisor, and one for each service with limits.  The
format is cgroup v2's (kernel documentation, admin-guide/cgroup-v2).  systemd delegates a group with
`Delegate=yes`, as in the unit that `daemonry install` writes, and marks it with an attribute; no other group
is touched.

A group with processes cannot hand its controllers on, so the supervisor moves into a group below it first.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Final

from daemonry.process import orphans
from daemonry.process.regular_file import open_regular

logger: logging.Logger = logging.getLogger("daemonry.home")

_ROOT: Final = "/sys/fs/cgroup"
_OWN: Final = "/proc/self/cgroup"
# systemd.resource-control(5): the mark of a group that its service may divide.
_MARK: Final = "user.delegate"
_SUPERVISOR: Final = "supervisor"
# The kernel's own default period of cpu.max, in microseconds.
_PERIOD_US: Final = 100_000
_WANTED: Final = ("cpu", "memory")


class Cgroup:
    """The group of one service.

    Args:
        path: its directory.
        memory_max: bytes that it may take; 0 for no limit.
    """

    def __init__(self, path: str, memory_max: int) -> None:
        self._path = path
        self._memory_max = memory_max

    def killed(self) -> str:
        """Return that the kernel has ended it for its memory, as people say it, or ""."""
        events = _fields(f"{self._path}/memory.events")
        if not int(events.get("oom_kill", "0")):
            return ""
        return f"took more memory than it may, {self._memory_max / 2**20:.1f} MiB: the kernel has ended it"

    def remove(self) -> None:
        """Remove it once its processes have ended.  Twice is not an error."""
        try:
            os.rmdir(self._path)
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.warning("%s stays: %s", self._path, error.strerror)


class Delegated:
    """The group that was given to this supervisor.

    Args:
        path: its directory.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._is_ready = False

    def limit(self, name: str, pid: int, memory_max: int, cpu_max: float) -> Cgroup | None:
        """Move a process and all below it into a group with limits; None where that cannot be done.

        Args:
            name: the service's name.
            pid: its first process.
            memory_max: bytes that it may take; 0 for no limit.
            cpu_max: processors that it may take, as 0.5 for half of one; 0 for no limit.
        """
        path = f"{self._path}/service-{name}"
        try:
            self._make_ready()
            os.makedirs(path, exist_ok=True)
            if memory_max:
                _write(f"{path}/memory.max", str(memory_max))
                _write(f"{path}/memory.oom.group", "1")
            if cpu_max:
                _write(f"{path}/cpu.max", f"{int(cpu_max * _PERIOD_US)} {_PERIOD_US}")
            _move(path, [pid, *sorted(orphans.descendants([pid]))])
        except OSError as error:
            logger.warning("%s has no control group: %s", name, error)
            return None
        return Cgroup(path, memory_max)

    def _make_ready(self) -> None:
        if self._is_ready:
            return
        own = f"{self._path}/{_SUPERVISOR}"
        os.makedirs(own, exist_ok=True)
        _move(own, _read(f"{self._path}/cgroup.procs").split())
        _write(f"{self._path}/cgroup.subtree_control", " ".join(f"+{one}" for one in _WANTED))
        self._is_ready = True


def delegated(root: str = _ROOT, own: str = _OWN) -> Delegated | None:
    """Return the group that was given to this process; None where it has none with both controllers.

    Args:
        root: where cgroup v2 is mounted.
        own: the file that names the group of this process.
    """
    try:
        lines = _read(own).splitlines()
        relative = next(line[3:] for line in lines if line.startswith("0::"))
        path = os.path.join(root, relative.strip("/"))
        if os.path.basename(path) == _SUPERVISOR:  # a supervisor that was started again by the same manager
            path = os.path.dirname(path)
        if os.getxattr(path, _MARK) != b"1":
            return None
        controllers = _read(f"{path}/cgroup.controllers").split()
    except (AttributeError, OSError, StopIteration):  # no Linux, no such group, or no attribute
        return None
    return Delegated(path) if set(_WANTED) <= set(controllers) else None


def _move(path: str, pids: Iterable[int | str]) -> None:
    for pid in pids:
        try:
            _write(f"{path}/cgroup.procs", str(pid))
        except ProcessLookupError:
            continue  # it has ended


def _fields(path: str) -> dict[str, str]:
    try:
        return dict(line.split(" ", 1) for line in _read(path).splitlines() if " " in line)
    except OSError:
        return {}


def _read(path: str) -> str:
    with open(open_regular(path), encoding="ascii", errors="replace") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    # In one piece: the kernel takes each write for a command.
    fd = open_regular(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)
