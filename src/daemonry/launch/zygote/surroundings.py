"""What a process passes on to those that it starts, read: what a zygote and its starter must have in common.

Owns the list, which is that of execve(2), as far as the system tells.  Not told, and so not compared: the
priority of input and output, and the session's keyring.
"""

from __future__ import annotations

import os
import sys

from daemonry.launch.zygote import choice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

# Of this thread where threads differ: `subprocess` forks from the one that calls.
_FILES: Final = (
    "/proc/self/limits",
    "/proc/self/cgroup",
    "/proc/self/oom_score_adj",
    "/proc/self/loginuid",
    "/proc/self/sessionid",
    "/proc/self/timerslack_ns",
    "/proc/self/personality",
    "/proc/self/coredump_filter",
    "/proc/thread-self/attr/current",
)
_STATUS: Final = "/proc/thread-self/status"
_NAMESPACES: Final = "/proc/thread-self/ns"
_MOST_BYTES: Final = 1 << 16


def can_be_read() -> bool:
    """Whether this system tells."""
    return hasattr(os, "pidfd_open") and os.path.exists(_STATUS)


def material(python: str, environment: Mapping[str, str]) -> bytes:
    """Return the material of the zygote for a daemon that this thread would spawn.

    Args:
        python: the interpreter.
        environment: the daemon's, without the boot fields.

    Raises:
        OSError: this system does not tell.
    """
    variables = [os.fsencode(f"{name}={value}") for name, value in environment.items()]
    return choice.material(_interpreter(python), variables, _inherited())


def own_material(without: bytes) -> bytes:
    """Return the material of this process, as it was started and as it is now.

    Args:
        without: how the one variable begins that is not compared.

    Raises:
        OSError: this system does not tell.
    """
    started_with = _read("/proc/self/environ", 1 << 22).removesuffix(b"\0").split(b"\0")
    variables = [one for one in started_with if one and not one.startswith(without)]
    return choice.material(_interpreter(sys.executable), variables, _inherited())


def threads() -> int:
    """Return how many threads this process has."""
    return len(os.listdir("/proc/self/task"))


def _interpreter(python: str) -> str:
    found = os.stat(python)
    facts = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    return " ".join((python, *map(str, facts)))


def _inherited() -> bytes:
    scheduling = (
        os.sched_getscheduler(0),
        os.sched_getparam(0).sched_priority,
        os.getpriority(os.PRIO_PROCESS, 0),
    )
    root = os.stat("/")
    parts = [
        choice.passed_on(_read(_STATUS)),
        " ".join(map(str, (*scheduling, root.st_dev, root.st_ino))).encode(),
        *map(_told, _FILES),
    ]
    spaces = [os.fsencode(os.readlink(f"{_NAMESPACES}/{name}")) for name in sorted(os.listdir(_NAMESPACES))]
    return b"\n".join((*parts, *spaces))


def _told(path: str) -> bytes:
    """Return what stands in a file that not every system has, or lets be read."""
    try:
        return _read(path)
    except OSError as error:
        return str(error.errno).encode()


def _read(path: str, most_bytes: int = _MOST_BYTES) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, most_bytes):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)
