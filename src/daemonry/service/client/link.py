"""One connection of a blocking client: its stream, and how each step of a call is performed on it.

Owns reading and writing, and nothing of what a failure means for the call: that is `engine`'s.  Which
call has the connection is `turns`'.

A connection is good for the next call only where the machine of its conversation says so
(`talk.at_rest`).  Whatever else ended a call, Ctrl-C between any two steps included, leaves that unset,
and such a connection is closed and not used again: the reply to come would be taken for the next
call's.
"""

from __future__ import annotations

import sys
from _socket import SHUT_RDWR
from _thread import RLock
from posix import strerror

from daemonry import faults
from daemonry.limits import READ_BYTES
from daemonry.service.client.conversation import Conversation
from daemonry.service.client.engine import Line, StartedCall, time_left_s
from daemonry.transport.stream import ACCEPTING, Stream, is_accepted_here
from daemonry.wire import varlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemonry.clock import Deadline
    from daemonry.transport.ancillary import Fd, FdStream
    from daemonry.transport.endpoint import Endpoint
    from daemonry.wire.connection import Codec


class _Unconnected(Stream):
    """The stream of a link that was not connected yet: a closed one."""

    __slots__ = ()

    def __init__(self, whom: str | Endpoint) -> None:
        self.whom = whom
        self.counted_s = None

    def fileno(self) -> int:
        """Return -1."""
        return -1

    def close(self) -> None:
        """Do nothing."""


