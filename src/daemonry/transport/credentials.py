"""The user and process at the other end, and whether they may command us.

Owns the rule: the daemon's own user, and root.  A file mode keeps others away from a socket only
until somebody changes it, and a socket without a file has none, so the peer is asked as well.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX
from _socket import socket as Socket

from daemonry.process import platform
from daemonry.values import Value

# (pid, uid, gid) as the system says; None over TCP, which does not tell.
Ids = tuple[int, int, int] | None


class Peer(Value):
    """The user and process at the other end, as the system says (unix(7), SO_PEERCRED).

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

    @classmethod
    def of(cls, ids: Ids) -> Peer:
        """Return the peer with such ids."""
        if ids is None:
            return _TCP
        pid, uid, gid = ids
        return cls(gid, pid, uid)

    @property
    def may_command(self) -> bool:
        """Whether it is this user or root; over TCP nobody can tell."""
        return self.uid is None or self.uid in (os.geteuid(), 0)

    @property
    def is_own_user(self) -> bool:
        """Whether it is certainly a process of this user; over TCP nobody is."""
        return self.pid is not None and self.uid == os.geteuid()

    def __str__(self) -> str:
        return "tcp" if self.pid is None else f"pid {self.pid} uid {self.uid}"


def ids_of(sock: Socket) -> Ids:
    """Return the peer of an accepted socket, for whoever counts microseconds."""
    if sock.family != AF_UNIX:
        return None
    try:
        return platform.peer_of(sock)
    except OSError:
        return _UNKNOWN


def peer_of(sock: Socket) -> Peer:
    """Return the peer of an accepted socket."""
    return Peer.of(ids_of(sock))


_TCP = Peer(None, None, None)
# What the system itself says where it does not know.
_UNKNOWN = (0, -1, -1)


def may_command(sock: Socket) -> bool:
    """Whether the peer of an accepted socket is this user or root; over TCP nobody can tell."""
    return peer_of(sock).may_command
