"""The servers, for a program that lives long and asks much: on asyncio, through the daemon.

Owns what such a program meets in its life and a command does not: the daemon ends and is started again, the
configuration changes, several calls are under way.  Each call has a connection of its own, so to leave it is
to cancel it and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from daemonry import AsyncClient, CallError, errors
from mcp_cli.client import connect
from mcp_cli.client.options import DIRECT, REQUIRE, Options
from mcp_cli.client.retry import CallAttempts
from mcp_cli.client.session import START_TIMEOUT_S, NoSuchServer, Session
from mcp_cli.config.model import ServerConfig
from mcp_cli.names import INTERFACE, NAME

# Methods with one reply, and those whose first may be long in coming.
_SINGLE = (
    *("Answer", "Cancel", "Complete", "Configure", "Detach", "Info", "Questions", "Servers", "Task", "Tasks"),
    "Tool",
)
_ENDLESS = ("Follow", "Watch")

Events = AsyncGenerator[dict[str, Any], None]


class Warm:
    """The servers of a configuration.

    Args:
        options: as a command has them: which configuration, which mode.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._session = Session(options)
        self._refs: dict[str, dict[str, str]] = {}
        self._pool: Any = None

    async def servers(self) -> list[ServerConfig]:
        """Return the servers of the configuration, as it is now.

        Raises:
            ConfigError: it cannot be used.
        """
        # A new session reads the file again; what did not change keeps its fingerprint, and so its process.
        session = Session(self._options)
        every = list((await asyncio.to_thread(lambda: session.config)).enabled())
        self._session = session
        self._refs.clear()
        return every

    async def ref(self, server: str) -> dict[str, str]:
        """Return how a server is called, giving its definition if need be.

        Raises:
            NoSuchServer, ConfigError: there is none of that name, or it cannot be used.
        """
        if server not in self._refs:
            definition = self._session.definition(self._session.server(server))
            async with contextlib.aclosing(self._once("Configure", {"servers": [definition]})) as replies:
                async for _ in replies:
                    pass
            self._refs[server] = {"server": server, "fingerprint": definition["fingerprint"]}
        return self._refs[server]

    async def stream(
        self, method: str, server: str, parameters: dict[str, Any], *, listing: bool = False
    ) -> Events:
        """Call a method about one server, and yield its events, or its one reply.

        Args:
            method: its name in the interface.
            server: the server's name.
            parameters: its other parameters.
            listing: whether the method takes several servers.

        Raises:
            As `ref`, and CallFailed: as the method.
        """
        attempts = CallAttempts()
        while True:
            ref = await self.ref(server)
            given = {"servers": [ref], **parameters} if listing else {**ref, **parameters}
            try:
                async with contextlib.aclosing(self._once(method, given)) as events:
                    async for event in events:
                        attempts.begun = True
                        yield event
            except errors.DaemonryError as error:
                if not attempts.again(error):
                    raise
                if isinstance(error, errors.Draining):
                    await self._start()
            else:
                return
            self._refs.pop(server, None)  # the daemon is another one by now

    async def plain(self, method: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        """Call a method that is about no server, and return its replies; of a list, its entries.

        Raises:
            CallFailed: as the method.
        """
        async with contextlib.aclosing(self._once(method, parameters)) as replies:
            found = [reply async for reply in replies]
        if len(found) == 1 and isinstance(found[0].get("result"), list):
            return list(found[0]["result"])
        return found

    def forget(self, server: str) -> None:
        """Have a server's definition be read and given again by the next call."""
        self._refs.pop(server, None)

    async def _once(self, method: str, parameters: dict[str, Any]) -> Events:
        if self._options.mode == DIRECT:
            async for event in self._here(method, parameters):
                yield event
            return
        client = await self._connect()
        try:
            if method in _SINGLE:
                yield await client.call(f"{INTERFACE}.{method}", parameters, timeout_s=START_TIMEOUT_S)
                return
            if method in _ENDLESS:
                given = client.stream(f"{INTERFACE}.{method}", parameters, first_s=math.inf)
            else:
                idle_s = self._session.patience_s(parameters)
                given = client.stream(f"{INTERFACE}.{method}", parameters, idle_s=idle_s)
            async with contextlib.aclosing(given) as events:
                async for event in events:
                    yield event
        finally:
            client.close()

    async def _connect(self) -> AsyncClient:
        path = f"unix:{connect.socket_path()}"
        try:
            return await AsyncClient.connect(path)
        except (errors.NotListening, errors.ConnectionRefused):
            await self._start()
        return await AsyncClient.connect(path)

    async def _start(self) -> None:
        """Have a daemon that is ready; one that is ending is waited for."""
        if self._options.mode == REQUIRE:
            raise errors.NotRunning(NAME)
        (await asyncio.to_thread(self._session.start_daemon)).close()

    async def _here(self, method: str, parameters: dict[str, Any]) -> Events:
        """Do the same with a pool in this process."""
        from mcp_cli.pool.service import ServerPool
        from mcp_cli.protocol.interfaces import Ref, Server

        if self._pool is None:
            self._pool = ServerPool()
        kinds = {"Configure": Server}
        given = dict(parameters)
        if "servers" in given:
            given["servers"] = msgspec.convert(given["servers"], list[kinds.get(method, Ref)])  # type: ignore[misc]
        try:
            result = getattr(self._pool, method.lower())(**given)
            if hasattr(result, "__aiter__"):
                async with contextlib.aclosing(result) as events:
                    async for event in events:
                        yield msgspec.to_builtins(event)
                return
            value = await result
            made = msgspec.to_builtins(value)
            yield made if isinstance(value, msgspec.Struct) else {"result": made}
        except CallError as error:
            raise errors.CallFailed(f"{INTERFACE}.{type(error).__name__}", error.parameters) from None

    async def answer(self, question: str, result: str) -> None:
        """Answer a question; one that nobody asks any more is let go."""
        with contextlib.suppress(errors.CallFailed):
            async with contextlib.aclosing(
                self._once("Answer", {"id": question, "result": result})
            ) as replies:
                async for _ in replies:
                    pass

    async def close(self) -> None:
        """End the servers that this process started."""
        if self._pool is not None:
            await self._pool.close()


__all__ = ["NoSuchServer", "Warm"]
