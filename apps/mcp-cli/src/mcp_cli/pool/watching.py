"""The call of `interfaces.Mcp` that watches a server, answered.

Owns nothing: the watchers are `live`'s, and the servers those of the pool that this is a part of.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from mcp_cli.pool.server import ManagedServer
from mcp_cli.protocol.interfaces import Event, Mcp


class WatchCalls(Mcp):
    """A part of the pool."""

    def find(self, server: str, fingerprint: str) -> ManagedServer:
        """Return a server that was given."""
        raise NotImplementedError

    def watch(
        self,
        server: str,
        fingerprint: str,
        uris: list[str] = [],  # noqa: B006  # read only
        lists: bool = True,
        passive: bool = False,
    ) -> AsyncGenerator[Event, None]:
        """As `Mcp.watch`."""
        return self.find(server, fingerprint).live.watch(uris, lists=lists, passive=passive)
