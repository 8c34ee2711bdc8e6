"""Descriptors in flight, and who owns them.

Owns `Fd`, the two system calls that carry descriptors over a Unix socket beside its bytes (unix(7),
SCM_RIGHTS), and keeping those that came until their message is known.  Which message that is, is
known where messages are: whoever sends puts them beside the first byte of theirs, as systemd does.

A descriptor that was received is ours from then on: it has an `Fd` at once, which closes it
whatever happens.  What comes beyond `MAX_FDS` is closed, and what comes to a plain `recv` the
kernel closes itself.
"""

from __future__ import annotations

import _socket
import os
import sys
from _socket import CMSG_SPACE, SCM_RIGHTS, SOL_SOCKET
from _socket import socket as Socket

from daemonry import faults
from daemonry.clock import Deadline
from daemonry.limits import READ_BYTES
from daemonry.transport.endpoint import SSH
from daemonry.transport.stream import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final, Protocol, Self

    from daemonry.transport.endpoint import Endpoint

    class HasFileno(Protocol):
        """An object with a descriptor."""

        def fileno(self) -> int:
            """Return the descriptor."""


# Descriptors beside one message.  The kernel's own bound is 253 (SCM_MAX_FD); systemd's varlink
# takes that many.  A method takes a few.
MAX_FDS: Final = 16

_INT_BYTES: Final = 4
# Where the system has no such flag, they are marked after the fact.
_CLOEXEC: Final = getattr(_socket, "MSG_CMSG_CLOEXEC", 0)
_ANCILLARY_BYTES: Final = CMSG_SPACE(MAX_FDS * _INT_BYTES)


def check_passable(whom: str | Endpoint) -> None:
    """Refuse to pass descriptors to another machine: ssh would take the bytes and leave them.

    Raises:
        NotSendable: `whom`, the other end, is behind ssh.
    """
    if str(whom).startswith(f"{SSH}:"):
        raise faults.NotSendable(f"descriptors do not pass to {whom}")


class Fd:
    """A descriptor with one owner, who closes it: at the latest when the object goes away.

    As a parameter or a field of a reply it is passed to the other process.  Sending gives it
    away: it is closed here once it is on its way.  To keep one, send a copy: `Fd.copy(file)`.

    Args:
        fd: the descriptor; it belongs to this object from now on.
    """

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def copy(cls, of: int | HasFileno) -> Self:
        """Return a new descriptor of the same file, which is left as it is."""
        return cls(os.dup(of if isinstance(of, int) else of.fileno()))

    @property
    def closed(self) -> bool:
        """Whether it was closed, or taken."""
        return self._fd < 0

    def fileno(self) -> int:
        """Return the descriptor, which stays this object's.

        Raises:
            ValueError: it was closed, or taken.
        """
        if self._fd < 0:
            raise ValueError("the descriptor was closed or taken")
        return self._fd

    def take(self) -> int:
        """Return the descriptor, which is the caller's to close from now on.

        Raises:
            ValueError: it was closed, or taken.
        """
        fd = self.fileno()
        self._fd = -1
        return fd

    def close(self) -> None:
        """Close it.  Twice is not an error."""
        if self._fd >= 0:
            os.close(self.take())

    def __repr__(self) -> str:
        return "<Fd closed>" if self.closed else f"<Fd {self._fd}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def receive(sock: Socket, max_bytes: int = READ_BYTES, flags: int = 0) -> tuple[bytes, list[Fd]]:
    """Read bytes and the descriptors beside them; otherwise as `sock.recv`.

    The descriptors belong to a message that begins in these bytes: the kernel ends a read behind
    the piece that carried any.  No process that is started inherits them.
    """
    data, ancillary, _flags, _address = sock.recvmsg(max_bytes, _ANCILLARY_BYTES, flags | _CLOEXEC)
    return data, _descriptors(ancillary) if ancillary else []


