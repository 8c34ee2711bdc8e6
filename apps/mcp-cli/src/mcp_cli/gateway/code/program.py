"""What runs in the process of a client's program: its bounds, the servers as it sees them, and the program.

The program imports `tools.SERVER`, a generated module each, whose calls go through `servers` to the gateway,
which makes them.  Owns the far end of that socket, and the bounds that a process can set for itself.  It is
no sandbox: the program runs as the user, and reads and writes the user's files.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import runpy
import socket
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any, Final

from daemonry.errors import DaemonryError
from mcp_cli.client.api import Result, ToolFailed

FILE: Final = "program.py"
MAX_MEMORY_BYTES: Final = 1 << 30
MAX_FILE_BYTES: Final = 64 << 20
MAX_OPEN_FILES: Final = 256
# Of the kernel's clone(2).
_NEW_NET, _NEW_USER = 0x40000000, 0x10000000
# The exit codes of what happens before the program runs.
NETWORK_LEFT: Final = 97


class CallRefused(DaemonryError):
    """A call was not made, or has no answer; its text says why."""


class _ProgramServers:
    """The servers, through the gateway; several threads may call, one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file: Any = None

    def open(self, fd: int) -> None:
        """Take the socket."""
        self._file = socket.socket(fileno=fd).makefile("rwb")

    def call(self, server: str, tool: str, arguments: Mapping[str, Any] | None = None) -> Result:
        """Call a tool; as `Servers.call`.

        Raises:
            ToolFailed: it ran and failed.
            CallRefused: it was not called, or did not answer.
        """
        asked = json.dumps({"server": server, "tool": tool, "arguments": dict(arguments or {})})
        with self._lock:
            self._file.write(asked.encode() + b"\n")
            self._file.flush()
            line = self._file.readline()
        if not line:
            raise CallRefused(f"{server}/{tool}: the gateway has gone")
        answer = json.loads(line)
        if "error" in answer:
            raise CallRefused(f"{server}/{tool}: {answer['error']}")
        result: Result = Result(answer["result"])
        if result.is_error:
            raise ToolFailed(f"{server}/{tool}", result)
        return result


servers = _ProgramServers()


def without_network() -> bool:
    """Leave this process no network but its own, empty one; False where the system does not do that."""
    user, group = os.getuid(), os.getgid()
    try:
        unshare = ctypes.CDLL(None, use_errno=True).unshare
    except (AttributeError, OSError):
        return False
    if unshare(_NEW_USER | _NEW_NET) != 0:
        return False
    # Without a map this user would be nobody to the programs that ask.
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        try:
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
        except OSError:
            pass
    return True


def bound(seconds: int) -> None:
    """Set this process's bounds, which its children have as well.

    Args:
        seconds: of CPU time.
    """
    for kind, limit in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, MAX_MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, MAX_FILE_BYTES),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        most = resource.getrlimit(kind)[1]
        least = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(kind, (least, least))


def run(directory: str, fd: int, seconds: int, *, isolated: bool) -> None:
    """Run the program of a directory, and end this process.

    Args:
        directory: with the program and the package `tools`.
        fd: the socket to the gateway.
        seconds: of CPU time that it has.
        isolated: whether it must have no network.
    """
    if isolated and not without_network():
        sys.exit(NETWORK_LEFT)
    servers.open(fd)
    bound(seconds)
    sys.path.insert(0, directory)
    path = os.path.join(directory, FILE)
    sys.argv = [FILE]
    try:
        runpy.run_path(path, run_name="__main__")
    except Exception as error:  # noqa: BLE001  # the program's
        # From the program's own first frame on; a fault of its syntax has none.
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename != path:
            frames = frames.tb_next
        sys.stdout.flush()
        traceback.print_exception(type(error), error, frames)
        sys.exit(1)
