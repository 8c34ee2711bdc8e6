"""An MCP server's life as a table.

    IDLE -> WAITING -> STARTING -> READY -> ENDING -> IDLE
               ^          |                    |
               |          +-> FAILED <---------+
               +-------------------------------+

Owns which state follows which event.  `lifecycle` performs it; whether a server that crashed is started
again, and when, is decided by `daemonry.home.policy`, which homes use as well.  Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class State(Enum):
    """Where a server is in its life; the values are those of `interfaces.ServerState`."""

    IDLE = "idle"  # not connected; the next call starts it
    WAITING = "waiting"  # the wait before a start runs
    STARTING = "starting"  # its process is there, or it is being reached; it has not introduced itself
    READY = "ready"
    ENDING = "ending"  # its connection has ended, and the rest of its process is being ended
    CLOSING = "closing"  # being ended by command
    FAILED = "failed"  # could not be started, or crashed too often; the next call tries again


class Happened(Enum):
    """What can happen to it."""

    START_ASKED = "start asked"
    DELAY_OVER = "delay over"
    CONNECTED = "connected"
    START_FAILED = "start failed"
    CONNECTION_LOST = "connection lost"
    ENDED_AGAIN = "ended, to be restarted"
    ENDED_LEFT = "ended, until a call"
    ENDED_FAILED = "ended, and given up"
    CLOSE_ASKED = "close asked"
    CLOSED = "closed"


_NOT_CONNECTED: Final = {Happened.START_ASKED: State.WAITING, Happened.CLOSE_ASKED: State.CLOSING}

TRANSITIONS: Final[Mapping[State, Mapping[Happened, State]]] = {
    State.IDLE: _NOT_CONNECTED,
    State.WAITING: {
        Happened.START_ASKED: State.WAITING,  # a second call waits with the first
        Happened.DELAY_OVER: State.STARTING,
        Happened.CLOSE_ASKED: State.CLOSING,
    },
    State.STARTING: {
        Happened.START_ASKED: State.STARTING,
        Happened.CONNECTED: State.READY,
        Happened.START_FAILED: State.FAILED,
        Happened.CLOSE_ASKED: State.CLOSING,
    },
    State.READY: {
        Happened.START_ASKED: State.READY,
        Happened.CONNECTION_LOST: State.ENDING,
        Happened.CLOSE_ASKED: State.CLOSING,
    },
    State.ENDING: {
        Happened.ENDED_AGAIN: State.WAITING,
        Happened.ENDED_LEFT: State.IDLE,
        Happened.ENDED_FAILED: State.FAILED,
        Happened.CLOSE_ASKED: State.CLOSING,
    },
    State.CLOSING: {
        Happened.CLOSE_ASKED: State.CLOSING,  # asking twice is not an error
        Happened.CLOSED: State.IDLE,
    },
    State.FAILED: _NOT_CONNECTED,
}

# It is being started, or will be by itself.
BEGUN: Final = frozenset((State.WAITING, State.STARTING))


def step(state: State, happened: Happened) -> State | None:
    """Return the state that follows, or None where the event has no place in this one."""
    return TRANSITIONS[state].get(happened)
