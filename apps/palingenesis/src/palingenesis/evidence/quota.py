"""Whether a limit has ended, asked before a resume: the command `quota` of an agent's table.

Owns the run of that command: bounded in time, its output unread.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

TIMEOUT_S: Final = 10.0
NOT_YET: Final = 75  # sysexits.h: EX_TEMPFAIL


def has_ended(words: Sequence[str], environment: Mapping[str, str], cwd: str) -> bool | None:
    """Return whether quota is there again; None where nobody is asked, or the answer is none."""
    if not words:
        return None
    try:
        done = subprocess.run(
            list(words), env=dict(environment), cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {0: True, NOT_YET: False}.get(done.returncode)
