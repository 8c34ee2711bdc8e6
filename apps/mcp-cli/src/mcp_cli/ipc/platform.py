"""Chooses the platform's own server and client.

Owns the choice; nobody else makes it.
"""

from __future__ import annotations

import os
import sys

from daemonry.errors import IpcError
from mcp_cli.client import connect
from mcp_cli.ipc.streams import IpcClient, IpcServer


def get_socket_path() -> str:
    """Return the daemon's socket: `mcp-cli/daemon.sock` in the user's runtime directory.

    That is $XDG_RUNTIME_DIR where it is the user's alone, else /run/user/UID, else /tmp/mcp-cli-UID.
    """
    return connect.socket_path()


def create_ipc_server(path: str | os.PathLike[str]) -> IpcServer:
    """Return a server that listens at `path`.

    The directory is made if it is missing, a stale socket is removed, and where that fails a warning is
    written and binding is tried all the same.  A live server's socket is never removed.

    Raises:
        SocketBindError: the path is taken, or the system refused; it tells both.
        IpcError: this platform has no such sockets.
    """
    _refuse_windows()
    from mcp_cli.ipc.unix import UnixIpcServer

    return UnixIpcServer(os.fspath(path))


def create_ipc_client() -> IpcClient:
    """Return a client.

    Raises:
        IpcError: this platform has no such sockets.
    """
    _refuse_windows()
    from mcp_cli.ipc.unix import UnixIpcClient

    return UnixIpcClient()


def _refuse_windows(platform: str = sys.platform) -> None:
    if platform == "win32":
        raise IpcError("Windows has no IPC here yet: named pipes are planned (use WSL)")


def cleanup_socket_file(path: str | os.PathLike[str]) -> None:
    """Remove a socket file, if there is one; never raises."""
    try:
        os.unlink(path)
    except OSError:
        return
