"""Three tools in place of all: search, describe, call.

Owns their definitions and what the first two answer.  Twelve servers have 26,000 tokens of definitions, which
every session of an editor pays for; these have a few hundred, and a model asks for the tools it needs.  Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

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


def instructions(servers: Sequence[str]) -> str:
    """Return the text about these tools for a model."""
    return (
        f"The tools of {', '.join(servers) or 'no server'} are not listed. Find them with {SEARCH}, read"
        f" their schemas with {DESCRIBE}, and call them with {CALL}."
    )


class Unfit(Exception):
    """A model's arguments are not what these tools take; its text says why."""


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
    names = given.get("names")
    if not isinstance(names, list) or not names or len(names) > MOST_DESCRIBED:
        raise Unfit(f"names: a list of 1 to {MOST_DESCRIBED} names is needed")
    by_name = {str(tool.get("name")): tool for _, tool in tools}
    unknown = [str(name) for name in names if str(name) not in by_name]
    if unknown:
        raise Unfit(f"there is no tool {', '.join(unknown)}: ask {SEARCH} for names")
    return json.dumps([by_name[str(name)] for name in names], ensure_ascii=False, separators=(",", ":"))


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
