"""The reasons for which a session is not at work, and what each of them asks for.

Owns the words; `judge` decides which one holds.
"""

from __future__ import annotations

import enum
from typing import Final


class Reason(enum.Enum):
    """Why a session is as it is.  The values are what a user reads and what a profile's table says."""

    RUNNING = "running"
    WAITING_INSIDE = "waiting inside"  # the agent waits in its own process and goes on by itself
    RATE_LIMIT = "rate limit"
    CONTEXT = "context"
    CRASHED = "crashed"
    MACHINE = "machine"  # the machine was switched off or restarted under it
    TRANSIENT = "transient"
    CREDIT = "credit"
    LOGIN = "login"
    PERMISSION = "permission"
    USER_EXIT = "user exit"
    COMPLETED = "completed"
    PROGRESS = "progress"  # a message that reports a retry: not a stop
    UNKNOWN = "unknown"


class Confidence(enum.Enum):
    """How much a verdict can be relied on."""

    SURE = "sure"  # a field or an event that has this meaning only
    LIKELY = "likely"  # the evidence fits one reason best
    NONE = "none"  # nothing was found that decides


NEEDS_A_HUMAN: Final = frozenset({Reason.CREDIT, Reason.LOGIN, Reason.PERMISSION})
RESUMABLE: Final = frozenset({Reason.RATE_LIMIT, Reason.CRASHED, Reason.MACHINE, Reason.TRANSIENT})
AT_WORK: Final = frozenset({Reason.RUNNING, Reason.WAITING_INSIDE})
