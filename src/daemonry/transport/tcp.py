"""TCP: for what a Unix socket cannot reach.

Owns all that is special about AF_INET and AF_INET6: names, reuse of ports, Nagle's delay, and the
client's side of proving that it knows the token (`proof`).

TCP does not identify the client, and each user of a machine reaches its ports.  A listener
therefore has a token, or is open because somebody said so; and it takes loopback addresses only,
unless its endpoint says otherwise.
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
    ConnectionLost,
    ConnectionRefused,
    DeadlineExceeded,
    EndpointInvalid,
    SocketBindError,
    UnsafePath,
)
from daemonry.limits import LISTEN_BACKLOG
from daemonry.process import token_file
from daemonry.transport import proof
from daemonry.transport.endpoint import OPEN, TCP, Endpoint
from daemonry.transport.listening import SocketListener
from daemonry.transport.stream import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self


def connect(endpoint: Endpoint, deadline: Deadline) -> Stream:
    """Connect over TCP, trying each address of the name in turn, and prove that we know the token.

    The token is in the file that the endpoint names, else in $DAEMONRY_TOKEN_FILE, else where a daemon
    of this user that listens there keeps it.  Where there is none nothing is proved: who listens may
    ask for no proof, and says so if it does.

    Raises:
        ConnectionRefused, ConnectError: nothing was sent.
        AccessDenied: the system forbids it, the token cannot be read, or one of both sides has not
            the other's.
        DeadlineExceeded: no address answered in time.
        EndpointInvalid: the name is not known.
    """
    stream = _connect(endpoint, deadline)
    try:
        token = _token_of(endpoint)
        if token is None:
            return stream
        if _prove(stream, endpoint, token, deadline):
            return stream
        # The daemon hands itself over, or makes room: another connection reaches the one that is there then.
        stream.close()
        stream = _connect(endpoint, deadline)
        if _prove(stream, endpoint, token, deadline):
            return stream
        raise ConnectError(endpoint.bare, f"{endpoint.bare} ended the connection before the token was proved")
    except BaseException:
        stream.close()
        raise


def _connect(endpoint: Endpoint, deadline: Deadline) -> Stream:
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
            return Stream(sock, endpoint.bare)
    raise _why_not(endpoint, deadline, last) from last


def _token_of(endpoint: Endpoint) -> str | None:
    if endpoint.proof == OPEN:
        return None
    path = endpoint.token_path or os.environ.get(token_file.VARIABLE) or _token_path_by_record(endpoint)
    if path is None:
        return None
    try:
        return token_file.read(path)
    except UnsafePath as error:
        raise AccessDenied(endpoint.bare, str(error)) from None


def _token_path_by_record(endpoint: Endpoint) -> str | None:
    """Return where a daemon of this user that listens at `endpoint` keeps its token.

    It may be known by another name of the same address.  A token for the wrong one is of no use to it.
    """
    from daemonry.process import record_fields, registry

    found = None
    for place in registry.places():
        try:
            other = Endpoint.parse(record_fields.read_endpoint(place.record_path) or "")
        except EndpointInvalid:
            continue
        if other.kind == TCP and other.number == endpoint.number and other.token_path is not None:
            if other.address == endpoint.address:
                return other.token_path
            if other.local and endpoint.local:
                found = other.token_path
    return found


def _prove(stream: Stream, endpoint: Endpoint, token: str, deadline: Deadline) -> bool:
    """Prove that we know the token; False when the connection ended meanwhile.

    Raises:
        AccessDenied: who listens does not know it, or says that we do not.
        ConnectError: it refused for another reason.
        DeadlineExceeded: it did not answer.
    """
    nonce = os.urandom(proof.NONCE_BYTES).hex()
    try:
        stream.write(proof.hello(nonce), deadline.remaining_s())
        line = _line(stream, deadline)
        if not line:
            return False
        answer = proof.answer_to(line, token, nonce)
        if answer is None:
            raise _refusal(endpoint, line)
        stream.write(answer, deadline.remaining_s())
        line = _line(stream, deadline)
    except ConnectionLost:
        return False
    except DeadlineExceeded:
        raise DeadlineExceeded("connect", deadline.timeout_s or 0.0, "no", endpoint.bare) from None
    if line and line != proof.OK_LINE:
        raise _refusal(endpoint, line)
    return bool(line)


def _line(stream: Stream, deadline: Deadline) -> bytes:
    """Return the server's line; what ends before its line does counts as none."""
    line = b""
    while not line.endswith(b"\n"):
        piece = stream.read(proof.SERVER_LINE_MOST_BYTES - len(line), deadline.remaining_s())
        line += piece
        if not piece:
            return line if line.startswith(b"ERR: ") else b""
        if len(line) >= proof.SERVER_LINE_MOST_BYTES:
            break
    return line


def _refusal(endpoint: Endpoint, line: bytes) -> ConnectError:
    text = line.decode("ascii", "backslashreplace").strip()
    where = endpoint.bare
    if text == f"ERR: {proof.WRONG}":
        return AccessDenied(where, "the token is not the one that is asked for there")
    if text.startswith("ERR: Too many connections"):
        return ConnectError(where, f"cannot connect to {where}: too many connections")
    return AccessDenied(where, f"who listens there does not know the token (it answered {text[:80]!r})")


def _why_not(endpoint: Endpoint, deadline: Deadline, error: OSError | None) -> Exception:
    where = endpoint.bare
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
        raise EndpointInvalid(endpoint.bare, f"the host is not known: {error}") from None
    return [(entry[0], entry[4]) for entry in found]


class TcpListener(SocketListener):
    """A listening TCP socket.

    Attributes:
        token: what a client has to know; None for a listener that asks for no proof.
    """

    __slots__ = ("_made_path", "token")

    def __init__(self, sock: Socket, endpoint: Endpoint) -> None:
        super().__init__(sock, endpoint)
        self.token: str | None = None
        self._made_path: str | None = None

    def ask_for(self, path: str, token: str, *, ours: bool = False) -> None:
        """Have clients prove that they know `token`, which is in the file at `path`.

        Args:
            path: where a client finds it.
            token: as it is there.
            ours: the file was made for this listener, and goes with it.
        """
        self.token = token
        self._made_path = path if ours else None
        self._endpoint = self._endpoint.with_proof(path)

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
                endpoint.bare, "other machines could reach it, and TCP does not tell who they are"
            )
        sock = Socket(family, _socket.SOCK_STREAM)
        try:
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(LISTEN_BACKLOG)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            raise SocketBindError(endpoint.bare, error.strerror or str(error)) from error
        return cls(sock, Endpoint(endpoint.address, TCP, sock.getsockname()[1], endpoint.proof))

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

    def close(self) -> None:
        """Stop listening, and remove the token that was made for it.  Twice is not an error."""
        super().close()
        if self._made_path is not None:
            token_file.remove(self._made_path)
            self._made_path = None

    def abandon(self) -> None:
        """Stop listening, and leave the token: the listener is another process's."""
        self._made_path = None
        super().close()

    def refuse_more(self) -> None:
        """Do nothing: TCP has no way to refuse further connections and keep those that wait."""
