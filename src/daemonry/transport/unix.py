"""Unix sockets that listen: binding that never takes a live one, closing that leaves nothing.

Owns the socket file: its mode, its directory, and who may remove it.  Connecting is
`unix_connect`'s.

**Binding** happens under an flock on the directory, so that of several who find a stale file one
removes it and the others find a live socket.  A file is stale when it is a socket, ours, and a
connection to it is refused.  Nothing else is ever removed at a path that a user gave; in a
directory that is ours alone (`leftovers="replace"`), a leftover of another kind is, with a
warning.  The file is born with mode 0600.

**Closing** closes first and then looks: the file goes only if it is the one that binding made
and nobody answers behind it.  An inode number alone proves nothing (ext4 hands it out again), and
so is a lock alone (somebody may have removed our file and bound there).
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import stat
from _socket import AF_UNIX, SOCK_STREAM
from _socket import socket as Socket

from daemonry import faults
from daemonry.backoff import delays
from daemonry.clock import Deadline
from daemonry.limits import (
    DIRECTORY_LOCK_TIMEOUT_S,
    LISTEN_BACKLOG,
    LOCK_RETRY_FIRST_S,
    LOCK_RETRY_MAX_S,
)
from daemonry.process import platform
from daemonry.transport.endpoint import Endpoint
from daemonry.transport.listening import SocketListener
from daemonry.transport.stream import Stream
from daemonry.transport.unix_connect import Address, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal, Self

    Leftovers = Literal["refuse", "replace"]
    Warn = Callable[[str], None]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class UnixListener(SocketListener):
    """A listening Unix socket.  See the module for what binding and closing promise."""

    __slots__ = ("_file",)

    def __init__(self, sock: Socket, endpoint: Endpoint, file: tuple[int, int] | None) -> None:
        self._file = file
        super().__init__(sock, endpoint)

    @classmethod
    def bind(
        cls, endpoint: Endpoint, *, leftovers: Leftovers = "refuse", warn: Warn = lambda message: None
    ) -> Self:
        """Listen at `endpoint`.

        Args:
            endpoint: a Unix endpoint.  The directory of its file must exist and have been checked.
            leftovers: what to do with a file at the path that is not a socket.
            warn: called with a sentence about a file that was removed or could not be.

        Raises:
            SocketBindError: a live socket or a foreign file is there, or the system refused.
            EndpointInvalid: the path is too long for this system.
        """
        if endpoint.path is None:
            return cls(_bound(endpoint), endpoint, None)
        directory_fd = _lock_directory(endpoint)
        try:
            _make_room(endpoint, leftovers, warn)
            sock = _bound(endpoint)
            return cls(sock, endpoint, _file_at(endpoint.path))
        finally:
            os.close(directory_fd)

    def accept(self, timeout_s: float | None = None) -> tuple[Stream, str]:
        """Return the next stream and a text that says who it is."""
        sock, _ = self._accept_within(timeout_s)
        pid, uid, _ = platform.peer_of(sock)
        peer = f"unix:pid {pid} uid {uid}"
        return Stream(sock, peer), peer

    def file_is_ours(self) -> bool:
        """Whether the path still leads to the file that binding made, if it made one."""
        path = self._endpoint.path
        return path is None or self._file is None or _file_at(path) == self._file

    def close(self) -> None:
        """Stop listening, then remove the file if it is ours and nobody answers behind it."""
        if self.closed:
            return
        self._sock.close()
        path = self._endpoint.path
        if path is None or self._file is None:
            return
        try:
            directory_fd = _lock_directory(self._endpoint)
        except faults.SocketBindError:
            return  # the directory is gone, and the file with it
        try:
            if _file_at(path) == self._file and not _answers(self._endpoint):
                os.unlink(path)
        except OSError:
            pass  # left behind; the next start finds it stale
        finally:
            os.close(directory_fd)

    def abandon(self) -> None:
        """Stop listening and leave the path alone: it has become another's."""
        self._file = None
        self._sock.close()

    def listen_here(self) -> None:
        """Make this process the listener that clients see, at a socket that another process made.

        SO_PEERCRED tells them of the process that called listen(2) last.  Who waits in the
        queue goes on waiting there.
        """
        try:
            self._sock.listen(LISTEN_BACKLOG)
        except OSError:
            pass  # another system; it listens all the same, under its maker's name

    def refuse_more(self) -> None:
        """Have further connections refused; those that wait can still be accepted.

        For every process that listens on this socket.  unix(7) says nothing of it; Linux refuses to
        connect to a socket that is shut for reading, and `accept` goes on with the connections that it holds.
        """
        try:
            self._sock.shutdown(_socket.SHUT_RD)
        except OSError:
            pass  # another system: closing refuses too, and resets who came in the last moment

    @property
    def file(self) -> tuple[int, int] | None:
        """What tells the socket file that binding made from others; None if it made none."""
        return self._file

    @classmethod
    def of_another(
        cls, listener: UnixListener, endpoint: Endpoint, file: tuple[int, int] | None
    ) -> UnixListener:
        """Return a listener that another process made, with the file that it made, as this one's own."""
        return cls(listener._sock, endpoint, file)  # of its own kind


