"""Connecting to any endpoint, and listening at any.

Owns choosing the file that knows the endpoint's family.  All but connecting to Unix sockets is
imported when it is used: a quick command should not pay for it.
"""

from __future__ import annotations

import os

from daemonry import faults
from daemonry.clock import Deadline
from daemonry.limits import CONNECT_TIMEOUT_S
from daemonry.transport import unix_connect
from daemonry.transport.endpoint import FD, SSH, TCP, UNIX, Endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

    from daemonry.transport.stream import Listener, Stream
    from daemonry.transport.unix import Leftovers, Warn


# The connection on which the native launcher has sent this command's call (`daemonry.cli.native.continued`):
# the first connection that is made is this one.
STARTED: list[Stream] = []


def connect(endpoint: Endpoint | str | PathLike[str], timeout_s: float | None = CONNECT_TIMEOUT_S) -> Stream:
    """Return a stream to whoever listens at `endpoint`.

    Args:
        endpoint: an endpoint, its text, or a socket's path.
        timeout_s: how long it may take, in seconds; None for no limit.

    Raises:
        NotListening, ConnectionRefused, StaleSocket: nobody is there.
        AccessDenied: somebody may be there, and we may not talk to them.
        ConnectError: another error of the system.
        Unreachable: the machine of an ssh endpoint cannot be asked.
        DeadlineExceeded: somebody is there and too busy to accept.
        EndpointInvalid: the text is not an endpoint, or this system has none of its kind.
    """
    if STARTED:
        return STARTED.pop()
    if not isinstance(endpoint, Endpoint):
        endpoint = Endpoint.parse(endpoint)
    if endpoint.kind == UNIX:
        return unix_connect.connect(endpoint, timeout_s)
    if endpoint.kind == TCP:
        from daemonry.transport import tcp

        return tcp.connect(endpoint, Deadline(timeout_s))
    if endpoint.kind == FD:
        from daemonry.transport import activation

        return activation.connect(endpoint)
    if endpoint.kind == SSH:
        from daemonry.transport import ssh

        return ssh.connect(endpoint, Deadline(timeout_s))
    from daemonry.transport.pipe import unsupported

    raise unsupported(endpoint)


def try_connect(
    endpoint: Endpoint | str | PathLike[str], timeout_s: float | None = CONNECT_TIMEOUT_S
) -> Stream | None:
    """Return a stream, or None when nobody is there.

    Raises:
        As `connect`, for everything else: a busy or forbidden daemon is not an absent one.
    """
    try:
        return connect(endpoint, timeout_s)
    except (faults.NotListening, faults.ConnectionRefused):
        return None


def listen(
    endpoint: Endpoint | str | PathLike[str],
    *,
    leftovers: Leftovers = "refuse",
    warn: Warn = lambda message: None,
    beyond_loopback: bool = False,
) -> Listener:
    """Return a listener at `endpoint`, its socket file (if any) born with mode 0600.

    The directory of a socket file is made if it is missing.  One that exists must be such that no
    other user can exchange the file; with `leftovers="replace"` it must be ours alone.

    Args:
        endpoint: an endpoint, its text, or a socket's path.
        leftovers: "refuse" leaves any file alone that is not a stale socket of ours; "replace"
            removes it with a warning, and is for a directory that is ours alone.
        warn: called with a sentence about a file that was removed or could not be.
        beyond_loopback: let TCP listen where other machines can reach it.

    Raises:
        SocketBindError: a live socket or a foreign file is there, or the system refused.
        UnsafePath: the directory cannot be used.
        EndpointInvalid: the text is not an endpoint, or this system has none of its kind.
    """
    if not isinstance(endpoint, Endpoint):
        endpoint = Endpoint.parse(endpoint)
    if endpoint.kind == UNIX:
        from daemonry.process.private_dir import ensure_private, ensure_unwritable_by_others
        from daemonry.transport import unix

        if endpoint.path is not None:
            check = ensure_private if leftovers == "replace" else ensure_unwritable_by_others
            check(os.path.dirname(endpoint.path))
        return unix.UnixListener.bind(endpoint, leftovers=leftovers, warn=warn)
    if endpoint.kind == TCP:
        from daemonry.transport import tcp

        return tcp.TcpListener.bind(endpoint, beyond_loopback=beyond_loopback)
    if endpoint.kind == FD:
        from daemonry.transport import activation

        return activation.bind(endpoint)
    from daemonry.transport.pipe import unsupported

    raise unsupported(endpoint)
