"""Sending a stream: results at hand leave together, and a client that does not read is waited for.

Owns the pace.  How a result is sent is `item_frames`'s and the method's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from daemonry.transport.ancillary import Fd, close_all
from daemonry.wire.varlink import AnyReply, Reply

if TYPE_CHECKING:
    from daemonry.service.server.streams.item_frames import ItemFrames
    from daemonry.service.server.streams.results import Results

# Replies of a stream in one turn of the loop, and for how long those that are there at once are collected, to
# leave together: so a stream that never waits leaves time for the others.
REPLIES_PER_TURN: Final = 256
TOGETHER_S: Final = 0.0005
# How many of them, and how many bytes, are collected before a client that does not read is looked for.
TOGETHER_BYTES: Final = 32 << 10
RESULTS_AT_ONCE: Final = 32


class StreamConnection(Protocol):
    """The connection that a stream is sent by."""

    def send_more(self, data: bytes) -> None:
        """Put replies of a stream, as they are sent, where they will be; drop those of nobody."""

    def write(self) -> None:
        """Send what waits."""

    @property
    def is_full(self) -> bool:
        """Whether much waits to be sent."""

    async def until_drained(self) -> None:
        """Try to send, and wait until nothing waits any more."""


class StreamMethod(Protocol):
    """The method whose results are sent: `dispatch.Bound`."""

    items: ItemFrames

    def reply(self, result: Any, *, continues: bool = False, fds: list[Fd] | None = None) -> Reply:
        """Return a result as a reply; descriptors in it are added to `fds`."""


class AnsweredAlready(Exception):
    """An error went out in place of a reply of a stream, which is over with it."""


class Sending:
    """Sends the results of one stream.

    Args:
        connection: by which they go.
        send: puts one reply where it will be sent; False if an error had to take its place.
        most_bytes: how long a reply may be.
    """

    __slots__ = ("_connection", "_most_bytes", "_send")

    def __init__(
        self, connection: StreamConnection, send: Callable[[AnyReply, list[Fd]], bool], most_bytes: int
    ) -> None:
        self._connection = connection
        self._send = send
        self._most_bytes = most_bytes

    async def all(self, bound: StreamMethod, results: Results) -> None:
        """Send them.

        Raises:
            AnsweredAlready: one of them does not fit the method, and the client has the error.
            Exception: what the generator raises, behind the results before it.
        """
        connection = self._connection
        held: list[Any] = []
        most, count, until_s = 1, 0, 0.0
        while True:
            if not held:
                try:
                    held.append(await results.next())
                except StopAsyncIteration:
                    self._send(Reply(), [])
                    return
                until_s = monotonic() + TOGETHER_S
            if connection.is_full:
                await connection.until_drained()
            held += results.at_once(most, until_s)
            if results.error is not None:
                self._send_more(bound, held)
                results.fail()
            if results.ended:
                self._send_more(bound, held[:-1])
                self._send_one(bound, held[-1], last=True)
                connection.write()
                return
            # The last is kept until it is known for one behind which another comes, unless that takes time.
            ready, held = (held, []) if results.waits else (held[:-1], held[-1:])
            most = min(4 * most, RESULTS_AT_ONCE, self._send_more(bound, ready))
            count += len(ready)
            # Results that are there at once leave together.
            is_turn_over = count >= REPLIES_PER_TURN or monotonic() >= until_s
            if results.waits or is_turn_over:
                connection.write()
                if is_turn_over:
                    await asyncio.sleep(0)
                    count = 0
                until_s = monotonic() + TOGETHER_S

    def _send_more(self, bound: StreamMethod, results: list[Any]) -> int:
        """Put replies behind which others come where they will be sent; return how many fill a step."""
        data = bound.items.frames(results)
        if data is not None and len(data) <= self._most_bytes:
            self._connection.send_more(data)
            return max(1, TOGETHER_BYTES * len(results) // (len(data) or 1))
        for result in results:
            frame = bound.items.frame(result)
            if frame is None or len(frame) > self._most_bytes:
                self._send_one(bound, result, last=False)
            else:
                self._connection.send_more(frame)
        return 1

    def _send_one(self, bound: StreamMethod, result: Any, *, last: bool) -> None:
        fds: list[Fd] = []
        try:
            reply = bound.reply(result, continues=not last, fds=fds)
        except Exception:
            close_all(fds)
            raise
        if last and reply.parameters in ({}, b"{}"):
            # Clients take an empty last reply for the end alone.
            self._send(Reply(None, continues=True), [])
        if not self._send(reply, fds):
            self._connection.write()
            raise AnsweredAlready