def send(sock: Socket, data: bytes | memoryview, fds: Sequence[Fd]) -> int:
    """Send some of `data`, at least its first byte, with descriptors beside that; return how much.

    Bytes that are sent later go without them.  The descriptors stay the caller's to close.
    """
    numbers = b"".join(fd.fileno().to_bytes(_INT_BYTES, sys.byteorder) for fd in fds)
    return sock.sendmsg([data], [(SOL_SOCKET, SCM_RIGHTS, numbers)])


def close_all(fds: Iterable[Fd]) -> None:
    """Close each of them."""
    for fd in fds:
        fd.close()


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[Fd]:
    found = []
    for level, kind, data in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            # A control message that was cut may end inside a number; the kernel closed the other descriptors.
            whole = len(data) - len(data) % _INT_BYTES
            found += [
                Fd(int.from_bytes(data[start : start + _INT_BYTES], sys.byteorder))
                for start in range(0, whole, _INT_BYTES)
            ]
    if not _CLOEXEC:
        for fd in found:
            os.set_inheritable(fd.fileno(), False)
    return found


class Arrivals:
    """Descriptors that came with a stream's bytes, by where among them, until their message is known.

    Positions count the stream's bytes.  At most `MAX_FDS` wait; what comes beyond is closed.
    """

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        self._groups: list[tuple[int, int, list[Fd]]] = []

    def __len__(self) -> int:
        return len(self._groups)

    def add(self, start: int, end: int, fds: list[Fd]) -> None:
        """Keep what came beside the bytes from `start` to `end`."""
        room = MAX_FDS - sum(len(group) for _, _, group in self._groups)
        close_all(fds[room:])
        self._groups.append((start, end, fds[:room]))

    def take(self, start: int) -> list[Fd]:
        """Return what belongs to a message that begins at `start`; it is the caller's from now on."""
        for number, (first, end, fds) in enumerate(self._groups):
            if first <= start < end:
                del self._groups[number]
                return fds
        return []

    def drop(self, before: int) -> None:
        """Close what came with bytes before a position: no message begins there any more."""
        while self._groups and self._groups[0][1] <= before:
            close_all(self._groups.pop(0)[2])

    def close(self) -> None:
        """Close all."""
        while self._groups:
            close_all(self._groups.pop()[2])


class FdStream(Stream):
    """A stream that also carries descriptors.  See `Stream` for its contract.

    Attributes:
        arrivals: those that came and were not taken yet.
        read_bytes: how many bytes were read: the positions of `arrivals`.
    """

    __slots__ = ("arrivals", "read_bytes")

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream.take_socket(), stream.peer)
        self.arrivals: Arrivals = Arrivals()
        self.read_bytes: int = 0

    def read(self, max_bytes: int = READ_BYTES, timeout_s: float | None = None) -> bytes:
        """As `Stream.read`; descriptors that come along are kept in `arrivals`."""
        try:
            data, fds = receive(self.sock, max_bytes, self._reading_for(timeout_s))
        except BlockingIOError:
            raise faults.DeadlineExceeded("read", timeout_s or 0.0, "maybe", self.peer) from None
        except OSError as error:
            raise self._lost(error) from error
        if fds:
            self.arrivals.add(self.read_bytes, self.read_bytes + len(data), fds)
        self.read_bytes += len(data)
        return data

    def write_with_fds(self, data: bytes, fds: Sequence[Fd], timeout_s: float | None = None) -> None:
        """Send all of `data`, with descriptors beside its first byte; they stay the caller's to close."""
        deadline = Deadline(timeout_s)
        try:
            self._writing_for(timeout_s)
            sent = send(self.sock, data, fds)
        except (TimeoutError, BlockingIOError):
            raise faults.DeadlineExceeded("write", timeout_s or 0.0, "maybe", self.peer) from None
        except OSError as error:
            raise self._lost(error) from error
        self.write(data[sent:], deadline.remaining_s())

    def close(self) -> None:
        """End the connection and close the descriptors that were not taken.  Twice is not an error."""
        super().close()
        self.arrivals.close()
