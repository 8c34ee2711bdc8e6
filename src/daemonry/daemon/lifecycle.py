"""A daemon's life, as a table.

    STARTING -> RUNNING <-> PAUSED -> DRAINING -> STOPPED

Owns which phase follows which event.  The runner acts on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Phase(Enum):
    """Where a daemon is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    STOPPED = "stopped"


class Happened(Enum):
    """What can happen to it."""

    READY = "ready"
    PAUSE_ASKED = "pause asked"
    RESUME_ASKED = "resume asked"
    STOP_ASKED = "stop asked"
    WORK_DONE = "work done"
    IDLE = "idle"
    HANDED_OVER = "handed over"
    DRAINED = "drained"
    DRAIN_EXPIRED = "drain expired"
    FAILED = "failed"


TRANSITIONS: Final[Mapping[Phase, Mapping[Happened, Phase]]] = {
    Phase.STARTING: {
        Happened.READY: Phase.RUNNING,
        Happened.PAUSE_ASKED: Phase.PAUSED,  # by the setup hook: it was paused when it ended last
        Happened.STOP_ASKED: Phase.DRAINING,
        Happened.FAILED: Phase.STOPPED,
    },
    Phase.RUNNING: {
        Happened.PAUSE_ASKED: Phase.PAUSED,
        Happened.STOP_ASKED: Phase.DRAINING,
        Happened.WORK_DONE: Phase.DRAINING,
        Happened.IDLE: Phase.DRAINING,  # not while paused: who paused it wants to find it so
        Happened.HANDED_OVER: Phase.DRAINING,
        Happened.FAILED: Phase.DRAINING,
    },
    Phase.PAUSED: {
        Happened.READY: Phase.PAUSED,
        Happened.RESUME_ASKED: Phase.RUNNING,
        Happened.STOP_ASKED: Phase.DRAINING,
        Happened.WORK_DONE: Phase.DRAINING,
        Happened.HANDED_OVER: Phase.DRAINING,
        Happened.FAILED: Phase.DRAINING,
    },
    Phase.DRAINING: {
        Happened.STOP_ASKED: Phase.DRAINING,  # asking twice is not an error
        Happened.WORK_DONE: Phase.DRAINING,
        Happened.FAILED: Phase.DRAINING,
        Happened.DRAINED: Phase.STOPPED,
        Happened.DRAIN_EXPIRED: Phase.STOPPED,
    },
    Phase.STOPPED: {
        Happened.STOP_ASKED: Phase.STOPPED,
        Happened.WORK_DONE: Phase.STOPPED,
        Happened.FAILED: Phase.STOPPED,
    },
}


def step(phase: Phase, happened: Happened) -> Phase | None:
    """Return the phase that follows, or None where the event has no place in this one."""
    return TRANSITIONS[phase].get(happened)
