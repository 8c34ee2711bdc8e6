"""Processes by procfs (proc(5))."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from typing import Final

from palingenesis.evidence.process import Process, program_of

# A prompt can be an argument; an id is among the first bytes.
MAX_CMDLINE_BYTES: Final = 16 * 2**10
MAX_FILES: Final = 256


def running(names: Collection[str]) -> list[Process]:
    """Return the processes of this user whose program has one of `names`."""
    uid = os.getuid()
    numbers = filter(str.isdigit, os.listdir("/proc"))
    return [found for number in numbers if (found := _process(number, names, uid)) is not None]


def start_of(pid: int) -> str:
    """Return field 22 of /proc/PID/stat, in clock ticks since boot; "" when it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read(4096).rpartition(b")")[2].split()
    except OSError:
        return ""
    if len(fields) < 20 or fields[0] in (b"Z", b"X"):
        return ""
    return fields[19].decode("ascii", "replace")


def parent_of(pid: int) -> int:
    """Return field 4 of /proc/PID/stat."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read(4096).rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def booted_at_s() -> float | None:
    """Return the `btime` of /proc/stat."""
    with contextlib.suppress(OSError, ValueError), open("/proc/stat", "rb") as file:
        for line in file:
            if line.startswith(b"btime "):
                return float(line.split()[1])
    return None


def boot_id() -> str:
    """Return the kernel's id of this boot."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(64).strip()
    except OSError:
        return ""


def _process(name: str, names: Collection[str], uid: int) -> Process | None:
    directory = f"/proc/{name}"
    try:
        with open(f"{directory}/cmdline", "rb") as file:
            data = file.read(MAX_CMDLINE_BYTES)
        words = tuple(os.fsdecode(word) for word in data.rstrip(b"\0").split(b"\0"))
        program = program_of(words, names)
        if not program or os.stat(directory).st_uid != uid:
            return None
    except OSError:
        return None
    start = start_of(int(name))
    try:
        cwd = os.readlink(f"{directory}/cwd")
    except PermissionError:
        cwd = ""
    except OSError:
        return None  # it is ending: it has no directory any more
    return Process(int(name), start, program, words, cwd, _files(directory)) if start else None


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _files(directory: str) -> frozenset[str]:
    try:
        numbers = os.listdir(f"{directory}/fd")[:MAX_FILES]
    except OSError:
        return frozenset()
    targets = (_link(f"{directory}/fd/{number}") for number in numbers)
    return frozenset(
        target for target in targets if target.startswith("/") and not target.startswith("/dev/")
    )
