"""One connection of a blocking client, and the calls and replies on it, one after the other.

Owns what is sent and read, and what a failure there says about the call: `ran` is "no" as long as its
last byte was not sent, for a frame without its end is never run, and "maybe" from then on.  Whether
it is made again is the client's, and which call has the connection is `turns`'.

A connection is good for the next call only where the machine of its conversation says so
(`talk.at_rest`).  Whatever else ended a call, Ctrl-C between any two steps included, leaves that unset,
and such a connection is closed and not used again: the reply to come would be taken for the next
call's.
"""

from __future__ import annotations

import sys
from _socket import SHUT_RDWR
from _thread import RLock

from daemonry import faults
from daemonry.clock import Deadline, monotonic
from daemonry.limits import READ_BYTES
from daemonry.service.client.conversation import Conversation
from daemonry.transport.stream import Stream
from daemonry.wire import varlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemonry.transport.ancillary import Fd, FdStream
    from daemonry.transport.endpoint import Endpoint
    from daemonry.wire.connection import Codec
    from daemonry.wire.varlink import AnyReply, Call

# Sending a call takes microseconds, but for one that is longer than the socket holds.  What it took
# is taken off the time for the reply from here on; below it, the socket may keep its timeout.
_AT_ONCE_S = 0.005


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


class Link:
    """One connection.

    Args:
        whom: who is at the other end, or will be.
        stream: a connected stream; None to connect with the first call.

    Attributes:
        fd_stream: the stream, where it takes descriptors.
        inherited: whether it is the parent process's, and closed here.
        passes_fds: whether descriptors are taken, on each connection from now on.
        received: the descriptors of the last reply.
        stream: the connection, or a closed one.
        streaming_in: the thread whose stream goes on here; 0 for none.
        talk: what was sent and came.
    """

    __slots__ = (
        "__weakref__",
        "_guard",
        "fd_stream",
        "inherited",
        "passes_fds",
        "received",
        "stream",
        "streaming_in",
        "talk",
    )

    def __init__(self, whom: str | Endpoint, stream: Stream | None = None) -> None:
        self.received: list[Fd] = []
        self.inherited = False
        self.passes_fds = False
        self.streaming_in = 0
        # Held while the descriptor is closed, or used by another thread: its number could be another
        # file's by then.
        self._guard = RLock()
        self.fd_stream: FdStream | None = None
        self.stream = _Unconnected(whom) if stream is None else stream
        self.talk = Conversation(_codec, whom)
        if stream is None:
            self.talk.at_rest = False

    def connect(self, stream: Stream) -> None:
        """Go on over a new connection."""
        self.stream = stream
        self.talk = Conversation(_codec, stream.whom)
        self.fd_stream = None
        self.inherited = False

    @property
    def peer(self) -> str:
        """Who is at the other end, for people."""
        return self.stream.peer

    def disconnect(self) -> None:
        """End the connection.  Twice is not an error."""
        self.talk.at_rest = False
        with self._guard:
            self.stream.close()
        if self.received:
            self.drop_received()

    def finish(self) -> None:
        """End the connection unless the next call can have it."""
        talk = self.talk
        if not talk.at_rest and not talk.has_strays and self.stream.fileno() >= 0:
            self.disconnect()

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
            self.stream.sock.close()  # and not the stream, which may wait for who is at the other end
        if self.fd_stream is not None:
            self.fd_stream.arrivals.close()
        self.drop_received()

    # --- descriptors --------------------------------------------------------------------------

    def accept_fds(self) -> None:
        """Take descriptors from now on; what comes to a connection that does not, the kernel closes."""
        if self.fd_stream is None and self.stream.fileno() >= 0:
            from daemonry.transport.ancillary import FdStream

            self.stream = self.fd_stream = FdStream(self.stream)

    def take_fds(self) -> list[Fd]:
        """Return the descriptors of the last reply; they are the caller's from now on."""
        received, self.received = self.received, []
        return received

    def drop_received(self) -> None:
        """Close the descriptors that nobody took."""
        while self.received:
            self.received.pop().close()

    # --- the short way ------------------------------------------------------------------------

    def is_for_short(self, timeout_s: float) -> bool:
        """Whether a typed call may be sent and read without the state machine."""
        return self.fd_stream is None and timeout_s > 0.0

    def failed_at_once(self, sent: int, error: OSError, timeout_s: float) -> faults.DaemonryError | None:
        """End the connection and return what an error on the short way means; None if there was no room.

        Args:
            sent: how much was sent; -1 where the error is the sending's.
            error: the system's.
            timeout_s: how long the call may take.
        """
        if isinstance(error, (BlockingIOError, TimeoutError)):
            if sent < 0:
                return None
            self.disconnect()
            return faults.DeadlineExceeded("reply", timeout_s, "maybe", self.peer)
        lost = faults.ConnectionLost(self.peer, "no" if sent < 0 else "maybe")
        lost.__cause__ = error
        if sent < 0:
            return self._not_written(lost, timeout_s)
        self.disconnect()
        return lost

    def send_rest(self, rest: bytes, deadline: Deadline) -> tuple[bytes | None, faults.DaemonryError | None]:
        """Send what is left of a call and wait; return what came first, or how it failed."""
        timeout_s = deadline.timeout_s
        try:
            self.stream.write(rest, deadline.remaining_s())
        except faults.IpcError as error:
            return None, self._not_written(error, timeout_s)
        try:
            return self.stream.read(READ_BYTES, deadline.remaining_s()), None
        except faults.IpcError as error:
            return None, self._not_read(error, timeout_s)

    # --- the whole way ------------------------------------------------------------------------

    def send(self, call: Call, deadline: Deadline, fds: Sequence[Fd]) -> None:
        """Send a call.

        Raises:
            As `Client.call`; the connection is closed then, unless nothing was sent.
        """
        try:
            data = self.talk.frame(call)
        except faults.RemoteProtocolError:
            self.disconnect()
            raise
        talk = self.talk
        rests = talk.at_rest  # which it does behind a call that is not answered
        talk.at_rest = False
        try:
            if fds and self.fd_stream is not None:
                self.fd_stream.write_with_fds(data, fds, time_left_s(deadline))
            else:
                self.stream.write(data, time_left_s(deadline))
            talk.at_rest = rests
        except faults.IpcError as error:
            raise self._not_written(error, deadline.timeout_s) from error
        except BaseException:
            self.disconnect()
            raise

    def reply(self, deadline: Deadline) -> AnyReply:
        """Return the next reply, with its descriptors in `received`.

        Raises:
            As `Client.call`; the connection is closed then.
        """
        talk = self.talk
        fd_stream = self.fd_stream
        if self.received:
            self.drop_received()
        try:
            while True:
                start = 0 if fd_stream is None else fd_stream.read_bytes - talk.buffered_bytes
                reply = talk.next_reply()
                if reply is not None:
                    break
                talk.receive(self.stream.read(READ_BYTES, time_left_s(deadline)))
        except faults.IpcError as error:
            raise self._not_read(error, deadline.timeout_s) from error
        except BaseException:
            self.disconnect()
            raise
        if fd_stream is not None:
            self.received = fd_stream.arrivals.take(start)
            fd_stream.arrivals.drop(fd_stream.read_bytes - talk.buffered_bytes)
        return reply

    def _not_written(self, error: faults.IpcError, timeout_s: float | None) -> faults.DaemonryError:
        """End the connection and return what an error while sending means."""
        refusal = None
        try:
            if isinstance(error, faults.ConnectionLost):
                refusal = self.talk.refusal_in(self.stream.read(READ_BYTES, 0.0))
        except faults.IpcError:
            pass  # nothing is there
        finally:
            self.disconnect()
        if refusal is not None:
            return refusal
        if isinstance(error, faults.DeadlineExceeded):
            return faults.DeadlineExceeded("write", timeout_s or 0.0, "no", self.peer)
        lost = isinstance(error, faults.ConnectionLost)
        return faults.ConnectionLost(self.peer, "no") if lost else error

    def _not_read(self, error: faults.IpcError, timeout_s: float | None) -> faults.IpcError:
        """End the connection and return what an error while waiting for the reply means."""
        self.disconnect()
        if isinstance(error, faults.DeadlineExceeded):
            return faults.DeadlineExceeded("reply", timeout_s or 0.0, "maybe", self.peer)
        return error


def time_left_s(deadline: Deadline) -> float | None:
    """Return what is left of the time; all of it, as long as next to nothing was used.

    A socket that is told the same timeout again has it already.
    """
    timeout_s, at_s = deadline.timeout_s, deadline.at_s
    if timeout_s is None or at_s is None:
        return None
    left_s = at_s - monotonic()
    return timeout_s if timeout_s - left_s < _AT_ONCE_S else max(0.0, left_s)


def _codec() -> Codec:
    return _fast_codec() if "msgspec" in sys.modules else varlink


def _fast_codec() -> Codec:
    from daemonry.wire import fast_varlink

    return fast_varlink
