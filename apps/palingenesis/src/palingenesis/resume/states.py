"""The states of a session that palingenesis keeps, and what leads from one to the next.

Owns the table.  What happened is found out by `entry` and `engine`; a state changes nowhere else.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final


class State(enum.Enum):
    """How a session stands."""

    RUNNING = "running"
    WAITING_INSIDE = "waiting inside"
    STOPPED = "stopped"  # and nothing follows by itself: it needs somebody, or the reason is not known
    SCHEDULED = "scheduled"
    RESUMING = "resuming"
    GAVE_UP = "gave up"
    DONE = "done"
    LEFT_TO_USER = "left to its user"
    HELD = "held"


class Happened(enum.Enum):
    """What happened to a session."""

    SEEN_AT_WORK = "it is at work"
    SEEN_WAITING = "it waits by itself"
    SEEN_DONE = "its turn ended"
    SEEN_LEFT = "its user ended it"
    SEEN_STOPPED = "it stopped, and is not resumed by itself"
    SEEN_RESUMABLE = "it stopped, and may be resumed"
    TRY_BEGAN = "a run was begun"
    TRY_FAILED = "the run brought nothing"
    TRIES_SPENT = "the last run brought nothing"
    TRY_DONE = "a new session took over"
    NOW = "a user asked for a try now"
    RENEW = "a user asked for a new session"
    SKIP = "a user skips this stop"
    ABORT = "a user ended the run"
    HOLD = "a user holds it"
    RELEASE = "a user releases it"
    WANTED = "a later try is wanted"


_SEEN: Final = {
    Happened.SEEN_AT_WORK: State.RUNNING,
    Happened.SEEN_WAITING: State.WAITING_INSIDE,
    Happened.SEEN_DONE: State.DONE,
    Happened.SEEN_LEFT: State.LEFT_TO_USER,
    Happened.SEEN_STOPPED: State.STOPPED,
    Happened.SEEN_RESUMABLE: State.SCHEDULED,
    Happened.HOLD: State.HELD,
}
# A session at work keeps its state: the try follows its turn.
_AT_WORK: Final = {Happened.WANTED: State.RUNNING}
_RESTING: Final = {Happened.WANTED: State.SCHEDULED}

TRANSITIONS: Final[Mapping[State, Mapping[Happened, State]]] = {
    State.RUNNING: {**_SEEN, **_AT_WORK},
    State.WAITING_INSIDE: _SEEN,
    State.DONE: {**_SEEN, **_RESTING, Happened.RENEW: State.SCHEDULED},
    State.STOPPED: {
        **_SEEN,
        **_RESTING,
        Happened.NOW: State.SCHEDULED,
        Happened.RENEW: State.SCHEDULED,
        Happened.SKIP: State.LEFT_TO_USER,
    },
    State.SCHEDULED: {
        **_SEEN,
        **_RESTING,
        Happened.NOW: State.SCHEDULED,
        Happened.RENEW: State.SCHEDULED,
        Happened.SKIP: State.LEFT_TO_USER,
        Happened.TRY_BEGAN: State.RESUMING,
        Happened.TRY_FAILED: State.SCHEDULED,  # the command is not there
        Happened.TRIES_SPENT: State.GAVE_UP,
    },
    # Observations during our own run belong to the run; its end decides.
    State.RESUMING: {
        Happened.SEEN_DONE: State.DONE,
        Happened.SEEN_LEFT: State.LEFT_TO_USER,
        Happened.SEEN_STOPPED: State.STOPPED,
        Happened.SEEN_WAITING: State.WAITING_INSIDE,
        Happened.SEEN_AT_WORK: State.RUNNING,
        Happened.SEEN_RESUMABLE: State.SCHEDULED,
        Happened.TRY_FAILED: State.SCHEDULED,
        Happened.TRIES_SPENT: State.GAVE_UP,
        Happened.TRY_DONE: State.DONE,
        Happened.ABORT: State.LEFT_TO_USER,
    },
    State.GAVE_UP: {
        **_SEEN,
        Happened.NOW: State.SCHEDULED,
        Happened.RENEW: State.SCHEDULED,
        Happened.SKIP: State.LEFT_TO_USER,
    },
    State.LEFT_TO_USER: {**_SEEN, Happened.NOW: State.SCHEDULED, Happened.RENEW: State.SCHEDULED},
    State.HELD: {Happened.RELEASE: State.STOPPED},
}


def after(state: State, happened: Happened) -> State | None:
    """Return the next state; None where that cannot happen in `state`."""
    return TRANSITIONS[state].get(happened)
