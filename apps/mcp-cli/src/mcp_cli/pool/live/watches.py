"""The changes of one server, passed on to those who watch it.

Owns the watchers and the bound on their changes.  A change says only that something is to be read again
("level trigger", as the specification of `subscriptions/listen` has it), so equal ones that wait for a
watcher are one, and a watcher that never reads costs a bounded amount.  How a connection subscribes is
`subscriptions`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from mcp_cli.pool.live.subscriptions import subscribed
from mcp_cli.protocol.interfaces import Event, NeedsAuthorization, Server, ServerFailed

if TYPE_CHECKING:
    from mcp_cli.pool.connection import ServerConnection

# Distinct changes that may wait for one watcher.  What is beyond is one change more: "missed".
MOST_PENDING: Final = 1000
# A server that was watched and went away is tried again so often, after so many seconds, then twice that.
ATTEMPTS: Final = 6
FIRST_RETRY_S: Final = 0.5

TOOLS_CHANGED: Final = "notifications/tools/list_changed"
_LISTS: Final = {
    TOOLS_CHANGED: "tools",
    "notifications/prompts/list_changed": "prompts",
    "notifications/resources/list_changed": "resources",
}
UPDATED: Final = "notifications/resources/updated"
MISSED: Final = "missed"


class Watch:
    """One watcher: the changes that wait for it.

    Args:
        uris: the resources that it watches.
        lists: whether it wants to hear of changed lists.
    """

    def __init__(self, uris: Sequence[str], *, lists: bool) -> None:
        self.uris = tuple(uris)
        self.lists = lists
        self._pending: dict[tuple[str, str], None] = {}
        self._came = asyncio.Event()

    def __len__(self) -> int:
        return len(self._pending)

    def change(self, what: str, uri: str = "") -> None:
        """Add a change, unless an equal one waits or it was not asked for."""
        if not (self.lists if what != "resource" else self._covers(uri)):
            return
        if len(self._pending) >= MOST_PENDING and (what, uri) not in self._pending:
            what, uri = MISSED, ""
        self._pending[what, uri] = None
        self._came.set()

    def _covers(self, uri: str) -> bool:
        # A server may name a part of the resource that was subscribed to.
        return any(uri == one or uri.startswith(one.rstrip("/") + "/") for one in self.uris)

    async def next(self) -> Event:
        """Return the next change."""
        while not self._pending:
            self._came.clear()
            await self._came.wait()
        what, uri = next(iter(self._pending))
        del self._pending[what, uri]
        return Event(kind="changed", method=what, text=uri)


class Watched(Protocol):
    """The server that is watched."""

    @property
    def server(self) -> Server:
        """Its definition."""

    async def ready(self, note: Callable[[str], None] = ...) -> ServerConnection:
        """Return a connection, starting the server if need be."""

    async def connected(self) -> ServerConnection:
        """Wait until somebody else has it started, and return the connection."""


class Live:
    """The watchers of one server.

    Args:
        of: the server.

    Attributes:
        active: how many watchers keep the server in use.
    """

    def __init__(self, of: Watched) -> None:
        self.active = 0
        self._of = of
        self._watches: list[Watch] = []
        self._over = asyncio.Event()

    def changed(self, method: str, uri: str = "") -> None:
        """Pass a notification of the server on."""
        what = "resource" if method == UPDATED else _LISTS.get(method)
        if what is not None:
            for watch in self._watches:
                watch.change(what, uri)

    def end(self) -> None:
        """Have every watch end: the server's definition is not in use any more."""
        self._over.set()

    async def watch(
        self, uris: Sequence[str], *, lists: bool, passive: bool = False
    ) -> AsyncGenerator[Event, None]:
        """Yield a `watching` event for each connection that is subscribed to, and the changes.

        Args:
            uris: the resources that are watched.
            lists: whether changed lists are wanted.
            passive: whether the server is neither started nor kept from its idle end.

        Raises:
            ServerFailed, NeedsAuthorization: it cannot be started, or not any more.
            ServerRefused: it lets nobody subscribe.
        """
        watch = Watch(uris, lists=lists)
        self._watches.append(watch)
        self.active += not passive
        failures = 0
        begun = False
        try:
            while not self._over.is_set():
                try:
                    connection = await self._connection(passive=passive)
                    if connection is None:
                        return
                    async with subscribed(connection, uris, lists=lists) as lost:
                        yield Event(kind="watching", text="again" if begun else "")
                        begun, failures = True, 0
                        while (event := await self._next(watch, connection, lost)) is not None:
                            yield event
                except (ServerFailed, NeedsAuthorization):
                    failures += 1
                    if not begun or failures >= ATTEMPTS:
                        raise
                    await self._pause(FIRST_RETRY_S * 2 ** (failures - 1))
        finally:
            self.active -= not passive
            self._watches.remove(watch)

    async def _connection(self, *, passive: bool) -> ServerConnection | None:
        """Return a connection; None where the watch is over first."""
        got = asyncio.ensure_future(self._of.connected() if passive else self._of.ready())
        over = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait((got, over), return_when=asyncio.FIRST_COMPLETED)
            return await got if got.done() else None
        finally:
            over.cancel()
            got.cancel()

    async def _next(self, watch: Watch, connection: ServerConnection, lost: asyncio.Event) -> Event | None:
        """Return the next change; None where the subscription has ended."""
        waits = {
            asyncio.create_task(one) for one in (connection.ended.wait(), lost.wait(), self._over.wait())
        }
        change = asyncio.create_task(watch.next())
        try:
            await asyncio.wait({change, *waits}, return_when=asyncio.FIRST_COMPLETED)
            return change.result() if change.done() else None
        finally:
            for one in (change, *waits):
                one.cancel()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()
