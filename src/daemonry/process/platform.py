"""Chooses the file that knows this system; the names are the same in each.

HAS_RUN_USER            whether /run/user/UID is the user's runtime directory here
UNIX_PATH_MAX           the longest socket path, in bytes
HAS_FD_PATHS            whether /proc/self/fd/N/name reaches into an open directory
HAS_ABSTRACT_SOCKETS    whether `unix:@name` exists
HAS_ACCEPTCONN          whether the option SO_ACCEPTCONN can be asked for
host_id()               tells machines apart that share a home
boot_id()               tells boots of one machine apart
start_time(pid)         when a process started; None when there is no such process
is_stopped(pid)         whether a signal has stopped a process
pid_namespace()         which numbering the pids belong to
keeps_for_others(sock)  whether a service manager listens at the other end, for a program to be started
peer_of(sock)           (pid, uid, gid) of the process at the other end
become_subreaper()      become the parent of orphans among one's descendants, where that exists
bind_private(...)       bind a Unix socket whose file has mode 0600 from birth
"""

from __future__ import annotations

import sys

if sys.platform == "darwin":
    from daemonry.process.platform_darwin import (
        HAS_ABSTRACT_SOCKETS,
        HAS_ACCEPTCONN,
        HAS_FD_PATHS,
        SO_ACCEPTCONN,
        UNIX_PATH_MAX,
        become_subreaper,
        bind_private,
        boot_id,
        is_stopped,
        keeps_for_others,
        peer_of,
        pid_namespace,
        start_time,
    )
else:
    from daemonry.process.platform_linux import (
        HAS_ABSTRACT_SOCKETS,
        HAS_ACCEPTCONN,
        HAS_FD_PATHS,
        SO_ACCEPTCONN,
        UNIX_PATH_MAX,
        become_subreaper,
        bind_private,
        boot_id,
        is_stopped,
        keeps_for_others,
        peer_of,
        pid_namespace,
        start_time,
    )

__all__ = [
    "HAS_ABSTRACT_SOCKETS",
    "HAS_ACCEPTCONN",
    "HAS_FD_PATHS",
    "SO_ACCEPTCONN",
    "UNIX_PATH_MAX",
    "become_subreaper",
    "bind_private",
    "boot_id",
    "is_stopped",
    "keeps_for_others",
    "peer_of",
    "pid_namespace",
    "start_time",
]
