"""An accepted connection that speaks Varlink, as a table: what its two ends still owe each other.

    READING <-> HELD -> HALF_CLOSED -> ENDING -> CLOSED

Owns which state follows which event.  Whose turn it is to speak is `wire.connection`'s; what is done on
the way is `varlink_connection`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class State(Enum):
    """Where a connection is in its life."""

    READING = "reading"  # the client may call, and is listened to
    HELD = "held"  # it may call, and sent so much ahead of its replies that it is not listened to
    HALF_CLOSED = "half closed"  # it sends no more, and is answered to the end
    HANDING_OVER = "handing over"  # another protocol's, once the reply to the upgrade is sent
    UPGRADED = "upgraded"  # another protocol's
    ENDING = "ending"  # nothing follows the replies that wait to be sent
    GONE = "gone"  # nobody is there: one-way calls run to their end, others are cancelled or not begun
    CLOSED = "closed"


class Happened(Enum):
    """What can happen to it."""

    TOO_MUCH = "too much waits"
    ROOM = "there is room"
    PEER_FINISHED = "the client sends no more"
    PEER_LOST = "the client is gone"
    UPGRADE = "an upgrade is granted"
    NO_MORE = "no call follows"
    SENT = "all is sent"
    STALLED = "the client does not read"
    CLOSE_ASKED = "close asked"
    SPOKEN = "the other protocol is done"


_SHUT: Final = {Happened.STALLED: State.CLOSED, Happened.CLOSE_ASKED: State.CLOSED}
# As long as calls are taken.
_LISTENS: Final = {
    Happened.PEER_LOST: State.GONE,
    Happened.UPGRADE: State.HANDING_OVER,
    Happened.NO_MORE: State.ENDING,
    **_SHUT,
}

TRANSITIONS: Final[Mapping[State, Mapping[Happened, State]]] = {
    State.READING: {Happened.TOO_MUCH: State.HELD, Happened.PEER_FINISHED: State.HALF_CLOSED, **_LISTENS},
    State.HELD: {Happened.ROOM: State.READING, Happened.PEER_FINISHED: State.HALF_CLOSED, **_LISTENS},
    State.HALF_CLOSED: _LISTENS,
    State.HANDING_OVER: {Happened.SENT: State.UPGRADED, Happened.PEER_LOST: State.GONE, **_SHUT},
    State.UPGRADED: {Happened.SPOKEN: State.CLOSED},  # asked to close, it ends when that protocol does
    State.ENDING: {Happened.SENT: State.CLOSED, Happened.PEER_LOST: State.CLOSED, **_SHUT},
    State.GONE: {Happened.NO_MORE: State.CLOSED, **_SHUT},
    State.CLOSED: {},
}

# Where a call that has come may begin.
TAKES_CALLS: Final = frozenset((State.READING, State.HELD, State.HALF_CLOSED, State.GONE))
# Where the client may send further calls.
TAKES_BYTES: Final = frozenset((State.READING, State.HELD))


def step(state: State, happened: Happened) -> State | None:
    """Return the state that follows, or None where the event changes nothing in this one."""
    return TRANSITIONS[state].get(happened)


def drawing() -> str:
    """Return the table as a Mermaid state diagram, for the documentation."""
    rows = ["stateDiagram-v2", f"    [*] --> {_node(State.READING)}"]
    for state, answers in TRANSITIONS.items():
        for happened, following in answers.items():
            rows.append(f"    {_node(state)} --> {_node(following)}: {happened.value}")
    return "\n".join([*rows, f"    {_node(State.CLOSED)} --> [*]"])


def _node(state: State) -> str:
    return state.value.replace(" ", "_")
