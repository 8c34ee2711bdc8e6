"""How a connection subscribes to a server's changes, in both eras of the protocol.

A server of 2026-07-28 is sent one `subscriptions/listen`, whose answer is the stream; one from before is
sent `resources/subscribe` for each URI, and tells of its lists by itself.  Owns the two ways and no watcher.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

from mcp_cli.pool import sdk
from mcp_cli.pool.results import brief
from mcp_cli.protocol.interfaces import ServerFailed, ServerRefused

if TYPE_CHECKING:
    from mcp_cli.pool.connection import ServerConnection

METHOD_NOT_FOUND: Final = -32601
UNSUBSCRIBE_S: Final = 2.0


@contextlib.asynccontextmanager
async def subscribed(
    connection: ServerConnection, uris: Sequence[str], *, lists: bool
) -> AsyncIterator[asyncio.Event]:
    """Be subscribed, and yield an event that is set when the server ends the subscription.

    Raises:
        ServerRefused: it lets nobody subscribe to one of the URIs.
        ServerFailed: the connection ended before it had agreed.
    """
    module = sdk.connection()
    server = connection.server.name
    async with contextlib.AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(connection.server.start_timeout_s):
                if connection.modern:
                    lost = await stack.enter_async_context(module.listening(connection, uris, lists=lists))
                else:
                    lost = await stack.enter_async_context(_older(connection, uris))
        except TimeoutError:
            reason = f"no answer to a subscription within {connection.server.start_timeout_s:g} s"
            raise ServerFailed(server=server, stage="subscribe", reason=reason, stderr=[]) from None
        except module.RequestRefused as error:
            raise ServerRefused(
                server=server, code=error.code, message=brief(error.message), data=error.data
            ) from None
        except module.RequestLost as error:
            raise ServerFailed(server=server, stage="subscribe", reason=brief(error), stderr=[]) from None
        yield lost


@contextlib.asynccontextmanager
async def _older(connection: ServerConnection, uris: Sequence[str]) -> AsyncIterator[asyncio.Event]:
    begun: list[str] = []
    try:
        for uri in uris:
            connection.subscribers[uri] = connection.subscribers.get(uri, 0) + 1
            begun.append(uri)
            if connection.subscribers[uri] == 1:
                await connection.ask("resources/subscribe", {"uri": uri}, None)
        yield asyncio.Event()
    finally:
        for uri in begun:
            connection.subscribers[uri] -= 1
            if not connection.subscribers[uri]:
                del connection.subscribers[uri]
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(UNSUBSCRIBE_S):
                        await connection.ask("resources/unsubscribe", {"uri": uri}, None)
