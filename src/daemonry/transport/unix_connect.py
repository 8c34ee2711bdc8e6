"""Connecting to a Unix socket, and telling why it cannot be done.

Owns addresses (also those longer than the kernel takes, which go through the directory's
descriptor) and what the kernel's refusals mean.  Binding is `unix`'s; the two are apart because
every quick command connects and none of them listens.
"""

from __future__ import annotations

import _socket
import os
from _socket import AF_UNIX, SOCK_STREAM
from _socket import socket as Socket
from sys import byteorder

from daemonry import faults
from daemonry.limits import CONNECT_RETRY_FIRST_S, CONNECT_RETRY_MAX_S, UNIX_PATH_MAX_OTHER
from daemonry.transport.stream import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry.transport.endpoint import Endpoint

# Where the system can make a socket that does not block in one call.
_STREAM_TYPE = SOCK_STREAM | getattr(_socket, "SOCK_NONBLOCK", 0)

# Who listens is known once a connection is made.  Where none is taken, the file's owner is all there is:
# another user's is most likely a squatter who never accepts, and is waited for only this long, in seconds.
_FOREIGN_PATIENCE_S = 0.25


class Address:
    """A socket's address for the kernel, and the descriptor that keeps a long one usable."""

    __slots__ = ("_directory_fd", "name")

    def __init__(self, endpoint: Endpoint) -> None:
        self._directory_fd = -1
        self.name: str = endpoint.address
        if self.name.startswith("@") or len(os.fsencode(self.name)) > UNIX_PATH_MAX_OTHER:
            self._adapt(endpoint)

    def _adapt(self, endpoint: Endpoint) -> None:
        from daemonry.process import platform

        if self.name.startswith("@"):
            if not platform.HAS_ABSTRACT_SOCKETS:
                raise faults.EndpointInvalid(str(endpoint), "sockets without a file exist on Linux only")
            self.name = "\0" + self.name[1:]
        length, limit = len(os.fsencode(self.name)), platform.UNIX_PATH_MAX
        if length <= limit:
            return
        directory, name = os.path.split(self.name)
        if endpoint.path is None or not platform.HAS_FD_PATHS or len(os.fsencode(name)) > limit - 25:
            raise faults.EndpointInvalid(
                str(endpoint), f"it is {length} bytes long, and the limit here is {limit}"
            )
        self._directory_fd = os.open(
            directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", 0)
        )
        self.name = f"/proc/self/fd/{self._directory_fd}/{name}"

    def __enter__(self) -> str:
        return self.name

    def __exit__(self, *exc: object) -> None:
        if self._directory_fd >= 0:
            os.close(self._directory_fd)


def connect(endpoint: Endpoint, timeout_s: float | None) -> Stream:
    """Connect to a Unix socket.

    A full backlog (EAGAIN) means a busy daemon, and is tried again until the time is over.

    Args:
        endpoint: a Unix endpoint.
        timeout_s: how long it may take, in seconds; None for no limit.

    Raises:
        NotListening, StaleSocket, ConnectError: nothing was sent.
        AccessDenied: the system forbids it, or who listens is neither this user nor root.
        DeadlineExceeded: the backlog was full all the time.
        EndpointInvalid: the path is too long for this system.
    """
    sock = Socket(AF_UNIX, _STREAM_TYPE)
    if _STREAM_TYPE == SOCK_STREAM:
        sock.setblocking(False)
    address = endpoint.address
    try:
        if address.isascii() and len(address) <= UNIX_PATH_MAX_OTHER and not address.startswith("@"):
            _connect(sock, address, endpoint, timeout_s)
        else:
            with Address(endpoint) as name:
                _connect(sock, name, endpoint, timeout_s)
        _check_whose(sock, endpoint)
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError) and not isinstance(error, faults.DaemonryError):
            raise _why_not(endpoint, error) from error
        raise
    return Stream(sock, endpoint)


def _connect(sock: Socket, address: str, endpoint: Endpoint, timeout_s: float | None) -> None:
    try:
        sock.connect(address)
    except BlockingIOError:
        _retry(sock, address, endpoint, timeout_s)


def _check_whose(sock: Socket, endpoint: Endpoint) -> None:
    """Refuse a listener that is neither this user's nor root's.

    In a directory like /tmp, and for a name without a file, anybody may have been there first.
    """
    if hasattr(_socket, "SO_PEERCRED"):  # asked for here, because `platform` would cost each command
        credentials = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        uid = int.from_bytes(credentials[4:8], byteorder)
    else:
        from daemonry.process import platform

        uid = platform.peer_of(sock)[1]
    if uid not in (os.geteuid(), 0):
        raise faults.AccessDenied(endpoint.address, f"user {uid} listens there")


def _retry(sock: Socket, address: str, endpoint: Endpoint, timeout_s: float | None) -> None:
    from daemonry.backoff import delays
    from daemonry.clock import Deadline

    deadline = Deadline(timeout_s)
    owner = _foreign_owner(endpoint)
    if owner is not None and (timeout_s is None or timeout_s > _FOREIGN_PATIENCE_S):
        deadline = Deadline(_FOREIGN_PATIENCE_S)
    for delay_s in delays(CONNECT_RETRY_FIRST_S, CONNECT_RETRY_MAX_S):
        if not deadline.sleep(delay_s):
            if deadline.timeout_s != timeout_s:
                raise faults.AccessDenied(
                    endpoint.address, f"the socket is user {owner}'s, and takes no connection"
                ) from None
            raise faults.DeadlineExceeded("connect", timeout_s or 0.0, "no", str(endpoint)) from None
        try:
            sock.connect(address)
        except BlockingIOError:
            continue
        return


def _foreign_owner(endpoint: Endpoint) -> int | None:
    """Return who owns the socket file, if that is neither this user nor root; None if not known."""
    if endpoint.path is None:
        return None
    try:
        uid = os.lstat(endpoint.path).st_uid
    except OSError:
        return None
    return None if uid in (os.geteuid(), 0) else uid


def _why_not(endpoint: Endpoint, error: OSError) -> Exception:
    import errno

    where = endpoint.address
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return faults.NotListening(where, error.errno)
    if error.errno in (errno.EACCES, errno.EPERM):
        return faults.AccessDenied(where, error.strerror or "", error.errno)
    if error.errno in (errno.ECONNREFUSED, errno.ENOTSOCK):
        return _refused(endpoint, where, error.errno)
    return faults.ConnectError(where, f"cannot connect to {where}: {error.strerror or error}", error.errno)


def _refused(endpoint: Endpoint, where: str, number: int) -> faults.ConnectError:
    import stat

    # The kernel refuses a connection to an ordinary file in the same words as to a dead socket.
    if endpoint.path is None:
        return faults.NotListening(where, number)
    try:
        mode = os.lstat(endpoint.path).st_mode
    except OSError:
        return faults.NotListening(where, number)
    if stat.S_ISSOCK(mode):
        return faults.StaleSocket(where, number)
    return faults.NotListening(where, number, "the file there is not a socket")
