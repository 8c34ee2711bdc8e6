"""mcp-cli: MCP servers kept warm behind a daemon.

From Python: `mcp_cli.connect()` (see `api`).

    interfaces        what the daemon can be asked: the typed calls between the commands and the pool
    pool              the servers: started on demand, kept, restarted, ended; the SDK is imported here alone
    definition        the daemon: its name, socket, idle time
    api               the servers, from Python
    warm              the same on asyncio, for programs that live long
    again             which of their calls are made again
    serve, front      one MCP server that offers all configured ones
    recording         an exchange captured, and served again
    generate          a typed module, or a command, for a server's tools

The commands:

    cli, call         the entry, and the warm call: what these import is what each call costs
    options, follow, reach, config_cache, config_search, terminal, questions_asked
                      what a warm call needs besides
    commands          all commands, with their help
    listing, shown, asking, daemon_commands, config_commands, further_commands, completion
                      what each does
    session           a command's connection to the servers, in each of the three modes
    starting          starting the daemon
    silence           a daemon that does not answer any more
    failures          how a command that failed says so
    progress, questions, render, tables
                      what a person sees, and is asked

The configuration:

    config            what it means
    config_files      finding and reading it
    config_edit       changing it
    importing         the files of other programs
    positions, variables
                      line and column of a key; `${VAR}`
    arguments         a tool's arguments, of words and by its schema

    ipc               the plain streams, under the original's names
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
