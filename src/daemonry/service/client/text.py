"""The blocking client of the text dialect: one command, one connection, one reply.

Owns the order of connect, write and read under one deadline, and what each failure means for
the question that matters: did it run?  Needs the standard library's C modules only.
"""

from __future__ import annotations

from daemonry import faults
from daemonry.clock import Deadline
from daemonry.limits import MAX_REPLY_BYTES, REQUEST_TIMEOUT_S
from daemonry.transport.connect import connect
from daemonry.wire import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry.errors import Ran
    from daemonry.transport.endpoint import Endpoint
    from daemonry.transport.stream import Stream
    from daemonry.wire.text import TextReply


def request(endpoint: Endpoint | str, word: str, timeout_s: float = REQUEST_TIMEOUT_S) -> TextReply:
    """Send one command and return the reply; an `ERR` is a reply, not an exception.

    Args:
        endpoint: where the daemon listens.
        word: one of `daemonry.wire.text.COMMANDS`, or a word of the daemon's own.
        timeout_s: for everything together, in seconds.

    Raises:
        ConnectError and its kinds: nothing was sent.
        DeadlineExceeded: no answer in time; `ran` tells whether the command may have run.
        ConnectionLost: the daemon went away; `ran` is "maybe".  A command that changes nothing is
            tried once more on a new connection before this is raised.
        RemoteProtocolError: the answer is not a reply of this dialect.
    """
    deadline = Deadline(timeout_s)
    try:
        return _exchange(endpoint, word, deadline)
    except faults.ConnectionLost:
        if not _is_idempotent(word):
            raise
    return _exchange(endpoint, word, deadline)


def _is_idempotent(word: str) -> bool:
    spec = text.COMMANDS.get(word)
    return spec is not None and spec.idempotent


def _exchange(endpoint: Endpoint | str, word: str, deadline: Deadline) -> TextReply:
    with connect(endpoint, deadline.remaining_s()) as stream:
        return ask(stream, word, deadline, str(endpoint))


def ask(stream: Stream, word: str, deadline: Deadline, whom: str) -> TextReply:
    """Send one command on a connection that is made, and return the reply; an `ERR` is a reply.

    Raises:
        DeadlineExceeded, ConnectionLost, RemoteProtocolError: as `request`, and nothing is tried again.
    """
    try:
        _send(stream, word, deadline)
        return text.read_reply(_read_line(stream, deadline))
    except faults.DeadlineExceeded as error:
        ran: Ran = "no" if _is_idempotent(word) else "maybe"
        raise faults.DeadlineExceeded("reply", deadline.timeout_s or 0.0, ran, whom) from error


def _send(stream: Stream, word: str, deadline: Deadline) -> None:
    try:
        stream.write((word + "\n").encode("utf-8"), deadline.remaining_s())
    except faults.ConnectionLost:
        pass  # a daemon that refused us has said why before it closed: the read that follows tells


def _read_line(stream: Stream, deadline: Deadline) -> bytes:
    line = piece = b""
    while b"\n" not in piece:
        piece = stream.read(timeout_s=deadline.remaining_s())
        if not piece:
            raise faults.ConnectionLost(stream.peer, "maybe")
        line += piece
        if len(line) > MAX_REPLY_BYTES:
            raise faults.FrameTooLarge(MAX_REPLY_BYTES)
    return line
