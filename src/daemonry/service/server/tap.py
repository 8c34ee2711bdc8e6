"""The tap: the calls that run now, by whom, and for how long; like strace for a daemon.

Owns the list of calls that last, and telling those who watch.  A call that answers at once is
noticed only while somebody watches, so that it costs one look at an empty set.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final, Protocol, Self

import msgspec

from daemonry import clock
from daemonry.transport.credentials import Peer

# What waits for a watcher that does not keep up; then the oldest are dropped, and their number told.
MAX_WAITING: Final = 1024


class TapEvent(msgspec.Struct, omit_defaults=False):
    """Something that happened to a call.

    `at` is the time of day in seconds since 1970; `event` is "running" for a call that was begun
    before the tap, "begin", "end", "cancelled" for one that was not let come to its end, or "dropped",
    where `call` is how many events were lost.  `error` is the name of the error that it ended with, and
    `reason` says why it failed or was cancelled, in the words that its caller gets.  `parameters` and `reply`
    are there for watchers that ask for payloads.
    """

    at: float
    event: str
    call: int
    method: str
    peer: str
    seconds: float | None = None
    error: str | None = None
    parameters: dict[str, Any] | None = None
    reason: str | None = None
    reply: dict[str, Any] | None = None


class Begun:
    """A call that has begun.

    Attributes:
        began_s: when, on the monotonic clock.
        method: its full name.
        number: its number.
        peer: who called.
    """

    __slots__ = ("began_s", "method", "number", "peer")

    def __init__(self, number: int, method: str, peer: Peer) -> None:
        self.number: int = number
        self.method: str = method
        self.peer: Peer = peer
        self.began_s: float = clock.monotonic()

    def event(self, what: str, **more: Any) -> TapEvent:
        """Return an event about it."""
        return TapEvent(time.time(), what, self.number, self.method, str(self.peer), **more)

    @property
    def seconds(self) -> float:
        """How long ago it began."""
        return round(clock.monotonic() - self.began_s, 6)


class CallListener(Protocol):
    """A watcher of calls.

    Attributes:
        payloads: whether it gets parameters and replies too.
    """

    payloads: bool

    def tell(self, event: TapEvent) -> None:
        """Take an event; never waits."""


class Tap:
    """The calls of one server.

    Attributes:
        watchers: those that get the events.
    """

    def __init__(self) -> None:
        self.watchers: set[CallListener] = set()
        self._lasting: dict[int, Begun] = {}
        self._numbers = itertools.count(1)

    def begin(self, method: str, peer: Peer, parameters: Any, *, lasts: bool) -> Begun:
        """Note that a call begins; `lasts` if it does not answer at once."""
        begun = Begun(next(self._numbers), method, peer)
        if lasts:
            self._lasting[begun.number] = begun
        for watcher in self.watchers:
            shown = parameters if watcher.payloads and isinstance(parameters, dict) else None
            watcher.tell(begun.event("begin", parameters=shown))
        return begun

    def lasts(self, begun: Begun) -> None:
        """Note that a call that was begun does not answer at once."""
        self._lasting[begun.number] = begun

    def end(self, begun: Begun, error: str | None, reason: str | None = None, reply: Any = None) -> None:
        """Note that a call ended, with which error and why, or with which reply."""
        self._tell_end(begun, "end", reply, error=error, reason=reason)

    def cancelled(self, begun: Begun, reason: str) -> None:
        """Note that a call was not let come to its end, and why."""
        self._tell_end(begun, "cancelled", reason=reason)

    def _tell_end(self, begun: Begun, what: str, reply: Any = None, **more: Any) -> None:
        self._lasting.pop(begun.number, None)
        for watcher in self.watchers:
            shown = _fields_of(reply) if watcher.payloads else None
            watcher.tell(begun.event(what, seconds=begun.seconds, reply=shown, **more))

    def running(self) -> list[TapEvent]:
        """Return the calls that last, the oldest first."""
        return [one.event("running", seconds=one.seconds) for one in self._lasting.values()]


def _fields_of(reply: Any) -> dict[str, Any] | None:
    """Return the fields of a reply, which may be encoded already."""
    if isinstance(reply, bytes):
        reply = msgspec.json.decode(reply)
    return reply if isinstance(reply, dict) else None


class Watcher:
    """One who watches; used as an async iterator, and closed by leaving the `with` block.

    Args:
        tap: the tap that is watched.
        payloads: whether parameters are shown too.
    """

    def __init__(self, tap: Tap, *, payloads: bool) -> None:
        self.payloads = payloads
        self._tap = tap
        self._waiting: deque[TapEvent] = deque(tap.running())
        self._dropped = 0
        self._wake = asyncio.Event()
        self._wake.set()

    def tell(self, event: TapEvent) -> None:
        """Take an event; never waits."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(event)
        self._wake.set()

    async def events(self) -> AsyncIterator[TapEvent]:
        """Yield events as they come, without end."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                yield TapEvent(time.time(), "dropped", dropped, "", "")
            while self._waiting:
                yield self._waiting.popleft()

    def __enter__(self) -> Self:
        self._tap.watchers.add(self)
        return self

    def __exit__(self, *exc: object) -> None:
        self._tap.watchers.discard(self)