def is_live(endpoint: Endpoint) -> bool:
    """Whether some process listens at `endpoint`; a full backlog and a denial count as yes."""
    return _answers(endpoint)


def _answers(endpoint: Endpoint) -> bool:
    try:
        connect(endpoint, 0.0).close()
    except (faults.NotListening, faults.StaleSocket):
        return False
    except (faults.DeadlineExceeded, faults.ConnectError):
        return True
    return True


def _lock_directory(endpoint: Endpoint) -> int:
    path = endpoint.path
    assert path is not None
    directory = os.path.dirname(path)
    try:
        fd = os.open(directory, _DIRECTORY)
    except OSError as error:
        raise faults.SocketBindError(path, f"its directory: {error.strerror}") from error
    # Held for a lstat, a connect, an unlink and a bind: others wait for microseconds here,
    # unless the holder was stopped in the middle.
    deadline = Deadline(DIRECTORY_LOCK_TIMEOUT_S)
    for delay_s in delays(LOCK_RETRY_FIRST_S, LOCK_RETRY_MAX_S):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not deadline.sleep(delay_s):
                os.close(fd)
                raise faults.SocketBindError(path, f"{directory} is locked by another process") from None
        except OSError:
            break  # some network file systems cannot lock directories; the life lock still protects daemons
        else:
            break
    return fd


def _make_room(endpoint: Endpoint, leftovers: Leftovers, warn: Warn) -> None:
    path = endpoint.path
    assert path is not None
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise faults.SocketBindError(path, error.strerror or str(error)) from error
    if not stat.S_ISSOCK(found.st_mode):
        if leftovers == "refuse" or stat.S_ISDIR(found.st_mode):
            raise faults.SocketBindError(
                path, f"there is {_kind(found.st_mode)}, which is not ours to remove"
            )
        warn(f"replacing {_kind(found.st_mode)} at {path}")
    elif found.st_uid != os.geteuid():
        raise faults.SocketBindError(path, f"there is a socket of user {found.st_uid}")
    elif _answers(endpoint):
        raise faults.SocketBindError(path, "another process listens there")
    else:
        warn(f"removing the stale socket {path}")
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        # Not the end: bind says with authority whether the path is free.
        warn(f"could not remove {path}: {error.strerror}")


def _kind(mode: int) -> str:
    names = {
        stat.S_IFREG: "a regular file",
        stat.S_IFDIR: "a directory",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a named pipe",
    }
    return names.get(stat.S_IFMT(mode), "a device")


def _bound(endpoint: Endpoint) -> Socket:
    sock = Socket(AF_UNIX, SOCK_STREAM)
    try:
        with Address(endpoint) as address:
            if endpoint.path is None:
                sock.bind(address)
            else:
                platform.bind_private(sock, address)
        sock.listen(LISTEN_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        cause = _why_taken(endpoint) if error.errno == errno.EADDRINUSE else error.strerror
        raise faults.SocketBindError(endpoint.address, cause or str(error)) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _why_taken(endpoint: Endpoint) -> str:
    if endpoint.path is None or _answers(endpoint):
        return "another process listens there"
    return "the file there could not be removed"


def _file_at(path: str) -> tuple[int, int] | None:
    """Return what tells the socket file at `path` from others; None when there is no socket."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    # A file of another kind may well have the number: ext4 gives it out again at once.
    return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None
