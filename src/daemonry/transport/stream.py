"""Streams and listeners: the same for each kind of socket.

Owns the contract.

A `Stream` is one ordered connection.  `read` returns at least one byte, or `b""` once the peer
has sent all that it will; `write` returns when all was taken; both end at their timeout with
`DeadlineExceeded`, and with `ConnectionLost` when the peer is gone.  After either error the
stream is good for nothing but `close`.

The kernel counts the time of a read (SO_RCVTIMEO), which takes a third of what a poll before each
would.  It does so in its own ticks, so that a read may end some hundredths of a second late; and it
begins again after a signal that a Python handler was called for.

A `Listener` accepts streams, each with a text that tells people who came.  Closing removes what
binding made, and only that.

Both are closed by `close`, which may be called twice, or by leaving their `with` block.
"""

from __future__ import annotations

import errno
from _socket import MSG_DONTWAIT, SO_RCVTIMEO, SOL_SOCKET
from _thread import get_ident
from _weakref import ref
from os import getpid
from sys import byteorder, maxsize

from daemonry import faults
from daemonry.clock import Deadline
from daemonry.limits import READ_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from typing import Any, ClassVar, Protocol, Self

    from daemonry.transport.endpoint import Endpoint

    class Listener(Protocol):
        """What accepts streams."""

        @property
        def endpoint(self) -> Endpoint:
            """Where it really listens: a port 0 has become a number."""

        @property
        def closed(self) -> bool:
            """Whether `close` was called."""

        @property
        def address(self) -> Any:
            """Its name for the system, as the other end of a connection has it; None once closed."""

        def fileno(self) -> int:
            """Return the descriptor to wait on; -1 once closed."""

        def accept(self, timeout_s: float | None = None) -> tuple[Stream, str]:
            """Return the next stream and a text that says who it is.

            Raises:
                DeadlineExceeded: nobody came in time.
                OSError: the system could not accept, such as EMFILE.
            """

        def accept_socket(self) -> Socket | None:
            """Return the next connection as a socket, or None for none."""

        def close(self) -> None:
            """Stop listening, and remove what binding made."""

        def abandon(self) -> None:
            """Stop listening here, and leave what binding made: it is another's."""

        def refuse_more(self) -> None:
            """Have further connections refused; those that wait can still be accepted."""

else:

    class Listener:
        """What accepts streams; see the module.  Importing `typing` for a Protocol would cost too much."""

        __slots__ = ()


# The listeners that loops of this process accept from, each with the loop's process and thread.
ACCEPTING: list[tuple[ref[Listener], int, int]] = []


def is_accepted_here(sock: Socket) -> bool:
    """Return whether the other end of a connection is served by the loop of this thread.

    To wait for a reply on it would be to wait for oneself.
    """
    here = (getpid(), get_ident())
    there = [known() for known, *where in list(ACCEPTING) if tuple(where) == here]
    own = [listener.address for listener in there if listener is not None]
    try:
        return bool(own) and sock.getpeername() in own
    except OSError:
        return False  # it is not connected any more


_LONG_BYTES = 8 if maxsize > 1 << 32 else 4
# The kernel ends a wait up to a tick early, of at most a hundredth of a second.  It is given two more,
# and a timeout that is up to one less than the last needs no system call.
_TICK_S = 0.01
# What a timeval can hold everywhere; three years are as good as for ever.
_LONGEST_S = 1e8


def _timeval(timeout_s: float) -> bytes:
    seconds, microseconds = divmod(int(timeout_s * 1e6), 1_000_000)
    return seconds.to_bytes(_LONG_BYTES, byteorder) + microseconds.to_bytes(_LONG_BYTES, byteorder)


