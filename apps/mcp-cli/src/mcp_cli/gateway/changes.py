"""The changes of servers, on their way to a client of the gateway.

Owns the watches.  A watch of lists is passive: it starts no server, keeps none from its idle end, and starts
no daemon; one that ended with the daemon is begun again by the next request of the client.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from daemonry import errors
from mcp_cli.client.warm import Warm

MOST_WATCHES: Final = 1000
# After a definition was replaced, until the new one is known.
AGAIN_S: Final = 2.0
# The delay of a change, in which equal ones become one.
SETTLE_S: Final = 0.05
LISTS: Final = {
    "tools": "notifications/tools/list_changed",
    "prompts": "notifications/prompts/list_changed",
    "resources": "notifications/resources/list_changed",
}
UPDATED: Final = "notifications/resources/updated"

OnChange = Callable[[str, str], Awaitable[None]]


class Changes:
    """The watches of one client, or of one of its subscriptions.

    Args:
        warm: the servers.
        on_change: gets the sort of the change (tools, prompts, resources, resource), and a resource's URI.
    """

    def __init__(self, warm: Warm, on_change: OnChange) -> None:
        self._warm = warm
        self._on_change = on_change
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def lists(self, servers: Iterable[str]) -> None:
        """Watch the lists of servers, as long as nobody ends them."""
        for server in servers:
            self._begin(server, "")

    def resource(self, server: str, uri: str) -> asyncio.Task[None]:
        """Watch a resource; the task ends with an error where that cannot be done."""
        return self._begin(server, uri)

    def _begin(self, server: str, uri: str) -> asyncio.Task[None]:
        task = self._tasks.get((server, uri))
        if task is None or task.done():
            if len(self._tasks) >= MOST_WATCHES:
                raise errors.ArgumentInvalid(uri or server, f"{MOST_WATCHES} watches are the most")
            task = asyncio.create_task(self._follow(server, uri), name=f"watch of {server} {uri}")
            task.add_done_callback(lambda one: one.cancelled() or one.exception())
            self._tasks[server, uri] = task
        return task

    async def _follow(self, server: str, uri: str) -> None:
        given = {"uris": [uri] if uri else [], "lists": not uri, "passive": not uri}
        while True:
            async with contextlib.aclosing(self._warm.stream("Watch", server, given)) as events:
                async for event in events:
                    if event["kind"] == "changed":
                        await asyncio.sleep(SETTLE_S)
                        await self._tell(event["method"], event.get("text", ""))
            await asyncio.sleep(AGAIN_S)
            self._warm.forget(server)

    async def _tell(self, what: str, uri: str) -> None:
        if what == "missed":
            for one in LISTS:
                await self._on_change(one, "")
            return
        await self._on_change(what, uri)

    async def end_resource(self, uri: str) -> None:
        """Watch a resource no more."""
        for key in [key for key in self._tasks if key[1] == uri]:
            await _cancelled([self._tasks.pop(key)])

    async def close(self) -> None:
        """End all watches."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        await _cancelled(tasks)


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
