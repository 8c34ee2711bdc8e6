"""mcp-cli: MCP servers kept warm behind a daemon.

From Python: `mcp_cli.connect()` (see `api`).

    interfaces        what the daemon can be asked: the typed calls between the commands and the pool
    pool              the servers: started on demand, kept, restarted, ended; the SDK is imported here alone
    definition        the daemon: its name, socket, idle time
    api               the servers, from Python
    warm              the same on asyncio, for programs that live long
    serve, front      one MCP server that offers all configured ones
    recording         an exchange captured, and served again
    generate          a typed module, or a command, for a server's tools
"""

from __future__ import annotations

__version__ = "0.1.0"

NAME = "mcp-cli"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mcp_cli.api import connect as connect

__all__ = ["NAME", "__version__", "connect"]


def __getattr__(name: str) -> Any:
    if name == "connect":
        from mcp_cli.api import connect

        return connect
    raise AttributeError(f"module 'mcp_cli' has no attribute {name!r}")
