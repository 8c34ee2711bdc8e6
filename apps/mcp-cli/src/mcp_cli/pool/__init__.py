"""The pool: MCP servers, started on demand, kept, restarted, ended.

    service       the calls of `interfaces.Mcp`, answered
    server        one server: its calls, and its messages meanwhile
    call          one call that is under way
    server_state  a server's life as a table, which lifecycle performs
    launcher      how a server is started, or reached
    tools, lists  the lists of servers, and the memory of them
    sdk           how the SDK is imported
    connection    one connection to a server: the SDK's client in a task, and what passes through it
    callbacks     what a server tells and asks on a connection
    stdio         a server that is a child process: its pipes, lines, stderr, end
    http          a server that is reached over HTTP
    tap           whose answer is this?  What passes between the SDK and a server, seen from beside
    filters       which tools the configuration shows
    results       what a result is: its text for people, its pieces
    redact        secrets kept out of texts
    granting      the access to servers over HTTP, as the daemon is asked for it
    access        OAuth: the flows, the tokens and their renewal, and where the browser comes back to
    direct        the pool in this process, for commands that use no daemon

Only `connection`, `callbacks`, `http` and `tap` import the SDK, which takes most of a second, and
they are imported (by `sdk`) when the first server is started, while its process starts.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mcp_cli.pool.direct import Direct


def in_this_process(*, for_command: bool = False) -> Direct:
    """Return a pool in this process; whoever asked for it closes it.

    Args:
        for_command: whether the process is a command of ours, which has little to end with.
    """
    from mcp_cli.pool import sdk, stdio
    from mcp_cli.pool.direct import Direct

    if not for_command:
        return Direct()
    sdk.trim()
    return Direct(stdio.COMMAND_END_S)