class Stream:
    """One connection.  See the module for its contract.

    Attributes:
        counted_s: the timeout that `wait_on_sock` was given last, while the kernel still has it; None
            for none.
        route: how it came about: "direct"; over ssh "kept" or "dialled".
        sock: the connection, which stays the stream's.
        whom: the peer; to write out an endpoint takes as long as to connect to it.
    """

    __slots__ = ("_blocks", "_fresh", "_kernel_s", "counted_s", "sock", "whom")
    route: ClassVar[str] = "direct"

    def __init__(self, sock: Socket, whom: str | Endpoint) -> None:
        self.sock: Socket = sock
        self._blocks = False  # whether the socket is known to, so that the kernel's timeout counts
        self._kernel_s = 0.0  # that timeout; 0 for none
        self._fresh = True  # nothing was waited for yet
        self.counted_s: float | None = None
        self.whom: str | Endpoint = whom

    @property
    def peer(self) -> str:
        """The other end, for people and errors."""
        return str(self.whom)

    def fileno(self) -> int:
        """Return the descriptor; -1 once closed."""
        return self.sock.fileno()

    def read(self, max_bytes: int = READ_BYTES, timeout_s: float | None = None) -> bytes:
        """Return up to `max_bytes` bytes, at least one; `b""` at the end of what the peer sends."""
        try:
            return self.sock.recv(max_bytes, self._reading_for(timeout_s))
        except BlockingIOError:
            raise faults.DeadlineExceeded("read", timeout_s or 0.0, "maybe", self.peer) from None
        except OSError as error:
            raise self._lost(error) from error

    def _reading_for(self, timeout_s: float | None) -> int:
        """Have the next read end in time; return its flags."""
        if not self._blocks:
            self._block()
        if timeout_s is None:
            if self._kernel_s:
                self._set_kernel_s(0.0)
        elif timeout_s <= 0.0:
            return MSG_DONTWAIT
        elif not timeout_s + _TICK_S <= self._kernel_s <= timeout_s + 3 * _TICK_S:
            self._set_kernel_s(min(timeout_s, _LONGEST_S) + 2 * _TICK_S)
        return 0

    def wait_on_sock(self, timeout_s: float) -> None:
        """Have the next read of `sock` itself end after `timeout_s`, by BlockingIOError or TimeoutError.

        For who makes one exchange after the other, and counts calls of functions.  All further reads do
        so too as long as `counted_s` is that timeout.

        To tell the kernel takes three times as long as a poll, so that it pays from the second read on.

        Args:
            timeout_s: more than nothing, in seconds.
        """
        if self._fresh:
            self._fresh = False
            self._writing_for(min(timeout_s, _LONGEST_S))
        else:
            self._reading_for(timeout_s)
            self.counted_s = timeout_s

    def block(self) -> None:
        """Have no timeout: for who polls first, and reads and sends on `sock` itself with MSG_DONTWAIT."""
        self._block()
        self.counted_s = None

    def _block(self) -> None:
        self.sock.settimeout(None)
        self._blocks = True

    def _set_kernel_s(self, timeout_s: float) -> None:
        self.sock.setsockopt(SOL_SOCKET, SO_RCVTIMEO, _timeval(timeout_s))
        self._kernel_s = timeout_s
        self.counted_s = None

    def _writing_for(self, timeout_s: float | None) -> None:
        """Have the next write, or read, end in time: Python's way, which waits before it tries."""
        self.sock.settimeout(timeout_s)
        self._blocks = timeout_s is None
        self.counted_s = None

    def write(self, data: bytes, timeout_s: float | None = None) -> None:
        """Send all of `data`."""
        try:
            if self.sock.gettimeout():  # where Python counts the time, it would wait for room now
                self._block()
            sent = self.sock.send(data, MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._lost(error) from error
        if sent < len(data):
            self._write_rest(memoryview(data)[sent:], timeout_s)

    def _write_rest(self, view: memoryview, timeout_s: float | None) -> None:
        deadline = Deadline(timeout_s)
        try:
            while view:
                self._writing_for(deadline.remaining_s())
                view = view[self.sock.send(view) :]
        except (TimeoutError, BlockingIOError):
            raise faults.DeadlineExceeded("write", timeout_s or 0.0, "maybe", self.peer) from None
        except OSError as error:
            raise self._lost(error) from error

    def finish_writing(self) -> None:
        """Tell the peer that no more will be sent; reading goes on."""
        try:
            self.sock.shutdown(1)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise self._lost(error) from error

    def take_socket(self) -> Socket:
        """Return a socket of the same connection, and close the stream."""
        from _socket import socket

        if self._kernel_s:
            self._set_kernel_s(0.0)
        return socket(fileno=self.sock.detach())

    def close(self) -> None:
        """End the connection.  Twice is not an error."""
        self.sock.close()

    def _lost(self, error: OSError) -> faults.ConnectionLost:
        # EPIPE and ECONNRESET: the peer died or closed.  Whether it used our bytes is unknown.
        lost = faults.ConnectionLost(self.peer, "maybe")
        lost.__cause__ = error
        return lost

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
