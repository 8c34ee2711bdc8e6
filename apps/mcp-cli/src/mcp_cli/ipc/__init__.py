"""IPC as the original names it: a server that accepts streams, a client that connects to one.

    create_ipc_server(path)     an `IpcServer` for this platform
    create_ipc_client()         an `IpcClient` for it
    get_socket_path()           where the daemon's socket is
    cleanup_socket_file(path)   removes a socket file, if there is one

    IpcServer, IpcClient, IpcStream
                                what they are, on every platform
    IpcError, SocketBindError, ConnectionRefused, StaleSocket
                                how they fail; each tells the path

Thin over daemonry's transport, which stands where the original has the crate `interprocess`: one abstraction
over the platforms.  Callers see no platform's type, and nothing outside this package names one.
"""

from __future__ import annotations

from daemonry.errors import ConnectionRefused, IpcError, SocketBindError, StaleSocket
from mcp_cli.ipc.platform import (
    cleanup_socket_file,
    create_ipc_client,
    create_ipc_server,
    get_socket_path,
)
from mcp_cli.ipc.streams import IpcClient, IpcServer, IpcStream

__all__ = [
    "ConnectionRefused",
    "IpcClient",
    "IpcError",
    "IpcServer",
    "IpcStream",
    "SocketBindError",
    "StaleSocket",
    "cleanup_socket_file",
    "create_ipc_client",
    "create_ipc_server",
    "get_socket_path",
]
