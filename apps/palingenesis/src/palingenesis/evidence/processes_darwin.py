"""Processes by ps(1) and lsof(8), which macOS has in place of procfs.  Written for, not run on, macOS."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection
from typing import Final

from palingenesis.evidence.process import Process, program_of

_TOOL_TIMEOUT_S: Final = 5.0
_LSTART_WORDS: Final = 5  # "Sat Nov 28 09:00:00 2026"


def running(names: Collection[str]) -> list[Process]:
    """Return the processes of this user whose program has one of `names`."""
    found = []
    for line in _output("ps", "-x", "-U", str(os.getuid()), "-o", "pid=,lstart=,command=").splitlines():
        pid, *rest = line.split()
        start, words = " ".join(rest[:_LSTART_WORDS]), tuple(rest[_LSTART_WORDS:])
        if pid.isdigit() and (program := program_of(words, names)):
            cwd, files = _files(int(pid))
            found.append(Process(int(pid), start, program, words, cwd, files))
    return found


def start_of(pid: int) -> str:
    """Return when the process started, as ps tells it; "" when there is none."""
    return " ".join(_output("ps", "-p", str(pid), "-o", "lstart=").split())


def parent_of(pid: int) -> int:
    """Return the parent, as ps tells it."""
    told = _output("ps", "-p", str(pid), "-o", "ppid=").strip()
    return int(told) if told.isdigit() else 0


def booted_at_s() -> float | None:
    """Return the second of the sysctl `kern.boottime`."""
    found = re.search(r"\bsec = (\d+)", _output("sysctl", "-n", "kern.boottime"))
    return float(found[1]) if found else None


def boot_id() -> str:
    """Return the sysctl `kern.bootsessionuuid`."""
    return _output("sysctl", "-n", "kern.bootsessionuuid").strip()


def _files(pid: int) -> tuple[str, frozenset[str]]:
    cwd, files, kind = "", set(), ""
    for line in _output("lsof", "-w", "-p", str(pid), "-Ffn").splitlines():
        if line.startswith("f"):
            kind = line[1:]
        elif line.startswith("n/"):
            if kind == "cwd":
                cwd = line[1:]
            elif kind.isdigit():
                files.add(line[1:])
    return cwd, frozenset(files)


def _output(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, check=False, timeout=_TOOL_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "surrogateescape")
