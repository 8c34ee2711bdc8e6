"""Development mode: whether the variable DAEMONRY_DEV turns it on for this process.

A daemon has it from its starter, as every variable that begins so.
"""

from __future__ import annotations

import os


def is_on() -> bool:
    """Whether this process, client or daemon, is in development mode."""
    return os.environ.get("DAEMONRY_DEV", "") not in ("", "0")
