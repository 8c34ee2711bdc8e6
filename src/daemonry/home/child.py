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


class ServiceState(Enum):
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


class ServiceHappened(Enum):
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
    ServiceHappened.ENDED_AGAIN: ServiceState.RESTARTING,
    ServiceHappened.ENDED_DONE: ServiceState.DONE,
    ServiceHappened.ENDED_FAILED: ServiceState.FAILED,
    ServiceHappened.ENDED_IDLE: ServiceState.IDLE,
    ServiceHappened.ENDED_BY_COMMAND: ServiceState.STOPPED,  # a restart would fight whoever stopped it
    ServiceHappened.STOP_ASKED: ServiceState.STOPPING,
}
_OVER: Final = {
    ServiceHappened.START_ASKED: ServiceState.WAITING,
    ServiceHappened.STOP_ASKED: ServiceState.STOPPED,
}

TRANSITIONS: Final[Mapping[ServiceState, Mapping[ServiceHappened, ServiceState]]] = {
    ServiceState.WAITING: {
        ServiceHappened.START_ASKED: ServiceState.WAITING,
        ServiceHappened.NEEDS_READY: ServiceState.STARTING,
        ServiceHappened.LEFT_FOR_LATER: ServiceState.IDLE,  # its trigger starts it
        ServiceHappened.ENDED_FAILED: ServiceState.FAILED,  # its trigger cannot be waited for
        ServiceHappened.STOP_ASKED: ServiceState.STOPPED,
    },
    ServiceState.STARTING: {ServiceHappened.READY: ServiceState.READY, **_RUNNING},
    ServiceState.READY: {ServiceHappened.ILL: ServiceState.UNHEALTHY, **_RUNNING},
    ServiceState.UNHEALTHY: {
        ServiceHappened.ILL: ServiceState.UNHEALTHY,
        ServiceHappened.WELL: ServiceState.READY,
        **_RUNNING,
    },
    ServiceState.RESTARTING: {
        ServiceHappened.START_ASKED: ServiceState.WAITING,
        ServiceHappened.DELAY_OVER: ServiceState.WAITING,  # a service that it needs may have ended meanwhile
        ServiceHappened.STOP_ASKED: ServiceState.STOPPED,
    },
    ServiceState.STOPPING: {
        ServiceHappened.STOP_ASKED: ServiceState.STOPPING,  # asking twice is not an error
        ServiceHappened.ENDED: ServiceState.STOPPED,
    },
    ServiceState.STOPPED: _OVER,
    ServiceState.DONE: _OVER,
    ServiceState.IDLE: _OVER,
    ServiceState.FAILED: _OVER,
}

# It goes no further by itself, so nobody waits for it.
SETTLED: Final = frozenset(
    (
        ServiceState.READY,
        ServiceState.UNHEALTHY,
        ServiceState.STOPPED,
        ServiceState.DONE,
        ServiceState.IDLE,
        ServiceState.FAILED,
    )
)
# Those that need it may start.
SATISFIED: Final = frozenset((ServiceState.READY, ServiceState.DONE, ServiceState.IDLE))
# A process may be there.
ALIVE: Final = frozenset(
    (ServiceState.STARTING, ServiceState.READY, ServiceState.UNHEALTHY, ServiceState.STOPPING)
)


def step(state: ServiceState, happened: ServiceHappened) -> ServiceState | None:
    """Return the state that follows, or None where the event has no place in this one."""
    return TRANSITIONS[state].get(happened)
