"""Strays: what a service started and hid, found by whose child it is.

A program that clears its environment and makes a session of its own bears no mark and is in no
group of ours, so `sweep` does not see it.  It cannot change its parent; and when that has
ended, it comes to the nearest subreaper above, which the supervisor of a home is.

Owns finding those processes and ending them.  A daemon that was started with `daemonry start` or
`ensure` is not one, nor are its descendants: it is meant to outlive its starter.  It is known by the mark
that it was given at its start, which stays in its first environment.

Each is pinned by a pidfd.  Of our own children that is not even needed: the number of one that has
ended is free only after it was reaped, which the thread does that looks here.

Where there is no procfs nothing is found; there are no subreapers there either.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from daemonry.clock import Deadline
from daemonry.limits import STRAY_LOOK_S, STRAY_ROUNDS_MAX
from daemonry.process import platform, sweep

_HAS_CHILDREN: Final = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def pinned_below(pid: int, mark: str) -> dict[int, int]:
    """Return `below`, each with a pidfd; `unpin` and `finish` close them."""
    pinned = pin(below(pid, mark))
    still = below(pid, mark)  # a number may have passed to a stranger before it was pinned
    unpin({one: pinned.pop(one) for one in pinned.keys() - still})
    return pinned


def below(pid: int, mark: str) -> set[int]:
    """Return the descendants of a process that do not bear a mark, less daemons and theirs."""
    return {one for one in descendants([pid]) if _lives(one) and not sweep.belongs(one, 0, mark)}


def descendants(pids: Iterable[int]) -> set[int]:
    """Return the descendants of these processes, zombies too, less daemons and theirs."""
    children_of = _children_of()
    found: set[int] = set()
    left = list(pids)
    while left:
        for child in children_of(left.pop()):
            if child not in found and not _is_daemon(child):
                found.add(child)
                left.append(child)
    return found


def pin(pids: Iterable[int]) -> dict[int, int]:
    """Return a pidfd for each of these that is still there; `unpin` closes them."""
    pinned = {}
    for pid in pids:
        try:
            pinned[pid] = os.pidfd_open(pid)
        except OSError:
            continue
    return pinned


def unpin(pinned: dict[int, int]) -> None:
    """Close the pidfds.  Twice is not an error."""
    while pinned:
        os.close(pinned.popitem()[1])


def ask(pinned: dict[int, int], asked: int) -> None:
    """Ask these to end, less those of a process group that has been asked already; 0 for none."""
    for pid, fd in pinned.items():
        if asked and _group_of(pid) == asked:
            continue
        for number in (signal.SIGTERM, signal.SIGCONT):  # one that is stopped could not obey
            _send(fd, number)


def finish(pinned: dict[int, int], grace_s: float) -> None:
    """Wait for the end of these, kill the rest after the grace, and close all pidfds."""
    deadline = Deadline(grace_s)
    living = dict(pinned)
    while living and (left_s := deadline.remaining_s()):
        for fd in _wait_any(living.values(), left_s):
            living = {pid: its for pid, its in living.items() if its != fd}
    for fd in living.values():
        _send(fd, signal.SIGKILL)
    unpin(pinned)


def left_to_us(knows: Callable[[int], bool]) -> set[int]:
    """Return our children of which `knows` says no, and all below them; from any thread."""
    found = {pid for pid in _children_of()(os.getpid()) if not knows(pid)}
    return found | descendants(found) if found else found


class LeftToUs:
    """Whether anything was left to us, read once for all that have ended before: many end together.

    Args:
        knows: as for `left_to_us`.
    """

    def __init__(self, knows: Callable[[int], bool]) -> None:
        self._knows = knows
        self._ends = 0
        self._nothing_at = 0

    def count_end(self) -> int:
        """Take note that a child was collected, and return its number; its children are ours since."""
        self._ends += 1
        return self._ends

    def is_nothing(self, number: int) -> bool:
        """Whether nothing is left of what ended with `number`, nor of any before."""
        if number > self._nothing_at and not left_to_us(self._knows):
            self._nothing_at = self._ends
        return number <= self._nothing_at


class Orphans:
    """The children of this process that it has not started: what others below it have left.

    Args:
        knows: whether a child is one that this process has started.
    """

    def __init__(self, knows: Callable[[int], bool]) -> None:
        self._knows = knows
        # Of the program that became this one, as a container's entry point does by `exec`.
        self._inherited = {pid: platform.start_time(pid) for pid in _children_of()(os.getpid())}

    def pids(self) -> set[int]:
        """Return who they are.  To be called by the thread that starts and reaps our children."""
        return {pid for pid in _children_of()(os.getpid()) if not self._is_spared(pid) and _lives(pid)}

    def _is_spared(self, pid: int) -> bool:
        if self._knows(pid) or _is_daemon(pid):
            return True
        return pid in self._inherited and self._inherited[pid] == platform.start_time(pid)

    async def end(self, grace_s: float, hurried: Callable[[], bool]) -> set[int]:
        """Ask them to end, kill what does not, and go on with what those leave until there is none.

        Args:
            grace_s: how long all of them together have between SIGTERM and SIGKILL, in seconds.
            hurried: whether they are to be killed at once; asked again and again.

        Returns:
            The ones that live on: of another user, or in a wait of the kernel that cannot be ended.
        """
        deadline = Deadline(grace_s)
        asked: set[int] = set()
        for _ in _rounds(lambda: deadline.expired or hurried()):
            pinned = pin(self.pids())
            try:
                if not pinned:
                    return set()
                if deadline.expired or hurried():
                    for fd in pinned.values():
                        _send(fd, signal.SIGKILL)
                else:
                    ask({pid: fd for pid, fd in pinned.items() if pid not in asked}, 0)
                    asked |= pinned.keys()
                await asyncio.to_thread(_wait_any, list(pinned.values()), STRAY_LOOK_S)
            finally:
                unpin(pinned)
        return self.pids()


def _rounds(counts: Callable[[], bool]) -> Iterator[None]:
    """Yield without end, and only so many times more once it counts."""
    left = STRAY_ROUNDS_MAX
    while left:
        yield
        left -= counts()


def _children_of() -> Callable[[int], Iterable[int]]:
    """Return a function that returns the children of a process.

    The kernel lists them per thread (proc(5), CONFIG_PROC_CHILDREN); where it does not, all processes
    are looked at once.
    """
    if _HAS_CHILDREN:
        return _listed_children
    children = _children()
    return lambda pid: children.get(pid, ())


def _listed_children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
    except OSError:  # it has ended, or one of its threads; the children of that are another's by now
        pass
    return found


def _children() -> dict[int, list[int]]:
    """Return the processes by their parents."""
    found: dict[int, list[int]] = {}
    for pid in sweep.all_pids():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                parent = file.read().rpartition(b")")[2].split(None, 2)[1]
        except (OSError, ValueError, IndexError):
            continue  # it has ended
        found.setdefault(int(parent), []).append(pid)
    return found


def _lives(pid: int) -> bool:
    return platform.start_time(pid) is not None


def _is_daemon(pid: int) -> bool:
    try:
        return any(one.startswith(sweep.BOOT_PREFIX) for one in sweep.environment_of(pid))
    except OSError:
        return False  # of another user


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


def _send(fd: int, number: int) -> None:
    try:
        signal.pidfd_send_signal(fd, number)
    except OSError:
        pass  # it has ended, or is another user's


def _wait_any(pidfds: Iterable[int], timeout_s: float) -> list[int]:
    """Return the ones that have ended, as soon as there is one, or after the timeout."""
    poll = select.poll()
    for fd in pidfds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(timeout_s * 1000 + 1)]
