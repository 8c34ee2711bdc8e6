"""One server's entries: its lists, read page by page, and its tools, which are remembered.

Owns the memory of the tools, and the words for a server that cannot list.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from mcp_cli.pool import freshness
from mcp_cli.pool.call import PendingCall
from mcp_cli.pool.filters import hidden_by
from mcp_cli.pool.results import brief, sendable
from mcp_cli.pool.tools import LISTS, ListedTool, RawTool
from mcp_cli.protocol.interfaces import MaybeRan, Server, ServerRefused, TimedOut

if TYPE_CHECKING:
    from mcp_cli.pool.connection import ServerConnection

# A list that goes on for ever ends here.
MAX_PAGES: Final = 1000


class Listed(Protocol):
    """The server that lists."""

    @property
    def server(self) -> Server:
        """Its definition."""

    @property
    def starts(self) -> int:
        """How often it was started."""

    async def ready(self) -> ServerConnection:
        """Return a connection, starting the server if need be."""

    async def ask(self, call: PendingCall, method: str, params: dict[str, Any]) -> bytes:
        """Ask it for one call."""

    def failed(self, stage: str, reason: str) -> Exception:
        """Return the error to raise where it failed."""


class Lists:
    """The lists of one server.

    Args:
        of: the server.
        on_change: called where its tools are others than they were, and it has not said so.

    Attributes:
        known: its tools by name, once listed; None for not known.
        read_at_s: when they were listed, on the monotonic clock.
    """

    def __init__(self, of: Listed, on_change: Callable[[], None]) -> None:
        self.known: dict[str, ListedTool] | None = None
        self.read_at_s = 0.0
        self._good_until_s = 0.0
        self._ttl_ms: float | None = None
        self._changed = False
        self._told = False
        self._seen: dict[str, bytes] = {}
        self._starts = 0
        self._on_change = on_change
        self._of = of
        self._listing = asyncio.Lock()

    def forget_tools(self) -> None:
        """Have the tools be read again: the server says that they have changed."""
        self.known = None
        self._changed = self._told = True

    async def entries(self, method: str) -> list[bytes]:
        """Return what the server lists, each as its JSON.

        Raises:
            ServerFailed, NeedsAuthorization: it cannot be started, or fails to list them.  No call
                ran: who wanted one had not been asked for it yet.
        """
        key, capability = LISTS[method]
        connection = await self._of.ready()
        if f'"{capability}"' not in connection.capabilities:
            return []
        found: list[bytes] = []
        params: dict[str, Any] = {}
        cursors: list[Any] = []
        for _ in range(MAX_PAGES):
            page = await self._page(method, params)
            self._ttl_ms = _ttl_ms(page.get("ttlMs"))
            try:
                found += map(bytes, msgspec.json.decode(page.get(key, b"[]"), type=list[msgspec.Raw]))
            except msgspec.ValidationError as error:
                raise self._of.failed("list", f"its answer to {method} has no list: {error}") from None
            cursor = msgspec.json.decode(page.get("nextCursor", b"null"))
            if not cursor:
                break
            if cursor in cursors:
                raise self._of.failed("list", f"its pages of {method} go round: a cursor came twice")
            cursors.append(cursor)
            params = {"cursor": cursor}
        return found

    async def _page(self, method: str, params: dict[str, Any]) -> dict[str, msgspec.Raw]:
        call = PendingCall(method, min(self._of.server.timeout_s, self._of.server.start_timeout_s))
        try:
            answer = await self._of.ask(call, method, params)
        except TimedOut as error:
            raise self._of.failed("list", f"no answer to {method} within {error.seconds:g} s") from None
        except MaybeRan as error:
            raise self._of.failed("list", f"{error.reason} when asked for {method}") from None
        except ServerRefused as error:
            reason = f"answered {method} with an error: {brief(error.message)} ({error.code})"
            raise self._of.failed("list", reason) from None
        return msgspec.json.decode(answer, type=dict[str, msgspec.Raw])

    async def tools(self, *, anew: bool = False, shown: bool = False) -> dict[str, ListedTool]:
        """Return the server's tools, by name; those that it listed before, unless `anew` is true.

        Args:
            anew: whether to ask it in any case.
            shown: whether they are for somebody to see: then it is asked where they are out of date.

        Raises:
            As `ask`.
        """
        async with self._listing:
            # Another process may be another version.
            old = shown and (time.monotonic() >= self._good_until_s or self._starts != self._of.starts)
            if self.known is not None and not anew and not old:
                return self.known
            connection = await self._of.ready()
            began_s = time.monotonic()
            self._changed = False
            self._starts = self._of.starts
            server = self._of.server
            tools: dict[str, ListedTool] = {}
            for raw in await self.entries("tools/list"):
                try:
                    read = msgspec.json.decode(raw, type=RawTool)
                except msgspec.ValidationError as error:
                    raise self._of.failed("list", f"one of its tools is not a tool: {error}") from None
                tools[read.name] = ListedTool(
                    read.name,
                    sendable(read.title or ""),
                    sendable(read.description or ""),
                    read.input_schema,
                    read.output_schema,
                    raw,
                    hidden_by(read.name, server.allowed_tools, server.disabled_tools),
                )
            if not self._changed:
                self.known = tools
                self._compare({name: bytes(tool.raw) for name, tool in tools.items()})
            self.read_at_s = began_s
            self._good_until_s = freshness.good_until(began_s, self._ttl_ms, told=connection.tells_of_tools)
            return tools

    def _compare(self, now: dict[str, bytes]) -> None:
        """Notice a change that the server did not report: it is another process, or reports none."""
        before, self._seen = self._seen, now
        told, self._told = self._told, False
        if before and before != now and not told:
            self._on_change()


def _ttl_ms(raw: bytes | None) -> float | None:
    """Return what a list says of its time to live; None for nothing that is a number."""
    try:
        return msgspec.json.decode(raw, type=float) if raw else None
    except msgspec.MsgspecError:
        return None
