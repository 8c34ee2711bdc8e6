"""The processes of a stdio server: itself and all that it started, their memory and their end.

Owns reading /proc.  Where there is none (macOS) it returns that nothing is known.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from daemonry import Owned
from mcp_cli.pool.results import brief

NAME_CHARS = 60


class ServerProcess(NamedTuple):
    """One process.

    Attributes:
        pid: its id.
        name: its command's first words, for people.
        rss_bytes: the memory that it has in RAM; shared pages are counted in each.
    """

    pid: int
    name: str
    rss_bytes: int


def end_all(child: Owned, grace_s: float = 0.0) -> None:
    """End an owned child with all that it started, in whatever group or session that is; takes a moment.

    Args:
        child: killed, if it has not ended.
        grace_s: the time that the others have between SIGTERM and SIGKILL, in seconds.
    """
    child.kill()
    child.end_strays(grace_s)


def tree(pid: int) -> list[ServerProcess]:
    """Return a process and its descendants, parents first; those that have ended are left out."""
    return trees([pid])[pid]


def trees(pids: Iterable[int]) -> dict[int, list[ServerProcess]]:
    """Return for each process itself and its descendants, by one reading of /proc."""
    children = _children()
    return {pid: _below(pid, children) for pid in pids}


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    try:
        every = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return {}
    for one in every:
        fields = _read(f"/proc/{one}/stat").rpartition(")")[2].split()
        if len(fields) > 1 and fields[0] not in ("Z", "X"):
            children.setdefault(int(fields[1]), []).append(one)
    return children


def _below(pid: int, children: Mapping[int, list[int]]) -> list[ServerProcess]:
    found: list[ServerProcess] = []
    waiting = [pid]
    while waiting:
        one = waiting.pop(0)
        name = _name(one)
        if name:
            found.append(ServerProcess(one, name, _rss_bytes(one)))
        waiting += sorted(children.get(one, ()))
    return found


def names(pid: int) -> str:
    """Return what runs, the innermost last: `npx, npm exec server-memory`; "" where that is not known."""
    told = dict.fromkeys(one.name for one in tree(pid))
    return ", ".join(list(told)[-3:])


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path, errors="replace") as file:
        return file.read(1 << 14)
    return ""


def _name(pid: int) -> str:
    words = _read(f"/proc/{pid}/cmdline").rstrip("\0").split("\0")
    if not words[0]:
        return ""
    return brief(" ".join([os.path.basename(words[0]), *map(os.path.basename, words[1:3])]), NAME_CHARS)


def _rss_bytes(pid: int) -> int:
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else 0
