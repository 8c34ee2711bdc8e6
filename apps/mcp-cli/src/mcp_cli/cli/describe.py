"""`info` and `tool`: what a server is, what a tool takes.

Owns their words.  Settings are shown as they are written in the configuration, so that no `${VAR}` shows
a secret.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from daemonry import errors
from daemonry.cli import kit, terminal
from mcp_cli.cli import call
from mcp_cli.cli.listing import gather
from mcp_cli.client.options import Options
from mcp_cli.client.session import Session
from mcp_cli.config import masked
from mcp_cli.config.model import STDIO, ServerConfig
from mcp_cli.names import NAME
from mcp_cli.output.listed import counted
from mcp_cli.output.printer import say_line
from mcp_cli.pool import arguments
from mcp_cli.pool.definitions import signature as signatures


def info(options: Options, given: argparse.Namespace) -> int:
    """Do `info SERVER [TOOL]`."""
    if given.tool or "/" in given.server:
        server, slash, tool = given.server.partition("/")
        if slash and given.tool:
            raise errors.ArgumentInvalid(given.tool, "is one word too many")
        return _tool(options, server, tool or given.tool, schemas=False)
    with Session(options) as session:
        config = session.server(given.server)
        state = session.ask("Info", given.server, {})
        (gathered,) = gather(session, "Tools", [config], "tool")
    options.printer.document(
        lambda: _info_json(config, state, gathered.items, gathered.filtered),
        lambda: _info_text(config, state, gathered.items, gathered.filtered),
    )
    return kit.DONE


def _info_json(
    config: ServerConfig, state: Mapping[str, Any], items: list[dict[str, Any]], hidden: int
) -> str:
    fields = [
        f'"server":{json.dumps(config.name)}',
        f'"transport":{json.dumps(_transport(config))}',
        f'"state":{json.dumps(state.get("state"))}',
        f'"pid":{json.dumps(state.get("pid") or None)}',
        f'"protocol":{json.dumps(state.get("protocol", ""))}',
        f'"serverInfo":{state.get("info") or "null"}',
        f'"capabilities":{state.get("capabilities") or "null"}',
        f'"instructions":{json.dumps(state.get("instructions") or None)}',
        f'"tools":[{",".join(item["json"] for item in items)}]',
        f'"hidden":{hidden}',
    ]
    return "{" + ",".join(fields) + "}"


def _transport(config: ServerConfig) -> dict[str, Any]:
    if config.kind == STDIO:
        command, *args = masked.command([config.command, *config.args])
        return {"type": config.kind, "command": command, "args": args}
    return {"type": config.kind, "url": masked.text(config.url)}


def _info_text(
    config: ServerConfig, state: Mapping[str, Any], items: list[dict[str, Any]], hidden: int
) -> None:
    told = json.loads(state.get("info") or "{}")
    capabilities = json.loads(state.get("capabilities") or "{}")
    reached = masked.reached(config.command, config.args, config.url)
    rows = [
        ["description", config.description],
        ["server", " ".join(str(told[key]) for key in ("title", "name", "version") if told.get(key))],
        ["transport", f"{config.kind}: {reached}"],
        ["state", str(state.get("state", ""))],
        ["pid", str(state.get("pid") or "")],
        ["protocol", str(state.get("protocol", ""))],
        ["capabilities", ", ".join(sorted(capabilities))],
        ["tools", counted(len(items), "tool") + (f", {hidden} hidden" if hidden else "")],
    ]
    say_line(config.name)
    for line in terminal.aligned([row for row in rows if row[1]], None, "  "):
        say_line(line)
    if state.get("instructions"):
        say_line("  instructions")
        for line in str(state["instructions"]).splitlines():
            say_line(f"    {line}")
    for item in items:
        say_line(f"  {signature(item)}")


def signature(item: Mapping[str, Any]) -> str:
    """Return a tool with its parameters: `get-sum(a: number, b: number)`; optional ones have a `?`."""
    schema = json.loads(item.get("json") or "{}").get("inputSchema") or {}
    required = arguments.required(schema)
    taken = [
        f"{name}{'' if name in required else '?'}: {arguments.described(kind, schema)}"
        for name, kind in arguments.properties(schema).items()
    ]
    return f"{item['name']}({', '.join(taken)})"


def tool(options: Options, given: argparse.Namespace) -> int:
    """Do `tool SERVER/TOOL`."""
    server, name, rest = call.target_of(options, given.target)
    if rest:
        raise errors.ArgumentInvalid(rest[0], "is one word too many")
    return _tool(options, server, name, schemas=given.schemas)


def _tool(options: Options, server: str, name: str, *, schemas: bool) -> int:
    with Session(options) as session:
        item = session.ask("Tool", server, {"tool": name})
    options.printer.definition(item["json"], lambda: _tool_text(item["json"], server, name, schemas=schemas))
    return kit.DONE


def _tool_text(text: str, server: str, name: str, *, schemas: bool) -> None:
    whole = json.loads(text)
    schema = whole.get("inputSchema") or {}
    say_line(f"{server}/{name}" + (f"  {whole['title']}" if whole.get("title") else ""))
    for line in str(whole.get("description") or "").strip().splitlines():
        say_line(f"  {line}")
    _parameters(schema)
    notes = whole.get("annotations") or {}
    said = [word for key, word in _HINTS if notes.get(key) is True]
    if said:
        say_line(f"  hints: {', '.join(said)}")
    if schemas:
        for key in ("inputSchema", "outputSchema"):
            if whole.get(key) is not None:
                say_line(f"  {key}:")
                for line in json.dumps(whole[key], ensure_ascii=False, indent=2).splitlines():
                    say_line(f"    {line}")
    elif whole.get("outputSchema"):
        _gives(whole["outputSchema"])
    say_line(f"  {NAME} call {server}/{name}{_example(schema)}")


_HINTS = (
    ("readOnlyHint", "reads only"),
    ("destructiveHint", "may destroy"),
    ("idempotentHint", "idempotent"),
    ("openWorldHint", "reaches beyond"),
)


def _parameters(schema: Mapping[str, Any]) -> None:
    rows = [
        [one.path, one.type, "required" if one.required else "", one.about]
        for one in signatures.fields(schema)
    ]
    for line in terminal.aligned(rows, None, "    "):
        say_line(line)
    if not rows:
        say_line("    no parameters" if not arguments.open_ended(schema) else "    any parameters")


def _example(schema: Mapping[str, Any]) -> str:
    words = signatures.example(schema)
    return " '{...}'" if words is None else "".join(f" {word}" for word in words)


def _gives(schema: Mapping[str, Any]) -> None:
    """Print the fields of a tool's structured result."""
    rows = [
        [one.path, one.type, "" if one.required else "maybe", one.about] for one in signatures.fields(schema)
    ]
    say_line("  gives:" if rows else "  gives: structured content")
    for line in terminal.aligned(rows, None, "    "):
        say_line(line)
