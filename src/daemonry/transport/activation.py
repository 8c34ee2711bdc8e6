"""Sockets that somebody else made and handed over: `fd:N`.

Owns telling a listening descriptor from a connected one.  A socket that was handed over is not ours to
remove: closing such a listener closes our copy and leaves its path alone.
"""

from __future__ import annotations

import _socket
import os
from _socket import socket as Socket

from daemonry.errors import NotListening, SocketBindError
from daemonry.process import platform
from daemonry.transport.endpoint import TCP, UNIX, Endpoint
from daemonry.transport.stream import Stream
from daemonry.transport.tcp import TcpListener
from daemonry.transport.unix import UnixListener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def connect(endpoint: Endpoint) -> Stream:
    """Return the stream of a connected descriptor.

    Raises:
        NotListening: the descriptor is not a connected stream socket; it stays open.
    """
    sock = _adopt(endpoint, _is_connected)
    if sock is None:
        raise NotListening(str(endpoint), None, "the descriptor is not a connected socket")
    return Stream(sock, str(endpoint))


def bind(endpoint: Endpoint) -> UnixListener | TcpListener:
    """Return the listener of a listening descriptor.

    Raises:
        SocketBindError: the descriptor is not a listening stream socket; it stays open.
    """
    sock = _adopt(endpoint, _listens)
    if sock is None:
        raise SocketBindError(str(endpoint), "the descriptor is not a listening socket")
    sock.setblocking(False)
    name = sock.getsockname()
    if sock.family == _socket.AF_UNIX:
        path = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
        address = "@" + path[1:] if path.startswith("\0") else path
        return UnixListener(sock, Endpoint(address, UNIX) if address else endpoint, None)
    return TcpListener(sock, Endpoint(name[0], TCP, name[1], endpoint.proof))


def _adopt(endpoint: Endpoint, is_wanted: Callable[[Socket], bool]) -> Socket | None:
    try:
        sock = Socket(fileno=endpoint.number)
    except OSError:
        return None
    if sock.type != _socket.SOCK_STREAM or not is_wanted(sock):
        sock.detach()  # not ours after all: it is not closed with the object
        return None
    os.set_inheritable(sock.fileno(), False)  # a service manager passes it through an exec
    return sock


def _listens(sock: Socket) -> bool:
    if platform.HAS_ACCEPTCONN:
        return bool(sock.getsockopt(_socket.SOL_SOCKET, platform.SO_ACCEPTCONN))
    return not _is_connected(sock)


def _is_connected(sock: Socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
