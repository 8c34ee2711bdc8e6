"""The servers as the daemon's page shows them: their states, their tools, and the calls under way.

Owns the form of that.  Nothing is started or asked for it: tools are those that were listed before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mcp_cli.pool.service import ServerPool
    from mcp_cli.protocol.interfaces import ServerState

# More tools, and calls, of one server than this are counted and not named.
MOST: Final = 200


async def servers_shown(pool: ServerPool) -> list[dict[str, Any]]:
    """Return all servers of a pool, as JSON has them."""
    return [_shown(pool, state) for state in await pool.servers()]


def _shown(pool: ServerPool, state: ServerState) -> dict[str, Any]:
    kept = pool.known(state.server, state.fingerprint)
    tools = None if kept is None else kept.lists.known
    return {
        "server": state.server,
        "fingerprint": state.fingerprint,
        "kind": state.kind,
        "state": state.state,
        "pid": state.pid,
        "starts": state.starts,
        "start_ms": state.start_ms,
        "ping_ms": state.ping_ms,
        "error": state.error,
        "stderr": state.stderr,
        "calls": [] if kept is None else [call.label for call in list(kept.calls)[:MOST]],
        "calls_count": state.calls,
        "tools": None if tools is None else [name for name, tool in tools.items() if not tool.hidden][:MOST],
    }
