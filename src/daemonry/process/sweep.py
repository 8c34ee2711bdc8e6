"""Ending what a dead owner left: its child, the child's process group, and what ran away from that.

Owns finding those processes and ending them: asked to end, waited for, then killed.  Each one is
pinned by a pidfd before it is looked at for the second time, so no signal reaches a stranger that
was given the same number meanwhile.

The watchers of `lifeline` and `child_guard` run this file as a program after their owner's death, alone and
without our package, so it imports the standard library only.  A frozen program runs it see `cli.frozen`.

Where there is no procfs only the process group is found, and the watcher ends it.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # `signal` costs an enum or two: starters read the names below
import os
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Final

    Among = Callable[[], Iterable[int]]
    Meant = Callable[[int], bool]

# In the environment of everything that an owned child starts, so that those are found that left
# its process group, as a program does that makes itself a daemon.
MARK_VARIABLE: Final = "DAEMONRY_OWNED"

# What only a process that was started to go on by itself has there: see `spawn`.
BOOT_VARIABLE: Final = "DAEMONRY_BOOT"
BOOT_PREFIX: Final = BOOT_VARIABLE.encode() + b"="

HAS_PROCFS: Final = os.path.exists("/proc/self/stat")

# How long those that were killed are waited for, before it is looked for others.
_ROUND_S: Final = 0.1
# What forks as fast as it is killed is given up; a bomb of that kind needs a control group.
_MOST_ROUNDS: Final = 50
# An exec is over within a fraction of a millisecond, unless its process has no CPU.
_EXEC_LOOKS: Final = 50
_EXEC_LOOK_S: Final = 0.001


def all_pids() -> Iterator[int]:
    """Yield the number of each process, also of those that have ended and were not reaped."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    yield from (int(name) for name in names if name.isdigit())


def belonging(group: int, mark: str, among: Among = all_pids) -> set[int]:
    """Return the processes of a process group, and those that bear a mark; zombies do not count.

    Args:
        group: the group's number; 0 for none.
        mark: the value of `MARK_VARIABLE`; "" for none.
        among: returns the processes to look at: to look at all takes long on a busy machine.
    """
    return {pid for pid in among() if belongs(pid, group, mark)}


def end(
    group: int,
    mark: str,
    grace_s: float,
    spared: frozenset[int] = frozenset(),
    asked: int = 0,
    among: Among = all_pids,
) -> set[int]:
    """End the processes of a group and those that bear a mark, and wait until they are gone.

    Args:
        group: as for `belonging`.
        mark: as for `belonging`.
        grace_s: how long they have between SIGTERM and SIGKILL, in seconds.
        spared: those that are left alone.
        asked: a group that has been asked already; many take a second SIGTERM for "at once".
        among: as for `belonging`.

    Returns:
        The ones that live on: of another user, or in a wait of the kernel that cannot be ended.
    """
    return _end(_meant(group, mark, spared), grace_s, asked, among)


def _end(is_meant: Meant, grace_s: float, asked: int, among: Among) -> set[int]:
    _send(is_meant, signal.SIGTERM, asked, among)
    _send(is_meant, signal.SIGCONT, asked, among)  # one that was stopped could not obey
    if _wait_gone(is_meant, time.monotonic() + grace_s, among):
        return set()
    for _ in range(_MOST_ROUNDS):
        if not _send(is_meant, signal.SIGKILL, 0, among):
            break
        if _wait_gone(is_meant, time.monotonic() + _ROUND_S, among):
            return set()
    return set(filter(is_meant, among()))


def _meant(group: int, mark: str, spared: frozenset[int]) -> Meant:
    return lambda pid: pid not in spared and belongs(pid, group, mark)


def _wait_gone(is_meant: Meant, until_s: float, among: Among) -> bool:
    while True:
        left = dict(_pinned(is_meant, among))
        try:
            if not left:
                return True
            if not _wait_ended(list(left.values()), until_s):
                return False
        finally:
            _close(left)


def _wait_ended(pidfds: list[int], until_s: float) -> bool:
    poll = select.poll()
    for fd in pidfds:
        poll.register(fd, select.POLLIN)
    waiting = len(pidfds)
    while waiting:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return False
        for fd, _ in poll.poll(left_s * 1000 + 1):
            poll.unregister(fd)
            waiting -= 1
    return True


def send(
    group: int, mark: str, spared: frozenset[int], number: int, but: int = 0, among: Among = all_pids
) -> bool:
    """Send a signal to the processes of a group and those that bear a mark; whether there was one.

    Args:
        group: as for `belonging`.
        mark: as for `belonging`.
        spared: those that are left alone.
        number: the signal's.
        but: a group whose members are left alone, also those that are born meanwhile.
        among: as for `belonging`.
    """
    return _send(_meant(group, mark, spared), number, but, among)


def _send(is_meant: Meant, number: int, but: int, among: Among) -> bool:
    reached = False
    for pid, fd in (pinned := dict(_pinned(is_meant, among))).items():
        try:
            if but and os.getpgid(pid) == but:
                continue
            signal.pidfd_send_signal(fd, number)
            reached = True
        except OSError:
            continue  # it has ended, or become another user
    _close(pinned)
    return reached


def _pinned(is_meant: Meant, among: Among) -> Iterator[tuple[int, int]]:
    for pid in list(filter(is_meant, among())):
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            continue
        if is_meant(pid):
            yield pid, fd
        else:
            os.close(fd)


