"""What a shell offers for servers, tools, prompts, resources, and a tool's parameters with their choices.

Owns where these come from: servers from the configuration, tools and parameters from the daemon that runs;
none is started for it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from daemonry import errors
from daemonry.cli import completion
from daemonry.cli.completion import Cursor, Offer
from daemonry.cli.grammar import ValueKind
from mcp_cli import NAME
from mcp_cli.cli import call
from mcp_cli.cli.grammar import ARGUMENT, EDITOR, IMPORT_SOURCE, MCP_CLI, OF_A_SERVER, PROTOCOL
from mcp_cli.client import connect
from mcp_cli.client.options import Options, environment
from mcp_cli.client.session import Session
from mcp_cli.config import files, importers
from mcp_cli.gateway import editor_config
from mcp_cli.names import INTERFACE, PROTOCOLS
from mcp_cli.pool import arguments

# How long a shell waits for a server's lists.
PATIENCE_S: Final = 1.0

_SERVERS: Final = frozenset(
    ("list", "info", "ping", "restart", "auth", "resources", "prompts", "serve", "generate")
)
_TOOLS: Final = frozenset(("call", "tool"))


def script(options: Options, given: argparse.Namespace) -> int:
    """Print the completion script of a shell."""
    del options
    return completion.print_script(given.shell, NAME)


def answer(words: list[str]) -> int:
    """Print what may stand in place of the last of `words`, one a line, and return the exit code."""
    offers: dict[ValueKind, Offer] = {
        OF_A_SERVER: _offer,
        ARGUMENT: _offer,
        PROTOCOL: lambda cursor: PROTOCOLS,
        EDITOR: lambda cursor: editor_config.FORMS,
        IMPORT_SOURCE: lambda cursor: importers.SOURCES,
    }
    return completion.answer(MCP_CLI, words, offers)


def _offer(cursor: Cursor) -> Iterable[str]:
    options = Options()
    options.config, options.stdio, options.url = map(cursor.value, ("-c", "--stdio", "--url"))
    try:
        return list(_words(options, [*cursor.path.split(), *cursor.words], cursor.current))
    except (errors.DaemonryError, OSError, ValueError, KeyError):
        return []  # a shell has no place for errors


def _words(options: Options, before: list[str], last: str) -> Iterator[str]:
    command = before[0]
    if command == "auth" and len(before) == 1:
        yield "status"
    if (
        before[:2] == ["config", "remove"]
        or before[:2] == ["auth", "status"]
        or (command in _SERVERS and len(before) == 1)
    ):
        yield from _server_names(options)
    elif command == "info" and len(before) == 2:
        yield from (item["name"] for item in _items(options, "Tools", before[1]))
    elif command in _TOOLS:
        yield from _call(options, before, last)
    elif command in ("prompt", "complete"):
        yield from _of_server(options, before, last, "Prompts")
    elif command == "read":
        yield from _server_names(options) if len(before) == 1 else ()
        for server in [before[1]] if len(before) == 2 else _server_names(options):
            yield from (item["name"] for item in _items(options, "Resources", server))


def _server_names(options: Options) -> Iterator[str]:
    for one in files.load(options.config, environment()).enabled():
        yield one.name


def _of_server(options: Options, before: list[str], last: str, method: str) -> Iterator[str]:
    if len(before) > 1:
        return
    server, slash, _ = last.partition("/")
    if not slash:
        yield from (f"{name}/" for name in _server_names(options))
        return
    yield from (f"{server}/{item['name']}" for item in _items(options, method, server))


def _call(options: Options, before: list[str], last: str) -> Iterator[str]:
    if len(before) == 1:
        yield from _of_server(options, before, last, "Tools")
        return
    if "/" not in before[1] and len(before) == 2:
        yield from (item["name"] for item in _items(options, "Tools", before[1]))
        return
    if before[0] != "call":
        return
    server, tool, _ = call.target_of(options, before[1:])
    for item in _items(options, "Tools", server):
        if item["name"] == tool:
            yield from _parameters(json.loads(item["json"]).get("inputSchema") or {}, last)


def _parameters(schema: dict[str, Any], last: str) -> Iterator[str]:
    known = arguments.properties(schema)
    dashes = "--" if last.startswith("--") else ""
    key, equals, _ = last.removeprefix("--").partition("=")
    if not equals:
        yield from (f"{dashes}{name}=" for name in known)
        return
    kind = known.get(key)
    if isinstance(kind, dict):
        choices = kind.get("enum") or (["true", "false"] if kind.get("type") == "boolean" else [])
        choices = choices if isinstance(choices, list) else []
        yield from (f"{dashes}{key}={choice}" for choice in choices)


def _items(options: Options, method: str, server: str) -> list[dict[str, Any]]:
    """Return what a server has, from the daemon that runs, without waiting long; nothing where none does."""
    if connect.try_connect() is None:
        return []
    options.mode = "require"
    session = Session(options)
    with session:
        refs = session.configure([session.server(server)])
        items: list[dict[str, Any]] = []
        listings = session.client.stream(
            f"{INTERFACE}.{method}", {"servers": refs, "detail": True}, idle_s=PATIENCE_S
        )
        for listing in listings:
            items += listing.get("items", [])
        return items
