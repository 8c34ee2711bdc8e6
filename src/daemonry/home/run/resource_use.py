"""That a service takes no more memory and processor time than it may.

Owns the comparison, and the limit that the kernel holds between two looks.  Measuring is
`consumption`'s; the consequence for the service is `keeper`'s.
"""

from __future__ import annotations

import sys
import time
from typing import Final

from daemonry.home.consumption import measure
from daemonry.home.run.readiness import how_it_ended
from daemonry.home.run.service_cgroup import Cgroup
from daemonry.limits import LIMITS_LOOK_S

# The kernel's limit of private memory (RLIMIT_DATA) is that much above `memory_max`: it is of each process,
# and reserved memory that is never touched counts there, so only a runaway meets it before the next look.
_DATA_FACTOR: Final = 4
# Processor time is measured over at least this long: a start, or a request, may take more for a moment.
CPU_SPAN_S: Final = 30.0


class Limits:
    """Looks whether a service takes more than it may.

    Args:
        pid: its first process.
        memory_max: bytes of resident memory; 0 for no limit.
        cpu_max: processors, as 0.5 for half of one; 0 for no limit.
        group: its control group, whose limits the kernel holds; None for one that is looked at.
    """

    def __init__(self, pid: int, memory_max: int, cpu_max: float, group: Cgroup | None = None) -> None:
        self._group = group
        self._pid = pid
        self._memory_max = memory_max
        self._cpu_max = cpu_max
        self._since_s = time.monotonic()
        self._before = (self._since_s, measure(pid).cpu_s)
        if memory_max and group is None:
            _limit_data(pid, memory_max * _DATA_FACTOR)

    def exceeded(self) -> str:
        """Return which limit it exceeds, as people say it, or ""."""
        if self._group is not None:
            return self._group.killed()
        use = measure(self._pid)
        if self._memory_max and use.memory_bytes > self._memory_max:
            return f"takes {_mib(use.memory_bytes)} of memory, and may take {_mib(self._memory_max)}"
        if not self._cpu_max:
            return ""
        now_s, (since_s, before_s) = time.monotonic(), self._before
        if now_s - since_s < CPU_SPAN_S:
            return ""
        self._before = (now_s, use.cpu_s)
        rate = (use.cpu_s - before_s) / (now_s - since_s)
        if rate <= self._cpu_max:
            return ""
        return f"took {rate:.2f} processors for {now_s - since_s:.0f} s, and may take {self._cpu_max:g}"

    def ended(self, code: int | None) -> str:
        """Return why the limits have ended it, or may have, or ""; to be called once all of it has ended.

        Args:
            code: its exit code.
        """
        if self._group is None:
            return self._ended_early(code)
        reason = self._group.killed()
        self._group.remove()
        return reason

    def _ended_early(self, code: int | None) -> str:
        # Its program was refused memory, or cannot work for another reason: only it knows.
        if not self._memory_max or not code or time.monotonic() - self._since_s > LIMITS_LOOK_S:
            return ""
        return f"{how_it_ended(code)}; memory_max, {_mib(self._memory_max)}, may be too little for it"


def _limit_data(pid: int, most: int) -> None:
    if sys.platform != "linux":
        return
    import resource

    try:
        resource.prlimit(pid, resource.RLIMIT_DATA, (most, most))
    except (OSError, ValueError):
        pass  # it has ended, or has a lower limit already


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