def _close(pinned: dict[int, int]) -> None:
    for fd in pinned.values():
        os.close(fd)


def belongs(pid: int, group: int, mark: str) -> bool:
    """Whether a process lives and is of a process group, or bears a mark; arguments as for `belonging`."""
    try:
        # proc_pid_stat(5): "PID (NAME) STATE PPID PGRP"; the name may have brackets in it.
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, _, its_group = file.read().rpartition(b")")[2].split()[:3]
        if state in (b"Z", b"X"):
            return False
        if group and int(its_group) == group:
            return True
        return bool(mark) and f"{MARK_VARIABLE}={mark}".encode() in environment_of(pid)
    except (OSError, ValueError, IndexError):
        return False


def environment_of(pid: int) -> list[bytes]:
    """Return the environment that a process was started with, as NAME=VALUE.

    Raises:
        OSError: it has ended, or is another user's.
    """
    data = _environ(pid)
    for _ in range(_EXEC_LOOKS):
        if data or _has_none(pid):
            break
        time.sleep(_EXEC_LOOK_S)
        data = _environ(pid)
    return data.split(b"\0")


def _environ(pid: int) -> bytes:
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read()


def _has_none(pid: int) -> bool:
    """Whether a process was started without variables; within an exec it only seems so, for a moment.

    proc_pid_stat(5): a thread of the kernel has no memory; code has no address until the variables are there.
    """
    fields = _stat_of(pid)
    memory, code, start, end = (int(fields[number]) for number in (20, 23, 47, 48))
    return memory == 0 or (code != 0 and start == end)


def _own_line(group: int) -> frozenset[int]:
    """Return this process and its parents up to the watcher: a frozen program has a loader between them."""
    line = [os.getpid(), os.getppid()]
    while line[-1] not in (0, 1, group):
        try:
            with open(f"/proc/{line[-1]}/stat", "rb") as file:
                line.append(int(file.read().rpartition(b")")[2].split()[1]))
        except (OSError, ValueError):
            break
    return frozenset(line)


class Table:
    """What a supervisor's guard ends: the groups and marks of its children, and all of its session.

    Args:
        text: lines `GROUP START_TIME MARK`, with GROUP 0 for a child that is being born; blank ones count
            for nothing.
        session: the supervisor's own session, 0 where it shares one with others.
    """

    def __init__(self, text: bytes, session: int) -> None:
        rows = [line.split() for line in text.split(b"\n") if line.strip()]
        leaders = {int(group): start for group, start, _ in rows if int(group)}
        # A group's number passes on when its last member has ended; its leader's start tells.
        self.groups: set[int] = {
            group for group, start in leaders.items() if _start_of(group) in (b"", start)
        }
        self.marks: set[bytes] = {mark for _, _, mark in rows}
        self.being_born: bool = any(int(group) == 0 for group, _, _ in rows)
        self.session = session

    def has(self, pid: int) -> bool:
        """Whether a process lives and is one of them."""
        try:
            fields = _stat_of(pid)
            if fields[0] in (b"Z", b"X"):
                return False
            if int(fields[2]) in self.groups or (self.session and int(fields[3]) == self.session):
                return True
            name = MARK_VARIABLE.encode() + b"="
            return any(one.startswith(name) and one[len(name) :] in self.marks for one in environment_of(pid))
        except (OSError, ValueError, IndexError):
            return False


def _stat_of(pid: int) -> list[bytes]:
    """Return the fields behind the name: state, parent, group, session; the start time is number 19."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()


def _start_of(pid: int) -> bytes:
    """Return when a process was started; b"" where there is none, or no procfs."""
    try:
        return _stat_of(pid)[19]
    except (OSError, IndexError):
        return b""


def end_table(table: Table, grace_s: float) -> None:
    """End what a table names, on behalf of a guard whose owner has died."""
    if not HAS_PROCFS or not hasattr(os, "pidfd_open"):
        for number in (signal.SIGTERM, signal.SIGKILL):
            for group in table.groups:
                try:
                    os.killpg(group, number)
                except OSError:
                    continue
            if number == signal.SIGTERM:
                time.sleep(grace_s)
        return
    spared = _own_line(os.getpgid(0))
    for again in (False, True):
        if again and not table.being_born:
            return
        time.sleep(grace_s * again)  # one that was being born may become its program only now
        _end(lambda pid: pid not in spared and table.has(pid), grace_s, 0, all_pids)


def main(words: list[str]) -> None:
    """End what a dead owner left: `GROUP MARK GRACE_S`, or for a guard `table FD SESSION GRACE_S`."""
    if words[0] == "table":
        fd = int(words[1])
        end_table(Table(os.pread(fd, os.fstat(fd).st_size, 0), int(words[2])), float(words[3]))
        return
    group, mark, grace_s = int(words[0]), words[1], float(words[2])
    spared = _own_line(group)
    if not HAS_PROCFS or not hasattr(os, "pidfd_open"):
        os.killpg(group, signal.SIGTERM)  # we and our parent ignore it
        time.sleep(grace_s)
        return
    if not belonging(group, mark) - spared:
        time.sleep(grace_s)  # one that was just being born when its owner died will join the group
    end(group, mark, grace_s, spared)


if __name__ == "__main__":
    main(sys.argv[1:])
