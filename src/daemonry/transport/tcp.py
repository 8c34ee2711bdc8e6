"""TCP: for what a Unix socket cannot reach.

Owns all that is special about AF_INET and AF_INET6: names, reuse of ports, Nagle's delay.

TCP tells nothing about who connects: whoever reaches the port may do what the owner may.  A
listener therefore takes loopback addresses only, unless it is told otherwise.
"""

from __future__ import annotations

import _socket
import errno
import os
from _socket import socket as Socket

from daemonry.clock import Deadline
from daemonry.errors import (
    AccessDenied,
    ConnectError,
    ConnectionRefused,
    DeadlineExceeded,
    EndpointInvalid,
    SocketBindError,
)
from daemonry.limits import LISTEN_BACKLOG
from daemonry.transport.endpoint import TCP, Endpoint
from daemonry.transport.listening import SocketListener
from daemonry.transport.stream import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self


def connect(endpoint: Endpoint, deadline: Deadline) -> Stream:
    """Connect over TCP, trying each address of the name in turn.

    Raises:
        ConnectionRefused, AccessDenied, ConnectError: nothing was sent.
        DeadlineExceeded: no address answered in time.
        EndpointInvalid: the name is not known.
    """
    last: OSError | None = None
    for family, address in _addresses(endpoint, passive=False):
        sock = Socket(family, _socket.SOCK_STREAM)
        try:
            sock.settimeout(deadline.remaining_s())
            sock.connect(address)
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            last = error
            if deadline.expired:
                break
        else:
            return Stream(sock, str(endpoint))
    raise _why_not(endpoint, deadline, last) from last


def _why_not(endpoint: Endpoint, deadline: Deadline, error: OSError | None) -> Exception:
    where = str(endpoint)
    if isinstance(error, (TimeoutError, BlockingIOError)):
        return DeadlineExceeded("connect", deadline.timeout_s or 0.0, "no", where)
    number = error.errno if error else None
    if number == errno.ECONNREFUSED:
        return ConnectionRefused(where, number)
    if number in (errno.EACCES, errno.EPERM):
        return AccessDenied(where, os.strerror(number), number)
    return ConnectError(where, f"cannot connect to {where}: {error}", number)


def _addresses(endpoint: Endpoint, *, passive: bool) -> list[tuple[int, Any]]:
    flags = _socket.AI_PASSIVE if passive else 0
    try:
        found = _socket.getaddrinfo(endpoint.address, endpoint.number, 0, _socket.SOCK_STREAM, 0, flags)
    except (_socket.gaierror, UnicodeError) as error:
        raise EndpointInvalid(str(endpoint), f"the host is not known: {error}") from None
    return [(entry[0], entry[4]) for entry in found]


class TcpListener(SocketListener):
    """A listening TCP socket."""

    __slots__ = ()

    @classmethod
    def bind(cls, endpoint: Endpoint, *, beyond_loopback: bool = False) -> Self:
        """Listen at the first address of `endpoint`; port 0 takes a free one.

        Args:
            endpoint: a TCP endpoint.
            beyond_loopback: allow addresses that other machines can reach.

        Raises:
            SocketBindError: the address is not a loopback one, or the system refused.
            EndpointInvalid: the host is not known.
        """
        family, address = _addresses(endpoint, passive=True)[0]
        if not beyond_loopback and not (address[0] == "::1" or address[0].startswith("127.")):
            raise SocketBindError(
                str(endpoint), "other machines could reach it, and TCP does not tell who they are"
            )
        sock = Socket(family, _socket.SOCK_STREAM)
        try:
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(LISTEN_BACKLOG)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            raise SocketBindError(str(endpoint), error.strerror or str(error)) from error
        return cls(sock, Endpoint(endpoint.address, TCP, sock.getsockname()[1]))

    def accept(self, timeout_s: float | None = None) -> tuple[Stream, str]:
        """Return the next stream and a text that says who it is."""
        sock, address = self._accept_within(timeout_s)
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        peer = str(Endpoint(address[0], TCP, address[1]))
        return Stream(sock, peer), peer

    def accept_socket(self) -> Socket | None:
        """Return the next connection as a socket, or None for none."""
        sock = super().accept_socket()
        if sock is not None:
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        return sock

    def refuse_more(self) -> None:
        """Do nothing: TCP has no way to refuse further connections and keep those that wait."""
