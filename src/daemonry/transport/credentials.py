"""Who is at the other end, and whether they may command us.

Owns the rule: the daemon's own user, and root.  A file mode keeps others away from a socket only
until somebody changes it, and a socket without a file has none, so the peer is asked as well.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX
from _socket import socket as Socket

from daemonry.process import platform


def may_command(sock: Socket) -> bool:
    """Whether the peer of an accepted socket is this user or root; over TCP nobody can tell."""
    if sock.family != AF_UNIX:
        return True
    try:
        _, uid, _ = platform.peer_of(sock)
    except OSError:
        return False
    return uid in (os.geteuid(), 0)
