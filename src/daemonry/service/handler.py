"""What a handler may know of the call that it answers.

Owns the `Context`: who calls, until when, and whether they still listen.  A method that wants it
has a parameter annotated `Context`; nobody sends it.
"""

from __future__ import annotations

import threading

from daemonry.clock import Deadline
from daemonry.transport.credentials import Peer


class Context:
    """One call, seen from its handler.

    Attributes:
        deadline: when the caller stops waiting, as far as it told.
        gone: set when the caller is gone; for handlers in threads.  An async one is cancelled.
        method: the full name that was called.
        more: whether the caller takes several replies.
        oneway: whether the caller takes none.
        peer: who calls.
    """

    __slots__ = ("deadline", "gone", "method", "more", "oneway", "peer")

    def __init__(self, method: str, peer: Peer, *, more: bool = False, oneway: bool = False) -> None:
        self.method = method
        self.peer = peer
        self.more = more
        self.oneway = oneway
        self.deadline = Deadline(None)
        self.gone = threading.Event()