class Link(Line):
    """One connection.

    Args:
        whom: the peer, connected already or later.
        stream: a connected stream; None to connect with the first call.

    Attributes:
        fd_stream: the stream, where it takes descriptors.
        stream: the connection, or a closed one.
        streaming_in: the thread whose stream goes on here; 0 for none.
    """

    __slots__ = (
        "__weakref__",
        "_guard",
        "fd_stream",
        "stream",
        "streaming_in",
    )

    def __init__(self, whom: str | Endpoint, stream: Stream | None = None) -> None:
        self.received: list[Fd] = []
        self.inherited: bool = False
        self.passes_fds: bool = False
        self.streaming_in: int = 0
        # Held while the descriptor is closed, or used by another thread: its number could be another
        # file's by then.
        self._guard = RLock()
        self.fd_stream: FdStream | None = None
        self.stream: Stream = _Unconnected(whom) if stream is None else stream
        self.talk: Conversation = Conversation(codec, whom)
        if stream is None:
            self.talk.at_rest = False

    def connect(self, stream: Stream) -> None:
        """Go on over a new connection."""
        self.stream = stream
        self.talk = Conversation(codec, stream.whom)
        self.fd_stream = None
        self.inherited = False

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self.stream.fileno() >= 0

    @property
    def peer(self) -> str:
        """The other end, for people."""
        return self.stream.peer

    def disconnect(self) -> None:
        """End the connection.  Twice is not an error."""
        self.talk.at_rest = False
        with self._guard:
            self.stream.close()
        if self.received:
            self.drop_received()

    def interrupt(self) -> None:
        """Have a call that another thread makes on it fail now."""
        with self._guard:
            if self.stream.fileno() >= 0:
                try:
                    self.stream.sock.shutdown(SHUT_RDWR)
                except OSError:
                    pass  # it ended by itself

    def drop_in_child(self) -> None:
        """Close this process's copy; the connection itself is the parent's, and goes on."""
        self.inherited = True
        self.talk.at_rest = False
        self._guard = RLock()  # a thread that is not here may hold the other one
        if self.stream.fileno() >= 0:
            self.stream.sock.close()  # and not the stream, which may wait for the other end
        if self.fd_stream is not None:
            self.fd_stream.arrivals.close()
        self.drop_received()

    # --- descriptors --------------------------------------------------------------------------

    def accept_fds(self) -> None:
        """Take descriptors from now on; what comes to a connection that does not, the kernel closes."""
        if self.fd_stream is None and self.stream.fileno() >= 0:
            from daemonry.transport.ancillary import FdStream, check_passable

            self.passes_fds = False  # where the check raises, the next call passes none
            check_passable(self.stream.whom)
            self.passes_fds = True
            self.stream = self.fd_stream = FdStream(self.stream)

    def mark(self) -> int:
        """Return where in all that was read the next reply begins."""
        return 0 if self.fd_stream is None else self.fd_stream.read_bytes - self.talk.buffered_bytes

    def collect(self, start: int) -> None:
        """Keep the descriptors of the reply that began at `start` as `received`."""
        fd_stream = self.fd_stream
        if fd_stream is not None:
            self.received = fd_stream.arrivals.take(start)
            fd_stream.arrivals.drop(fd_stream.read_bytes - self.talk.buffered_bytes)

    # --- the short way ------------------------------------------------------------------------

    def is_for_short(self, timeout_s: float) -> bool:
        """Whether a typed call may be sent and read without the state machine.

        Raises:
            WaitsForItself: as `check_answerer`.
        """
        if ACCEPTING:
            self.check_answerer()
        return self.fd_stream is None and timeout_s > 0.0

    def begun(
        self, frame: bytes, sent: int, received: bytes | None, error: OSError | None, timeout_s: float
    ) -> StartedCall:
        """Return how far a call came that was begun in the short way.

        Args:
            frame: the call.
            sent: how much of it was sent; -1 where that failed.
            received: what came; None for nothing.
            error: the system's, of the sending if nothing was sent, else of the waiting.
            timeout_s: how long the call may take.
        """
        rest = frame if sent < 0 else frame[sent:]
        if error is None or (rest and isinstance(error, (BlockingIOError, TimeoutError))):
            return StartedCall(rest, received)
        if isinstance(error, (BlockingIOError, TimeoutError)):
            return StartedCall(rest, None, faults.DeadlineExceeded("reply", timeout_s, "maybe", self.peer))
        lost = faults.ConnectionLost(self.peer, "maybe")
        lost.__cause__ = error
        return StartedCall(rest, None, lost)

    def check_answerer(self) -> None:
        """Refuse to wait for the thread that calls.

        Raises:
            WaitsForItself: it is the one whose loop serves the other end.
        """
        if ACCEPTING and self.is_open and is_accepted_here(self.stream.sock):
            raise faults.WaitsForItself(self.peer)

    # --- steps --------------------------------------------------------------------------------

    def write(self, data: bytes, fds: Sequence[Fd], deadline: Deadline) -> None:
        """Send all of `data`, and descriptors with it."""
        if fds and self.fd_stream is not None:
            self.fd_stream.write_with_fds(data, fds, time_left_s(deadline))
        else:
            self.stream.write(data, time_left_s(deadline))

    def peek(self) -> bytes | None:
        """Return the bytes that had come already; None for nothing."""
        try:
            return self.stream.read(READ_BYTES, 0.0)
        except faults.IpcError:
            return None

    def hand_over(self, early: bytes) -> UpgradedStream:
        """Give the connection away, with what came early for the protocol that it speaks now."""
        return UpgradedStream(self.stream, early)


class UpgradedStream(Stream):
    """A connection that speaks another protocol now; what came early is read first."""

    __slots__ = ("_early",)

    def __init__(self, stream: Stream, early: bytes) -> None:
        super().__init__(stream.take_socket(), stream.peer)
        self._early = early

    def read(self, max_bytes: int = READ_BYTES, timeout_s: float | None = None) -> bytes:
        """As `Stream.read`."""
        if self._early:
            data, self._early = self._early[:max_bytes], self._early[max_bytes:]
            return data
        return super().read(max_bytes, timeout_s)

    def take_early(self) -> bytes:
        """Return the bytes that came early and were not read, for the socket's next owner."""
        early, self._early = self._early, b""
        return early


def how_far(came: tuple[int, int]) -> tuple[int, OSError | None]:
    """Return how much of a call was sent, and the error, of what an `Exchange` returned in place of bytes."""
    sent, number = came
    return sent, OSError(number, strerror(number)) if number else None


def codec() -> Codec:
    """Return what makes frames of messages: the fast one where msgspec is loaded already."""
    return _fast_codec() if "msgspec" in sys.modules else varlink


def _fast_codec() -> Codec:
    from daemonry.wire import fast_varlink

    return fast_varlink
