"""Few tools that stand for all: their methods, and the gateway's that they need.

Owns the seam and its words.  `lazy` searches, describes and calls; `code` runs programs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from mcp_cli.gateway.catalog import Catalog
from mcp_cli.gateway.relay import dumps


class Unfit(Exception):
    """A model's arguments do not fit one of these tools; its text says why."""


class Calls(NamedTuple):
    """How a stand-in calls the servers' tools.

    Attributes:
        as_client: given the client's name of a tool and the arguments; as if the client had called it.
        by_program: given a server, its own name of a tool, and the arguments as JSON; returns the result's
            JSON.  A failed call raises CallFailed.
    """

    as_client: Callable[[str, Mapping[str, Any]], Awaitable[str]]
    by_program: Callable[[str, str, str], Awaitable[str]]


class StandIn(Protocol):
    """A few tools in place of all."""

    async def tools(self) -> list[dict[str, Any]]:
        """Return their definitions."""

    def instructions(self, servers: Sequence[str]) -> str:
        """Return the text about them for a model."""

    async def answer(self, name: str, given: Mapping[str, Any], catalog: Catalog, calls: Calls) -> str | None:
        """Return the JSON of a call's result; None where none of them has this name.

        Raises:
            Unfit: the arguments do not fit.
        """


def said(text: str, *, is_error: bool = False) -> str:
    """Return the JSON of a result that is a text."""
    return dumps({"content": [{"type": "text", "text": text}], "isError": is_error})
