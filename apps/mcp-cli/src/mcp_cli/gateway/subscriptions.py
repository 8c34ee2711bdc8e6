"""Changes for a client of the gateway: notifications at any time, or a stream that it requests.

Owns the requests of clients about changes: `resources/subscribe` and what follows a listing, as those from
before 2026 have it, and `subscriptions/listen`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from daemonry import errors
from mcp_cli.client.warm import Warm
from mcp_cli.gateway import modern
from mcp_cli.gateway.catalog import Catalog
from mcp_cli.gateway.changes import LISTS, UPDATED, Changes
from mcp_cli.gateway.faults import NOT_FOUND, Fault
from mcp_cli.gateway.relay import Relay, dumps

LISTEN: Final = "subscriptions/listen"
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
LISTEN_KEYS: Final = ("toolsListChanged", "promptsListChanged", "resourcesListChanged")
# For a server that lets nobody subscribe to say so.
REFUSED_WITHIN_S: Final = 2.0


class Subscriptions:
    """The subscriptions of one client.

    Args:
        warm: the servers.
        catalog: their entries.
        relay: the way to the client.
        lists: whether the client gets changes of lists.
    """

    def __init__(self, warm: Warm, catalog: Catalog, relay: Relay, *, lists: bool) -> None:
        self._warm = warm
        self._catalog = catalog
        self._relay = relay
        self._lists = lists
        self._changes = Changes(warm, self._tell)

    async def _tell(self, what: str, uri: str) -> None:
        await self._relay.notify(UPDATED if uri else LISTS[what], dumps({"uri": uri} if uri else {}))

    async def follow_lists(self) -> None:
        """Tell the client of changed lists from now on: it has seen them once."""
        if self._lists and self._relay.initialized:
            self._changes.lists(await self._catalog.servers())

    async def subscribe(self, params: dict[str, Any]) -> str:
        """Answer `resources/subscribe`.

        Raises:
            Fault, CallFailed: no server lets anybody subscribe to it.
        """
        await self._watched(self._changes, params["uri"])
        return "{}"

    async def unsubscribe(self, params: dict[str, Any]) -> str:
        """Answer `resources/unsubscribe`."""
        await self._changes.end_resource(params["uri"])
        return "{}"

    async def _watched(self, changes: Changes, uri: str) -> None:
        server = await self._catalog.holder(uri)
        names = [server] if server is not None else await self._catalog.servers()
        if len(names) != 1:
            raise Fault(NOT_FOUND, f"there is no resource {uri}")
        task = changes.resource(names[0], uri)
        # A server that refuses does so soon; one that agrees goes on.
        await asyncio.wait((task,), timeout=REFUSED_WITHIN_S)
        if task.done():
            await task

    async def listen(self, number: Any, params: dict[str, Any]) -> str:
        """Answer `subscriptions/listen`: until the client ends it."""
        wanted = params["notifications"]
        lists = {key for key in LISTEN_KEYS if wanted.get(key) is True and self._lists}
        meta = {modern.SUBSCRIPTION: number}

        async def tell(what: str, uri: str) -> None:
            if uri or f"{what}ListChanged" in lists:
                said = {"uri": uri} if uri else {}
                await self._relay.notify(UPDATED if uri else LISTS[what], dumps({**said, "_meta": meta}))

        changes = Changes(self._warm, tell)
        try:
            uris = []
            for uri in wanted.get("resourceSubscriptions") or ():
                with contextlib.suppress(Fault, errors.DaemonryError):
                    await self._watched(changes, str(uri))
                    uris.append(uri)
            if lists:
                changes.lists(await self._catalog.servers())
            honored = dict.fromkeys(sorted(lists), True)
            agreed = {**honored, **({"resourceSubscriptions": uris} if uris else {})}
            await self._relay.notify(ACKNOWLEDGED, dumps({"notifications": agreed, "_meta": meta}))
            await asyncio.Event().wait()
        finally:
            await changes.close()
        return "{}"

    async def close(self) -> None:
        """End all."""
        await self._changes.close()
