"""Sockets that a service manager opened for this process: sd_listen_fds(3).

Owns reading and removing the variables: they are for this process, and not for its children.
"""

from __future__ import annotations

import os

from daemonry.errors import SocketBindError

_FIRST_FD = 3


def take_socket() -> int | None:
    """Return the descriptor of the socket that was handed over, or None if none was.

    Raises:
        SocketBindError: several were; a daemon has one.
    """
    count, pid = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    os.environ.pop("LISTEN_PIDFDID", None)
    if pid != str(os.getpid()) or not count.isdigit() or int(count) == 0:
        return None
    if int(count) > 1:
        raise SocketBindError(
            f"fd:{_FIRST_FD}", f"the service manager handed over {count} sockets, and one is wanted"
        )
    return _FIRST_FD
