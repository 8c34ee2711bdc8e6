"""What the servers behind the gateway have, under the names that its client uses.

Owns the names: `SERVER__NAME` where there are several servers, and a tool's own name where one alone is
offered; and the server that a name, a resource or a template means.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from daemonry import errors
from mcp_cli.client.warm import Warm
from mcp_cli.gateway.faults import INTERNAL_ERROR, INVALID_PARAMS, Fault

# How old a reading of the configuration may be.
READ_AGAIN_S: Final = 2.0
SEPARATOR: Final = "__"
# What names of tools are made of, for those models that are particular.
_ODD = re.compile(r"[^A-Za-z0-9_-]")

Pairs = list[tuple[str, dict[str, Any]]]
Say = Callable[[str, str], Awaitable[None]]


class Catalog:
    """The entries of the servers.

    Args:
        warm: the servers.
        only: the servers that are offered; all of the configuration's if empty.
        say: is given a server's name and why it could not be asked.
    """

    def __init__(self, warm: Warm, only: list[str], say: Say) -> None:
        self._warm = warm
        self._only = only
        self._say = say
        self._resources: dict[str, str] = {}
        self._known: list[str] = []
        self._read_at = float("-inf")

    @property
    def single(self) -> bool:
        """Whether one server alone is offered."""
        return len(self._only) == 1

    async def servers(self, *, anew: bool = False) -> list[str]:
        """Return the names of the servers.

        Raises:
            Fault: one that is to be offered is not in the configuration.
            ConfigError: the configuration cannot be used.
        """
        now = time.monotonic()
        if anew or now - self._read_at > READ_AGAIN_S:
            # A file that changed is seen soon, and not read for each call.
            self._known = [one.name for one in await self._warm.servers()]
            self._read_at = now
        for name in self._only:
            if name not in self._known:
                raise Fault(INTERNAL_ERROR, f"there is no server {name} in the configuration")
        return self._only or self._known

    async def listed(self, method: str) -> Pairs:
        """Return the entries of all servers, each with its server; of one that fails, none and a log line."""
        names = await self.servers(anew=True)

        async def one(name: str) -> Pairs:
            found: Pairs = []
            try:
                stream = self._warm.stream(method, name, {"detail": True}, listing=True)
                async with contextlib.aclosing(stream) as listings:
                    async for listing in listings:
                        if listing["state"].get("error") and not listing.get("items"):
                            await self._say(name, listing["state"]["error"])
                        found += [(name, json.loads(item["json"])) for item in listing.get("items", ())]
            except errors.DaemonryError as error:
                await self._say(name, str(error))
            return found

        return [pair for part in await asyncio.gather(*map(one, names)) for pair in part]

    def named(self, pairs: Pairs) -> list[Any]:
        """Give each entry the name that the client is to use."""
        if self.single:
            return [entry for _, entry in pairs]
        return [{**entry, "name": prefix(server) + str(entry.get("name", ""))} for server, entry in pairs]

    async def meant(self, name: str, sort: str) -> tuple[str, str]:
        """Return the server that a client's name means, and its own name for the thing."""
        names = await self.servers()
        if self.single:
            return names[0], name
        fitting = [one for one in names if name.startswith(prefix(one))]
        if not fitting:
            raise Fault(INVALID_PARAMS, f"there is no {sort} {name}")
        server = max(fitting, key=len)  # `a` and `a__b` may both be servers
        return server, name.removeprefix(prefix(server))

    async def resources(self) -> Pairs:
        """Return the resources of all servers."""
        pairs = await self.listed("Resources")
        self._resources = {str(entry.get("uri")): server for server, entry in pairs}
        return pairs

    async def holder(self, uri: str) -> str | None:
        """Return the server that lists a resource; None for one that is in no list."""
        if uri not in self._resources:
            await self.resources()
        return self._resources.get(uri)

    async def instructions(self) -> str:
        """Return what the servers that have run say of themselves, for a model."""
        parts = []
        names = await self.servers()
        for state in await self._warm.plain("Servers", {}):
            text = str(state.get("instructions") or "").strip()
            if text and state["server"] in names and (state["server"], text) not in parts:
                parts.append((state["server"], text))
        if self.single:
            return parts[0][1] if parts else ""
        return "\n\n".join(f"The tools {prefix(name)}*: {text}" for name, text in parts)


def prefix(server: str) -> str:
    """Return what the names of a server's entries begin with."""
    return _ODD.sub("_", server) + SEPARATOR
