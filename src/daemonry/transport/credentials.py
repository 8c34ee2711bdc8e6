"""Who is at the other end, and whether they may command us.

Owns the rule: the daemon's own user, and root.  A file mode keeps others away from a socket only
until somebody changes it, and a socket without a file has none, so the peer is asked as well.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX
from _socket import socket as Socket

from daemonry.process import platform
from daemonry.values import Value


class Peer(Value):
    """Who is at the other end, as the system says (unix(7), SO_PEERCRED).

    Attributes:
        gid: the group; None over TCP.
        pid: the process as it connected; None over TCP.
        uid: the user; None over TCP.
    """

    __slots__ = ("gid", "pid", "uid")
    gid: int | None
    pid: int | None
    uid: int | None

    def __init__(self, gid: int | None, pid: int | None, uid: int | None) -> None:
        self._set(gid=gid, pid=pid, uid=uid)

    def __str__(self) -> str:
        return "tcp" if self.pid is None else f"pid {self.pid} uid {self.uid}"


def peer_of(sock: Socket) -> Peer:
    """Return who is at the other end of an accepted socket."""
    if sock.family != AF_UNIX:
        return Peer(None, None, None)
    try:
        pid, uid, gid = platform.peer_of(sock)
    except OSError:
        return Peer(None, None, None)
    return Peer(gid, pid, uid)


def may_command(sock: Socket) -> bool:
    """Whether the peer of an accepted socket is this user or root; over TCP nobody can tell."""
    if sock.family != AF_UNIX:
        return True
    try:
        _, uid, _ = platform.peer_of(sock)
    except OSError:
        return False
    return uid in (os.geteuid(), 0)
