"""Three tools in place of all: search, describe, call.

Owns their definitions and what the first two answer.  Twelve servers have 26,000 tokens of definitions, which
every session of an editor pays for; these have a few hundred, and a model asks for the tools it needs.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from typing import Any, Final

from mcp_cli.gateway.catalog import Catalog
from mcp_cli.gateway.stand_in import Calls, Unfit, said
from mcp_cli.ranking import Ranked

SEARCH, DESCRIBE, CALL = "search_tools", "describe_tools", "call_tool"
MOST_FOUND: Final = 10
MOST_DESCRIBED: Final = 20
ABOUT_CHARS: Final = 200

_TEXT: Final = {"type": "string"}
TOOLS: Final[list[dict[str, Any]]] = [
    {
        "name": SEARCH,
        "description": "Find tools by their purpose. Returns names with one line each, the best first.",
        "inputSchema": {
            "type": "object",
            "properties": {"query": {**_TEXT, "description": "the purpose, in a few words"}},
            "required": ["query"],
        },
        "annotations": {"readOnlyHint": True},
    },
    {
        "name": DESCRIBE,
        "description": "Return whole definitions of tools: parameters and results, with JSON Schemas.",
        "inputSchema": {
            "type": "object",
            "properties": {"names": {"type": "array", "items": _TEXT, "maxItems": MOST_DESCRIBED}},
            "required": ["names"],
        },
        "annotations": {"readOnlyHint": True},
    },
    {
        "name": CALL,
        "description": "Call a tool by its name, with the arguments that its definition asks for.",
        "inputSchema": {
            "type": "object",
            "properties": {"name": _TEXT, "arguments": {"type": "object"}},
            "required": ["name"],
        },
    },
]


class Lazy:
    """The three tools; as `StandIn`."""

    async def tools(self) -> list[dict[str, Any]]:
        """As `StandIn.tools`."""
        return TOOLS

    def instructions(self, servers: Sequence[str]) -> str:
        """As `StandIn.instructions`."""
        return (
            f"The tools of {', '.join(servers) or 'no server'} are not listed. Find them with {SEARCH}, read"
            f" their schemas with {DESCRIBE}, and call them with {CALL}."
        )

    async def answer(self, name: str, given: Mapping[str, Any], catalog: Catalog, calls: Calls) -> str | None:
        """As `StandIn.answer`."""
        if name == CALL:
            return await calls.as_client(*meant(given))
        if name not in (SEARCH, DESCRIBE):
            return None
        pairs = await catalog.listed("Tools")
        servers = [server for server, _ in pairs]
        named = list(zip(servers, catalog.named(pairs), strict=True))
        return said(found(named, given) if name == SEARCH else described(named, given))


def found(tools: Sequence[tuple[str, Mapping[str, Any]]], given: Mapping[str, Any]) -> str:
    """Return the tools that a query means, one a line.

    Args:
        tools: of each the server's name and the definition, named as the client calls it.
        given: the arguments of the search.

    Raises:
        Unfit: there is no query.
    """
    query = given.get("query")
    if not isinstance(query, str) or not query.strip():
        raise Unfit("query: a text is needed")
    items = [(server, {**tool, "json": json.dumps(tool)}) for server, tool in tools]
    best = Ranked(items).best(query)[:MOST_FOUND]
    if not best:
        servers = ", ".join(dict.fromkeys(server for server, _ in tools))
        return f"No tool matches {query!r} among {len(tools)} tools of: {servers or 'no server'}."
    return "\n".join(f"{tools[at][1].get('name')}: {_line(tools[at][1])}" for at, _ in best)


def _line(tool: Mapping[str, Any]) -> str:
    text = " ".join(str(tool.get("description") or tool.get("title") or "").split())
    return text if len(text) <= ABOUT_CHARS else f"{text[: ABOUT_CHARS - 3]}..."


def described(tools: Sequence[tuple[str, Mapping[str, Any]]], given: Mapping[str, Any]) -> str:
    """Return definitions, as JSON.

    Raises:
        Unfit: no names are given, or one is not a tool's.
    """
    by_name = {str(tool.get("name")): tool for _, tool in tools}
    found = [by_name[name] for name in names_in(given, by_name)]
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def names_in(given: Mapping[str, Any], known: Container[str]) -> list[str]:
    """Return the names that are to be described.

    Raises:
        Unfit: no names are given, or one is not known.
    """
    names = given.get("names")
    if not isinstance(names, list) or not names or len(names) > MOST_DESCRIBED:
        raise Unfit(f"names: a list of 1 to {MOST_DESCRIBED} names is needed")
    unknown = [str(name) for name in names if str(name) not in known]
    if unknown:
        raise Unfit(f"there is no tool {', '.join(unknown)}: ask {SEARCH} for names")
    return [str(name) for name in names]


def meant(given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the tool that is to be called, and its arguments.

    Raises:
        Unfit: no name is given, or the arguments are not an object.
    """
    name, arguments = given.get("name"), given.get("arguments") or {}
    if not isinstance(name, str) or not name:
        raise Unfit("name: the name of a tool is needed")
    if not isinstance(arguments, dict):
        raise Unfit("arguments: an object is needed")
    return name, arguments
