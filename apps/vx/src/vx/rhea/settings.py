"""What a user may set of rhea: how many jobs run at the same time, and whether they are watched.

Its only I/O is reading the environment, and asking how many processors this process may use.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from daemonry import Refused

VARIABLE: Final = "VX_RHEA_JOBS"
SANDBOX_VARIABLE: Final = "VX_RHEA_SANDBOX"
MAX_JOBS: Final = 1024


def job_limit(environ: Mapping[str, str] | None = None, said_by: str = VARIABLE) -> int:
    """Return how many jobs run at the same time: as many as there are processors, unless told.

    Args:
        environ: the variables; this process's if left out.
        said_by: what the user wrote the number with, for the error.

    Raises:
        Refused: the variable is not such a number.
    """
    given = (os.environ if environ is None else environ).get(VARIABLE, "").strip()
    if not given:
        return _processors()
    if not (given.isascii() and given.isdigit() and 1 <= int(given) <= MAX_JOBS):
        raise Refused(f"{said_by}={given!r} is not a number from 1 to {MAX_JOBS}")
    return int(given)


def is_sandbox_wanted(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether jobs are watched where that can be had: VX_RHEA_SANDBOX is `on` (or not set) or `off`.

    Raises:
        Refused: the variable is neither.
    """
    given = (os.environ if environ is None else environ).get(SANDBOX_VARIABLE, "").strip()
    if given not in ("", "on", "off"):
        raise Refused(f"{SANDBOX_VARIABLE}={given!r} is neither on nor off")
    return given != "off"


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
