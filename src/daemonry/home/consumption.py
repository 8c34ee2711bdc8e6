"""The memory, processor time and wake-ups of a process and all below it.

Owns measuring, and the rates between two measurements.  Numbers are those of proc(5); where there is no
procfs nothing is known.  Limits are `resource_use`'s.
"""

from __future__ import annotations

import os
import time
from typing import Final, NamedTuple

from daemonry.process import orphans

# Of a process with more threads than this the wake-ups of so many are counted: each costs a file.
_MAX_THREADS: Final = 64
_WAKE_UPS: Final = b"voluntary_ctxt_switches:"


class Use(NamedTuple):
    """The resources of a process and all below it.

    Attributes:
        memory_bytes: resident memory of all of them; shared pages count for each.
        cpu_s: processor time of the living ones, and of those of theirs that have ended, in seconds.
        wake_ups: how often a thread of theirs has waited and was woken; 0 where that was not asked for.
        at_s: when it was measured, on the monotonic clock.
    """

    memory_bytes: int
    cpu_s: float
    wake_ups: int
    at_s: float


class Rates(NamedTuple):
    """The rates between two measurements.

    Attributes:
        cpu: processors, as 0.5 for half of one.
        wake_ups_per_s: wake-ups in a second.
    """

    cpu: float
    wake_ups_per_s: float


def measure(pid: int, *, wake_ups: bool = False) -> Use:
    """Return what a process takes with all below it; nothing where that cannot be known.

    Args:
        pid: the process.
        wake_ups: whether these are counted, which reads one more file for each thread.
    """
    memory, ticks, woken = 0, 0, 0
    for one in {pid} | orphans.descendants([pid]):
        try:
            with open(f"/proc/{one}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            woken += _wake_ups(one) if wake_ups else 0
        except OSError:
            continue  # it has ended
        # proc_pid_stat(5): utime, stime, cutime, cstime are 14 to 17, rss is 24; the state is 3.
        ticks += sum(map(int, fields[11:15]))
        memory += int(fields[21])
    cpu_s = ticks / os.sysconf("SC_CLK_TCK")
    return Use(memory * os.sysconf("SC_PAGE_SIZE"), cpu_s, woken, time.monotonic())


def between(before: Use, now: Use) -> Rates | None:
    """Return the rates between two measurements; None where they are not of the same processes.

    A process that ends takes its wake-ups with it, and its processor time until its parent has collected
    it, so that a sum can fall.
    """
    span_s = now.at_s - before.at_s
    if span_s <= 0 or now.cpu_s < before.cpu_s:
        return None
    return Rates((now.cpu_s - before.cpu_s) / span_s, max(0, now.wake_ups - before.wake_ups) / span_s)


def _wake_ups(pid: int) -> int:
    total = 0
    for task in os.listdir(f"/proc/{pid}/task")[:_MAX_THREADS]:
        try:
            with open(f"/proc/{pid}/task/{task}/status", "rb") as file:
                _, found, told = file.read().partition(b"\n" + _WAKE_UPS)
        except OSError:
            continue  # the thread has ended
        total += int(told.split(None, 1)[0]) if found else 0
    return total
