"""Runs a command and tells every program that it ran: the driver of a compiler, and what that runs.

Owns the looking-on, by ptrace(2): the kernel stops each process below the command when it executes
something, and when it ends; then its file, a script if it runs one, and its shared libraries are seen.
A wrapper hides none of it.  Prints JSON: {"status": exit code, "files": [absolute paths]}.

Loads the standard library alone and is run as a file: a process of one thread, which may fork.  Where
ptrace is not, or not permitted, `files` is empty and the command runs all the same.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from typing import Final

_TRACEME: Final = 0
_CONT: Final = 7
_SETOPTIONS: Final = 0x4200
_EVENT_EXEC: Final = 4
_EVENT_EXIT: Final = 6
# FORK, VFORK, CLONE, EXEC, EXIT, EXITKILL of linux/ptrace.h.
_OPTIONS: Final = 0x2 | 0x4 | 0x8 | 0x10 | 0x40 | 0x100000
_ALL: Final = 0x40000000  # __WALL: processes and threads
# `#!interpreter argument script`: the script is one of the first words.
_SCRIPT_WORDS: Final = 3


def main() -> int:
    """Run the command that the arguments are."""
    seen: set[str] = set()
    status = _watched(sys.argv[1:], seen) if sys.platform == "linux" else None
    if status is None:
        status = subprocess.run(sys.argv[1:], check=False, stdout=subprocess.DEVNULL).returncode
    print(json.dumps({"status": status, "files": sorted(seen)}))
    return 0


def _watched(command: list[str], seen: set[str]) -> int | None:
    """Run it and look on; None where that is not permitted, and nothing ran."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    pid = os.fork()
    if pid == 0:
        _become(libc, command)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSTOPPED(status):
        return None
    libc.ptrace(_SETOPTIONS, pid, None, _OPTIONS)
    libc.ptrace(_CONT, pid, None, None)
    ended = 0
    while True:
        try:
            one, status = os.waitpid(-1, _ALL)
        except ChildProcessError:
            return ended
        if not os.WIFSTOPPED(status):
            if one == pid:
                ended = os.waitstatus_to_exitcode(status)
            continue
        event, number = status >> 16, os.WSTOPSIG(status)
        if event in (_EVENT_EXEC, _EVENT_EXIT):
            _look(one, seen)
        passed = 0 if event or number in (signal.SIGTRAP, signal.SIGSTOP) else number
        libc.ptrace(_CONT, one, None, passed)


def _become(libc: ctypes.CDLL, command: list[str]) -> None:
    try:
        if libc.ptrace(_TRACEME, 0, None, None) != 0:
            os._exit(127)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.execvp(command[0], command)
    finally:
        os._exit(127)


def _look(pid: int, seen: set[str]) -> None:
    try:
        seen.add(os.readlink(f"/proc/{pid}/exe"))
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as maps:
            for line in maps:
                fields = line.rstrip("\n").split(None, 5)
                if len(fields) == 6 and "x" in fields[1] and fields[5].startswith("/"):
                    seen.add(fields[5])
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")[:_SCRIPT_WORDS]
        folder = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return
    for word in words[1:]:
        path = os.path.join(folder, os.fsdecode(word))
        if _is_script(path):
            seen.add(os.path.realpath(path))


def _is_script(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO is not waited for
        with open(fd, "rb") as file:
            return file.read(2) == b"#!"
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(main())
