"""Which processes of which agents there are, and where.

Owns the choice of the file that knows this system; each of them has

    running(names)      processes of this user whose program has one of these names
    start_of(pid)       what tells a process from a later one of its number; "" when there is none
    parent_of(pid)      its parent; 0 when there is none
    booted_at_s()       when the machine started, in seconds since the epoch; None if not known
    boot_id()           what tells one boot from the next; "" if not known
"""

from __future__ import annotations

import sys

from palingenesis.evidence.process import Process, program_of

if sys.platform == "darwin":
    from palingenesis.evidence.processes_darwin import (
        boot_id,
        booted_at_s,
        parent_of,
        running,
        start_of,
    )
else:
    from palingenesis.evidence.processes_linux import (
        boot_id,
        booted_at_s,
        parent_of,
        running,
        start_of,
    )

__all__ = [
    "Process",
    "boot_id",
    "booted_at_s",
    "descends",
    "parent_of",
    "program_of",
    "running",
    "start_of",
]

_MAX_DEPTH = 20


def descends(pid: int, ancestor: int) -> bool:
    """Whether a process is `ancestor`, its child, or a child of that."""
    for _ in range(_MAX_DEPTH):
        if pid == ancestor:
            return True
        pid = parent_of(pid)
        if pid <= 1:
            break
    return False
