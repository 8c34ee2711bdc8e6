"""mcp-cli: MCP servers kept warm behind a daemon.

From Python: `mcp_cli.connect()` (see `client.api`).

    names       the names that the commands and the daemon share
    protocol    the typed calls between them
    config      the configuration: found, read, checked, cached, edited, imported from other programs
    pool        the servers: started on demand, kept running, restarted, ended; only this part imports the SDK
    client      how a command or a program reaches the daemon or a server, in each of the three modes
    gateway     one MCP server that offers all configured ones; recordings; generated modules and commands
    cli         the command line; `cli.entry` and `cli.call` are what a warm call costs
    ipc         the plain streams, under the original's names
    definition  the daemon: its name, socket, idle time
"""

from __future__ import annotations

from mcp_cli.names import NAME, __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mcp_cli.client.api import connect as connect

__all__ = ["NAME", "__version__", "connect"]


def __getattr__(name: str) -> Any:
    if name == "connect":
        from mcp_cli.client.api import connect

        return connect
    raise AttributeError(f"module 'mcp_cli' has no attribute {name!r}")
