"""The access to servers over HTTP, as the daemon is asked for it: granted, taken over, shown, ended.

Owns which server's connection ends with it.  The flows and the tokens are `access`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mcp_cli.pool.access import imported, tokens
from mcp_cli.pool.access.accesses import access_to
from mcp_cli.pool.access.loopback import Loopback
from mcp_cli.protocol.access import Access
from mcp_cli.protocol.interfaces import Event, ServerFailed

if TYPE_CHECKING:
    from mcp_cli.pool.call import PendingCall
    from mcp_cli.pool.server import ManagedServer


def by_browser(kept: ManagedServer, call: PendingCall) -> Callable[[], Awaitable[list[Event]]]:
    """Return the work of letting a user grant access.

    Raises:
        ServerFailed: the server is a process.
    """
    server = kept.server
    if server.kind == "stdio":
        raise _failed(kept, "it is started, not reached over HTTP")

    async def work() -> list[Event]:
        began = time.monotonic()
        async with contextlib.AsyncExitStack() as stack:
            try:
                stored = await asyncio.to_thread(tokens.load, tokens.key_of(server), server.oauth_store)
            except tokens.StoreFailed as error:
                raise _failed(kept, str(error)) from None
            try:
                loopback = await stack.enter_async_context(Loopback(tokens.port_of(stored.redirect_uri)))
            except OSError:  # that port is taken now
                loopback = await stack.enter_async_context(Loopback())
            await kept.authorize(call, loopback)
        return [Event(kind="done", result="{}", ms=round((time.monotonic() - began) * 1000, 3))]

    return work


async def accesses(servers: list[ManagedServer]) -> list[Access]:
    """Return the access to each server that is reached over HTTP."""
    return [await asyncio.to_thread(access_to, one.server) for one in servers if one.server.kind != "stdio"]


async def take(kept: ManagedServer, text: str) -> Access:
    """Store the tokens of another program's JSON, and return the access that they are.

    Raises:
        ServerFailed: it has no tokens of this server, or they cannot be stored.
    """
    server = kept.server
    if server.kind == "stdio":
        raise _failed(kept, "it is started, not reached over HTTP")
    try:
        found = imported.tokens_in(text, server.url, time.time())
        found.url = tokens.key_of(server)
        await asyncio.to_thread(tokens.save, found, server.oauth_store)
    except imported.NotTokens as error:
        raise _failed(kept, f"the file {error}") from None
    except (tokens.StoreFailed, OSError) as error:
        raise _failed(kept, str(error)) from None
    await kept.close()  # the next call connects with them
    return access_to(server)


async def forget(kept: ManagedServer) -> bool:
    """Delete a server's tokens; whether there were any.

    Raises:
        ServerFailed: the keyring cannot be used.
    """
    await kept.close()
    try:
        return await asyncio.to_thread(tokens.forget, tokens.key_of(kept.server), kept.server.oauth_store)
    except tokens.StoreFailed as error:
        raise _failed(kept, str(error)) from None


def _failed(kept: ManagedServer, reason: str) -> ServerFailed:
    return ServerFailed(server=kept.server.name, stage="authorize", reason=reason, stderr=[])
