"""Observations of a session, as typed facts with a source and a time.

Owns the values that readers make and that `verdict.judge` decides on.  A fact states an observation,
not a conclusion.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from palingenesis.verdict.reasons import Reason


class Source(enum.Enum):
    """Where a fact comes from."""

    TRANSCRIPT = "transcript"
    HOOK = "hook"
    PROCESS = "process"
    QUOTA = "quota"
    OUTPUT = "output"  # what a headless run printed, or its exit code
    TERMINAL = "terminal"  # a hint to look at the transcript, never a reason by itself
    MACHINE = "machine"


class Sign(enum.Enum):
    """One observation."""

    PROMPTED = "a prompt was given"
    ANSWERING = "the model is answering"
    TOOL_RUNNING = "a tool runs"
    COMPLETED = "the turn ended normally"
    FAILED = "an error ended the turn"
    RETRYING = "the agent waits and tries again by itself"
    NATIVE_WAIT = "the agent will go on by itself at the reset"
    INTERRUPTED = "the user interrupted it"
    ASKS_PERMISSION = "it asks for a permission"
    ENDED_BY_USER = "the user ended the session"
    ENDED = "the session ended"
    QUOTA = "how much of a limit is used"
    ALIVE = "a process lives in it"
    MAYBE_ALIVE = "a process of this agent lives in its directory"
    DEAD = "its process is gone without a clean end"
    SERVED = "a server of its agent has it open"
    NOBODY = "no process of this agent lives in it"
    BOOTED = "the machine started"
    UNREADABLE = "it cannot be read"


# Signs that tell where a turn stands; of these the last one counts.
TURN: Final = frozenset(
    {
        Sign.PROMPTED, Sign.ANSWERING, Sign.TOOL_RUNNING, Sign.COMPLETED, Sign.FAILED, Sign.RETRYING,
        Sign.INTERRUPTED, Sign.ASKS_PERMISSION, Sign.ENDED_BY_USER, Sign.ENDED,
    }
)  # fmt: skip
IN_TURN: Final = frozenset({Sign.PROMPTED, Sign.ANSWERING, Sign.TOOL_RUNNING})


class Fact(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was seen.

    Attributes:
        sign: what.
        source: where.
        at_s: when it happened, by its own record, in seconds since the epoch.
        text: the message that came with it, bounded; foreign text.
        reason: what the agent's own error kind means, by the profile's table.
        until_s: the instant that it names (a reset, the end of a wait), in seconds since the epoch.
        pid: the process, for facts about processes.
        used: how much of the limit is used, 0 to 1, for `QUOTA`.
    """

    sign: Sign
    source: Source
    at_s: float
    text: str = ""
    reason: Reason | None = None
    until_s: float | None = None
    pid: int | None = None
    used: float | None = None


class Evidence(msgspec.Struct, frozen=True):
    """All that is known of one session at one moment.

    Attributes:
        facts: in the order in which they happened, as far as that is known.
        now_s: when they were looked at.
        zone: the name of the zone of texts that name none; "" for UTC.
        tells_errors: whether the agent writes down why a turn failed.
        registers: whether a living session of this kind has an entry in the agent's own registry, which
            a clean end removes and a crash leaves.
    """

    facts: tuple[Fact, ...]
    now_s: float
    zone: str = ""
    tells_errors: bool = True
    registers: bool = False
