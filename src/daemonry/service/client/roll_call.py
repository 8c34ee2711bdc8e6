"""The blocking client of the text dialect for many daemons: one command to each, by one thread.

Owns that all are asked before any answer is waited for, and how many connections are open at once.  What
takes more than that is left to the caller: a daemon that gives no answer at the first attempt is asked by
`text`, which has patience and says why.
"""

from __future__ import annotations

import select

from daemonry import faults
from daemonry.clock import Deadline
from daemonry.limits import MAX_REPLY_BYTES, ROLL_CALL_CONNECTIONS
from daemonry.transport.endpoint import UNIX
from daemonry.transport.unix_connect import connect
from daemonry.wire import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from daemonry.transport.endpoint import Endpoint
    from daemonry.transport.stream import Stream
    from daemonry.wire.text import TextReply


def ask_each(
    endpoints: Sequence[Endpoint], word: str, timeout_s: float
) -> list[TextReply | faults.DeadlineExceeded | None]:
    """Send a command that changes nothing to each, and return what came of it, in their order.

    Args:
        endpoints: where the daemons listen.
        word: one of `daemonry.wire.text.COMMANDS`.
        timeout_s: for each of them, from its connection on, in seconds.

    Returns:
        The reply; a DeadlineExceeded where somebody takes connections and does not answer; None where it is
        not known: no Unix socket, nobody there, a full backlog, or no answer of this dialect.
    """
    found: list[TextReply | faults.DeadlineExceeded | None] = [None] * len(endpoints)
    poll = select.poll()
    waiting: dict[int, _Asked] = {}
    left = iter(range(len(endpoints)))
    try:
        while True:
            while len(waiting) < ROLL_CALL_CONNECTIONS and (number := next(left, None)) is not None:
                one = _begun(endpoints[number], number, word, timeout_s)
                if one is not None:
                    waiting[one.stream.fileno()] = one
                    poll.register(one.stream.fileno(), select.POLLIN)
            if not waiting:
                return found
            for fd in _over(poll, waiting):
                one = waiting[fd]
                if one.read():
                    found[one.number] = one.reply()
                    del waiting[fd]
                    poll.unregister(fd)
                    one.stream.close()
    finally:
        for one in waiting.values():
            one.stream.close()


class _Asked:
    """One that was sent the command."""

    __slots__ = ("_deadline", "_line", "_silent", "number", "stream")

    def __init__(self, stream: Stream, number: int, timeout_s: float) -> None:
        self.stream: Stream = stream
        self.number: int = number
        self._deadline = Deadline(timeout_s)
        self._line = b""
        self._silent = False

    def left_s(self) -> float:
        return self._deadline.remaining_s() or 0.0

    def read(self) -> bool:
        """Take what has come; return whether that is all."""
        try:
            piece = self.stream.read(timeout_s=0.0)
        except faults.DeadlineExceeded:
            self._silent = self.left_s() <= 0.0
            return self._silent
        except faults.ConnectionLost:
            return True
        self._line += piece
        return not piece or b"\n" in piece or len(self._line) > MAX_REPLY_BYTES

    def reply(self) -> TextReply | faults.DeadlineExceeded | None:
        if self._silent:
            return faults.DeadlineExceeded("reply", self._deadline.timeout_s or 0.0, "no", self.stream.peer)
        try:
            return text.read_reply(self._line)
        except faults.RemoteProtocolError:
            return None


def _begun(endpoint: Endpoint, number: int, word: str, timeout_s: float) -> _Asked | None:
    if endpoint.kind != UNIX:
        return None
    try:
        stream = connect(endpoint, 0.0)
    except (faults.DaemonryError, OSError):
        return None
    try:
        stream.write(f"{word}\n".encode(), 0.0)
    except faults.DaemonryError:
        stream.close()
        return None
    return _Asked(stream, number, timeout_s)


def _over(poll: select.poll, waiting: dict[int, _Asked]) -> Iterator[int]:
    """Wait until one answers or its time is over; yield those that have something, or had their time."""
    wait_s = min(one.left_s() for one in waiting.values())
    ready = {fd for fd, _ in poll.poll(wait_s * 1000 + 1)}
    yield from [fd for fd, one in waiting.items() if fd in ready or one.left_s() <= 0.0]
