"""What only Linux has: procfs, pidfds, peer credentials, private binding."""

from __future__ import annotations

import os

from daemonry.limits import UNIX_PATH_MAX_LINUX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from typing import Final

HAS_FD_PATHS: Final = True
HAS_ABSTRACT_SOCKETS: Final = True
HAS_ACCEPTCONN: Final = True
SO_ACCEPTCONN: Final = 30
UNIX_PATH_MAX: Final = UNIX_PATH_MAX_LINUX

_SOL_SOCKET = 1
_SO_PEERCRED = 17


def boot_id() -> str:
    """Return the kernel's id of this boot."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def start_time(pid: int) -> int | None:
    """Return when process `pid` started, in clock ticks since boot; None for none, or a zombie.

    Field 22 of proc_pid_stat(5).  The name in field 2 may have blanks and brackets in it, so the
    fields are counted from the last closing one.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if len(fields) < 20 or fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def is_stopped(pid: int) -> bool:
    """Whether a signal, or a debugger, has stopped process `pid`: state T or t of proc_pid_stat(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split(None, 1)[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False


def pid_namespace() -> str:
    """Return the id of the numbering that this process's pids belong to."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def peer_of(sock: Socket) -> tuple[int, int, int]:
    """Return (pid, uid, gid) of the process that connected to, or listened on, a Unix socket.

    unix(7): as they were at connect() and at listen().
    """
    packed = sock.getsockopt(_SOL_SOCKET, _SO_PEERCRED, 12)
    assert isinstance(packed, bytes)
    pid, uid, gid = memoryview(packed).cast("I")
    return pid, uid, gid


def keeps_for_others(sock: Socket) -> bool:
    """Whether who listens at the other end of a connected socket does so for a program to be started.

    That is systemd, or somebody who keeps a socket whose last listener has ended: a daemon that systemd
    started has listened there since, and the kernel tells of that one.
    """
    pid = peer_of(sock)[0]
    if pid == 0:
        return False  # of another container
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read(16).startswith(b"systemd")
    except FileNotFoundError:
        return True
    except OSError:
        return False


def bind_private(sock: Socket, address: str) -> None:
    """Bind `sock` so that its file is born with mode 0600, whatever the umask.

    The kernel gives a socket file the mode of the socket's own inode (less the umask), so no
    moment exists in which others could connect, and the process's umask is left alone.
    """
    os.fchmod(sock.fileno(), 0o600)
    sock.bind(address)


def become_subreaper() -> bool:
    """Become the parent of those whose parent has ended, among all that this process starts.

    prctl(2), PR_SET_CHILD_SUBREAPER.  Says whether that could be done.
    """
    import ctypes

    try:
        return bool(ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False
