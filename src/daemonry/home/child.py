"""A service's life under its supervisor, as a table.

    WAITING -> STARTING -> READY <-> UNHEALTHY -> STOPPING -> STOPPED
       ^                     |
       +----- RESTARTING <---+

Owns which state follows which event.  The actions on the way are `keeper`'s; whether a service that
has ended is started again is `policy`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class State(Enum):
    """Where a service is in its life."""

    WAITING = "waiting"  # for those that it needs
    STARTING = "starting"  # its process is there, and has not shown to be ready
    READY = "ready"
    UNHEALTHY = "unhealthy"  # it was ready, and does not show to be alive now
    RESTARTING = "restarting"  # it has ended, and the wait before the next start runs
    STOPPING = "stopping"
    STOPPED = "stopped"  # because that was asked for
    DONE = "done"  # ended by itself, and its policy leaves it so
    IDLE = "idle"  # ended because nobody needed it; started again when somebody does
    FAILED = "failed"  # given up


class Happened(Enum):
    """What can happen to it."""

    START_ASKED = "start asked"
    NEEDS_READY = "needs ready"
    LEFT_FOR_LATER = "left for later"
    READY = "ready"
    ILL = "not alive"
    WELL = "alive again"
    ENDED_AGAIN = "ended, to be restarted"
    ENDED_DONE = "ended, and done"
    ENDED_FAILED = "ended, and given up"
    ENDED_IDLE = "ended, idle"
    ENDED_BY_COMMAND = "ended, by command"
    DELAY_OVER = "delay over"
    STOP_ASKED = "stop asked"
    ENDED = "ended"


_RUNNING: Final = {
    Happened.ENDED_AGAIN: State.RESTARTING,
    Happened.ENDED_DONE: State.DONE,
    Happened.ENDED_FAILED: State.FAILED,
    Happened.ENDED_IDLE: State.IDLE,
    Happened.ENDED_BY_COMMAND: State.STOPPED,  # a restart would fight whoever stopped it
    Happened.STOP_ASKED: State.STOPPING,
}
_OVER: Final = {Happened.START_ASKED: State.WAITING, Happened.STOP_ASKED: State.STOPPED}

TRANSITIONS: Final[Mapping[State, Mapping[Happened, State]]] = {
    State.WAITING: {
        Happened.START_ASKED: State.WAITING,
        Happened.NEEDS_READY: State.STARTING,
        Happened.LEFT_FOR_LATER: State.IDLE,  # its trigger starts it
        Happened.ENDED_FAILED: State.FAILED,  # its trigger cannot be waited for
        Happened.STOP_ASKED: State.STOPPED,
    },
    State.STARTING: {Happened.READY: State.READY, **_RUNNING},
    State.READY: {Happened.ILL: State.UNHEALTHY, **_RUNNING},
    State.UNHEALTHY: {Happened.ILL: State.UNHEALTHY, Happened.WELL: State.READY, **_RUNNING},
    State.RESTARTING: {
        Happened.START_ASKED: State.WAITING,
        Happened.DELAY_OVER: State.WAITING,  # a service that it needs may have ended meanwhile
        Happened.STOP_ASKED: State.STOPPED,
    },
    State.STOPPING: {
        Happened.STOP_ASKED: State.STOPPING,  # asking twice is not an error
        Happened.ENDED: State.STOPPED,
    },
    State.STOPPED: _OVER,
    State.DONE: _OVER,
    State.IDLE: _OVER,
    State.FAILED: _OVER,
}

# It goes no further by itself, so nobody waits for it.
SETTLED: Final = frozenset(
    (State.READY, State.UNHEALTHY, State.STOPPED, State.DONE, State.IDLE, State.FAILED)
)
# Those that need it may start.
SATISFIED: Final = frozenset((State.READY, State.DONE, State.IDLE))
# A process may be there.
ALIVE: Final = frozenset((State.STARTING, State.READY, State.UNHEALTHY, State.STOPPING))


def step(state: State, happened: Happened) -> State | None:
    """Return the state that follows, or None where the event has no place in this one."""
    return TRANSITIONS[state].get(happened)


def drawing() -> str:
    """Return the table as a Mermaid state diagram, for the documentation."""
    rows = ["stateDiagram-v2", "    [*] --> waiting"]
    for state, answers in TRANSITIONS.items():
        for happened, following in answers.items():
            if following is not state:
                rows.append(f"    {state.value} --> {following.value}: {happened.value}")
    return "\n".join([*rows, "    stopped --> [*]"])
