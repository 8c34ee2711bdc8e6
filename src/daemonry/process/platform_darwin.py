"""What only macOS has: libproc, boot session ids, peer credentials.

Written after Apple's headers and manual pages (sys/un.h, sys/ucred.h, libproc.h, unistd.h);
not run in this project's own tests, which are on Linux.
"""

from __future__ import annotations

import os

from daemonry.limits import UNIX_PATH_MAX_OTHER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from typing import Final

HAS_FD_PATHS: Final = False
HAS_ABSTRACT_SOCKETS: Final = False
HAS_ACCEPTCONN: Final = False
SO_ACCEPTCONN: Final = 2
UNIX_PATH_MAX: Final = UNIX_PATH_MAX_OTHER

_SOL_LOCAL = 0
_LOCAL_PEERCRED = 0x001
_LOCAL_PEERPID = 0x002
_PROC_PIDTBSDINFO = 3
_SZOMB = 5


def boot_id() -> str:
    """Return the id of this boot session (sysctl kern.bootsessionuuid)."""
    import ctypes

    libc = ctypes.CDLL(None)
    value = ctypes.create_string_buffer(64)
    size = ctypes.c_size_t(64)
    if libc.sysctlbyname(b"kern.bootsessionuuid", value, ctypes.byref(size), None, 0) != 0:
        return ""
    return value.value.decode("ascii")


def start_time(pid: int) -> int | None:
    """Return when process `pid` started, in microseconds since 1970; None for none, or a zombie."""
    import ctypes

    # struct proc_bsdinfo: pbi_flags, pbi_status, ... pbi_start_tvsec and pbi_start_tvusec at its end.
    info = (ctypes.c_uint8 * 136)()
    size = ctypes.CDLL("/usr/lib/libproc.dylib").proc_pidinfo(
        pid, _PROC_PIDTBSDINFO, ctypes.c_uint64(0), info, 136
    )
    if size != 136:
        return None
    packed = bytes(info)
    if int.from_bytes(packed[4:8], "little") == _SZOMB:
        return None
    return int.from_bytes(packed[120:128], "little") * 1_000_000 + int.from_bytes(packed[128:136], "little")


def is_stopped(pid: int) -> bool:
    """Whether a signal has stopped process `pid`; not looked for here."""
    return False


def pid_namespace() -> str:
    """Return "": there is one numbering."""
    return ""


def peer_of(sock: Socket) -> tuple[int, int, int]:
    """Return (pid, uid, gid) of the process at the other end of a Unix socket (struct xucred)."""
    packed = sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 76)
    pid = sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID)
    assert isinstance(packed, bytes)
    return pid, int.from_bytes(packed[4:8], "little"), int.from_bytes(packed[12:16], "little")


def keeps_for_others(sock: Socket) -> bool:
    """Whether who listens at the other end does so for a program to be started; nobody can tell here."""
    del sock
    return False


def bind_private(sock: Socket, address: str) -> None:
    """Bind `sock` with a umask that leaves its file mode 0600.

    The umask is the process's, so other threads that make files meanwhile get it too: bind early.
    """
    before = os.umask(0o177)
    try:
        sock.bind(address)
    finally:
        os.umask(before)


def become_subreaper() -> bool:
    """Say that there are no subreapers here: orphans are launchd's."""
    return False
