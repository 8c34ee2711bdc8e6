"""mcp-cli: MCP servers kept warm behind a daemon.

interfaces        what the daemon can be asked: the typed calls between the commands and the pool
pool              the servers: started on demand, kept, restarted, ended; the SDK is imported here alone
definition        the daemon: its name, socket, idle time
"""

from __future__ import annotations

__version__ = "0.1.0"

NAME = "mcp-cli"
