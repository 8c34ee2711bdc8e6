"""An accepted connection that speaks Varlink, as a table: what its two ends still owe each other.

    READING <-> HELD -> HALF_CLOSED -> ENDING -> CLOSED

Owns which state follows which event.  Whose turn it is to speak is `wire.connection`'s; what is done on
the way is `varlink.connection`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class ConnectionState(Enum):
    """Where a connection is in its life."""

    READING = "reading"  # the client may call, and is listened to
    HELD = "held"  # it may call, and sent so much ahead of its replies that it is not listened to
    HALF_CLOSED = "half closed"  # it sends no more, and is answered to the end
    HANDING_OVER = "handing over"  # another protocol's, once the reply to the upgrade is sent
    UPGRADED = "upgraded"  # another protocol's
    ENDING = "ending"  # nothing follows the replies that wait to be sent
    GONE = "gone"  # nobody is there: one-way calls run to their end, others are cancelled or not begun
    CLOSED = "closed"

    __hash__ = object.__hash__  # that of Enum is written in Python


class ConnectionHappened(Enum):
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
    CALM = "its calls are answered at once"

    __hash__ = object.__hash__


_SHUT: Final = {
    ConnectionHappened.STALLED: ConnectionState.CLOSED,
    ConnectionHappened.CLOSE_ASKED: ConnectionState.CLOSED,
}
# As long as calls are taken.
_LISTENS: Final = {
    ConnectionHappened.PEER_LOST: ConnectionState.GONE,
    ConnectionHappened.UPGRADE: ConnectionState.HANDING_OVER,
    ConnectionHappened.NO_MORE: ConnectionState.ENDING,
    **_SHUT,
}

TRANSITIONS: Final[Mapping[ConnectionState, Mapping[ConnectionHappened, ConnectionState]]] = {
    ConnectionState.READING: {
        ConnectionHappened.TOO_MUCH: ConnectionState.HELD,
        ConnectionHappened.PEER_FINISHED: ConnectionState.HALF_CLOSED,
        ConnectionHappened.CALM: ConnectionState.CLOSED,  # a fast connection takes it back
        **_LISTENS,
    },
    ConnectionState.HELD: {
        ConnectionHappened.ROOM: ConnectionState.READING,
        ConnectionHappened.PEER_FINISHED: ConnectionState.HALF_CLOSED,
        **_LISTENS,
    },
    ConnectionState.HALF_CLOSED: _LISTENS,
    ConnectionState.HANDING_OVER: {
        ConnectionHappened.SENT: ConnectionState.UPGRADED,
        ConnectionHappened.PEER_LOST: ConnectionState.GONE,
        **_SHUT,
    },
    ConnectionState.UPGRADED: {
        ConnectionHappened.SPOKEN: ConnectionState.CLOSED
    },  # asked to close, it ends when that protocol does
    ConnectionState.ENDING: {
        ConnectionHappened.SENT: ConnectionState.CLOSED,
        ConnectionHappened.PEER_LOST: ConnectionState.CLOSED,
        **_SHUT,
    },
    ConnectionState.GONE: {ConnectionHappened.NO_MORE: ConnectionState.CLOSED, **_SHUT},
    ConnectionState.CLOSED: {},
}

# Where a call that has come may begin.
TAKES_CALLS: Final = frozenset(
    (ConnectionState.READING, ConnectionState.HELD, ConnectionState.HALF_CLOSED, ConnectionState.GONE)
)
# Where the client may send further calls.
TAKES_BYTES: Final = frozenset((ConnectionState.READING, ConnectionState.HELD))


def step(state: ConnectionState, happened: ConnectionHappened) -> ConnectionState | None:
    """Return the state that follows, or None where the event changes nothing in this one."""
    return TRANSITIONS[state].get(happened)
