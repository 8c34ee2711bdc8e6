"""What a handler may know of the call that it answers, and what it may answer with besides values.

Owns the `Context`: who calls, until when, and whether they still listen; a method that wants it
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
        gone: set when the caller is gone; for handlers in threads.  An async one is cancelled.
        method: the full name that was called.
        more: whether the caller takes several replies.
        oneway: whether the caller takes none.
        peer: who calls.
    """

    __slots__ = ("gone", "method", "more", "oneway", "peer")

    def __init__(self, method: str, peer: Peer, *, more: bool = False, oneway: bool = False) -> None:
        self.method = method
        self.peer = peer
        self.more = more
        self.oneway = oneway
        self.gone = threading.Event()


class Upgrade(Generic[Value]):
    """A reply, and what is done with the connection after it: `-> Upgrade[Reply]` marks such methods.

    Args:
        reply: the method's reply; None for `Upgrade[None]`.
        speak: is given the socket and what was read behind the call already.  An `async` function
            gets a socket that does not block; a plain one runs in a thread, with one that does.
            When it returns, the socket is closed, unless it was detached.  It is cancelled, or its
            socket shut down, when the server ends.
    """

    __slots__ = ("reply", "speak")

    def __init__(self, reply: Value, speak: Speak) -> None:
        self.reply = reply
        self.speak = speak
