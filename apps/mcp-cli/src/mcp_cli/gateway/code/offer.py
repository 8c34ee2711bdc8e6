"""`serve --code`: three tools in place of all, to search, to read declarations, and to run a program.

The program is Python, against the module that `generate` writes for each server.  Owns the tools'
definitions and the names of modules and functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mcp_cli.client.api import python_name
from mcp_cli.gateway import generate, lazy
from mcp_cli.gateway.catalog import Catalog, Pairs
from mcp_cli.gateway.code import program, runner
from mcp_cli.gateway.stand_in import Calls, Unfit, said

RUN: Final = "run_program"
_REACHED: Final = "from mcp_cli.gateway.code.program import servers as _servers"


class Code:
    """The three tools; as `StandIn`."""

    def __init__(self) -> None:
        self._runner = runner.Runner()

    async def tools(self) -> list[dict[str, Any]]:
        """As `StandIn.tools`."""
        import asyncio

        return [*_READING, _running(isolated=await asyncio.to_thread(runner.isolates))]

    def instructions(self, servers: Sequence[str]) -> str:
        """As `StandIn.instructions`."""
        modules = ", ".join(f"tools.{name}" for name in _modules(servers).values())
        return (
            f"The tools are functions of Python modules: {modules or 'there are none'}. Find them with"
            f" {lazy.SEARCH}, read their declarations with {lazy.DESCRIBE}, and run a program that calls them"
            f" with {RUN}: its output comes back, so print no more than you need."
        )

    async def answer(self, name: str, given: Mapping[str, Any], catalog: Catalog, calls: Calls) -> str | None:
        """As `StandIn.answer`."""
        if name not in (lazy.SEARCH, lazy.DESCRIBE, RUN):
            return None
        pairs = await catalog.listed("Tools")
        modules = _modules(dict.fromkeys([*await catalog.servers(), *(server for server, _ in pairs)]))
        if name == lazy.SEARCH:
            return said(lazy.found(_named(pairs, modules), given))
        if name == lazy.DESCRIBE:
            return said(_declared(pairs, modules, given))
        code, limit_s = _asked(given)
        texts = {
            modules[server]: generate.module(server, tools, reached=_REACHED)
            for server, tools in _by_server(pairs).items()
        }
        outcome = await self._runner.run(code, texts, calls.by_program, limit_s)
        return said(outcome.text, is_error=outcome.failed)


def _asked(given: Mapping[str, Any]) -> tuple[str, int]:
    """Return a program and its time in seconds.

    Raises:
        Unfit: there is no program, or the time is out of bounds.
    """
    code, limit_s = given.get("code"), given.get("timeout_secs", runner.DEFAULT_S)
    if not isinstance(code, str) or not code.strip():
        raise Unfit("code: a program is needed")
    if len(code.encode("utf-8", "replace")) > runner.MAX_PROGRAM_BYTES:
        raise Unfit(f"code: a program has {runner.MAX_PROGRAM_BYTES} bytes at most")
    if not isinstance(limit_s, int) or isinstance(limit_s, bool) or not 1 <= limit_s <= runner.MAX_S:
        raise Unfit(f"timeout_secs: a whole number from 1 to {runner.MAX_S} is needed")
    return code, limit_s


def _modules(servers: Iterable[str]) -> dict[str, str]:
    """Return the module of each server; two whose names are the same in Python are numbered."""
    found: dict[str, str] = {}
    for server in servers:
        name, number = python_name(server), 2
        while name in found.values():
            name = f"{python_name(server)}_{number}"
            number += 1
        found[server] = name
    return found


def _by_server(pairs: Pairs) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for server, tool in pairs:
        found.setdefault(server, []).append(tool)
    return found


def _named(pairs: Pairs, modules: Mapping[str, str]) -> Pairs:
    """Return the tools under the names of their functions, such as `tools.weather.get_forecast`."""
    functions = {server: generate.names_of(tools) for server, tools in _by_server(pairs).items()}
    return [
        (server, {**tool, "name": f"tools.{modules[server]}.{functions[server][str(tool['name'])]}"})
        for server, tool in pairs
    ]


def _declared(pairs: Pairs, modules: Mapping[str, str], given: Mapping[str, Any]) -> str:
    """Return the declarations of functions.

    Raises:
        Unfit: no names are given, or one names no function.
    """
    by_name = {
        str(named["name"]): tool for (_, tool), (_, named) in zip(pairs, _named(pairs, modules), strict=True)
    }
    return "\n\n".join(
        f"# {name}\n{generate.stub(by_name[name], name.rpartition('.')[2])}"
        for name in lazy.names_in(given, by_name)
    )


_READING: Final[list[dict[str, Any]]] = [
    {**lazy.TOOLS[0], "description": "Find functions by their purpose. Returns names with one line each."},
    {
        **lazy.TOOLS[1],
        "description": "Return declarations of functions, such as tools.weather.get_forecast, with types.",
    },
]


def _running(*, isolated: bool) -> dict[str, Any]:
    network = "It has no network" if isolated else "It has the network of this machine"
    return {
        "name": RUN,
        "description": (
            "Run a Python program that imports the servers' modules, for example `from tools import weather`,"
            " and return its output. A function returns a result with .text, .structured and .images; a"
            f" tool that fails raises. {network} and"
            f" {program_bounds()}; it runs as the user, with the user's files."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {
                "code": {"type": "string", "description": "the program's text"},
                "timeout_secs": {
                    "type": "integer", "minimum": 1, "maximum": runner.MAX_S, "default": runner.DEFAULT_S,
                },
            },
            "required": ["code"],
        },
    }  # fmt: skip


def program_bounds() -> str:
    """Return the bounds of a program, in words."""
    memory = program.MAX_MEMORY_BYTES >> 20
    return f"{memory} MiB of memory, and {runner.MAX_OUTPUT_BYTES >> 10} KiB of output are kept"
