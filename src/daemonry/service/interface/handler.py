"""A handler's view of the call that it answers, and the replies that are more than a value.

Owns the `Context`: the caller, the deadline, and whether the caller still listens; a method that wants it
has a parameter annotated `Context`, which nobody sends.  Owns `Upgrade`: a reply after which the
connection is another protocol's.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from socket import socket
from typing import Generic, TypeVar

from daemonry.transport.credentials import Peer

Value = TypeVar("Value")

Speak = Callable[[socket, bytes], Awaitable[None] | None]


class Context:
    """One call, seen from its handler.

    Attributes:
        method: the full name that was called.
        more: whether the caller takes several replies.
        oneway: whether the caller takes none.
        peer: the caller.
    """

    __slots__ = ("_events", "_has_left", "method", "more", "oneway", "peer")

    def __init__(self, method: str, peer: Peer, *, more: bool = False, oneway: bool = False) -> None:
        self.method: str = method
        self.peer: Peer = peer
        self.more: bool = more
        self.oneway: bool = oneway
        self._events: list[threading.Event] = []  # made on demand: to make one takes longer than a call
        self._has_left = False

    @property
    def gone(self) -> threading.Event:
        """Set when the caller is gone; for handlers in threads.  An async one is cancelled."""
        if not self._events:
            self._events.append(threading.Event())  # of two threads that ask at once, both get the first
            if self._has_left:  # looked at behind the append; `leave` looks at the events last
                self._events[0].set()
        return self._events[0]

    def leave(self) -> None:
        """Note that the caller is gone; for who serves the call."""
        self._has_left = True
        for event in self._events:
            event.set()


class Upgrade(Generic[Value]):
    """A reply, and a function that takes the connection after it: `-> Upgrade[Reply]` marks such methods.

    Args:
        reply: the method's reply; None for `Upgrade[None]`.
        speak: called with the socket and the bytes that were read behind the call already.  An
            `async` function gets a socket that does not block; a plain one a thread, and a socket that does.
            When it returns, the socket is closed, unless it was detached.  It is cancelled, or its
            socket shut down, when the server ends.
    """

    __slots__ = ("reply", "speak")

    def __init__(self, reply: Value, speak: Speak) -> None:
        self.reply: Value = reply
        self.speak: Speak = speak
