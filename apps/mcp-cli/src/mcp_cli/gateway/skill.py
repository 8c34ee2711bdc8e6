"""`mcp-cli generate --skill`: a SKILL.md by which an agent with a shell uses a server's tools.

Owns the text.  It has of each tool its signature and an example that passes the check of a call; the whole
schema is a command away.  Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from daemonry.terminal_text import printable
from mcp_cli.names import NAME
from mcp_cli.pool.definitions import signature

# The form of a skill's file limits both.
MAX_NAME: Final = 64
MAX_DESCRIPTION: Final = 1024
ABOUT_CHARS: Final = 400


def skill(server: str, tools: Iterable[Mapping[str, Any]], words: str = "") -> str:
    """Return the text of a server's skill.

    Args:
        server: its name.
        tools: as it lists them.
        words: what a call has before `call`, such as ` -c FILE`.
    """
    tools = list(tools)
    names = ", ".join(str(tool["name"]) for tool in tools)
    about = f"Use the tools of the MCP server {server} from a shell: {names}"
    called = re.sub(r"[^a-z0-9]+", "-", server.lower()).strip("-")[:MAX_NAME] or "server"
    command = f"{NAME}{words}"
    parts = [
        "---\n",
        f"name: {called}\n",
        f"description: {_quoted(about)}\n",
        "---\n\n",
        f"# {printable(server)}\n\n",
        f"Call a tool with `{command} call {server}/TOOL key=value ...`; fields of objects are\n",
        "`p.name=value`, and all arguments may be one JSON object. Wrong arguments are not sent.\n\n",
        f"`{command} tool {server}/TOOL` shows all that a tool takes and gives.\n\n",
        "Exit codes: 0 done, 1 the tool failed, 2 arguments do not fit, 5 nothing ran, 6 it may have run:\n",
        "look before you call again. A long call: `--detach` prints an id, and\n",
        f"`{command} task wait ID --timeout 100` waits for it.\n",
        *(_tool(command, server, tool) for tool in tools),
    ]
    return "".join(parts)


def _quoted(text: str) -> str:
    """Return a text as one line of YAML."""
    said = printable(" ".join(text.split()))
    said = said if len(said) <= MAX_DESCRIPTION else f"{said[: MAX_DESCRIPTION - 3]}..."
    return '"' + said.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _tool(command: str, server: str, tool: Mapping[str, Any]) -> str:
    schema = tool.get("inputSchema") or {}
    words = signature.example(schema)
    example = "" if words is None else "".join(f" {word}" for word in words)
    lines = [f"\n## {printable(str(tool['name']))}\n", f"\n{_about(tool)}\n"]
    rows = [
        f"- `{_code(one.path)}`: {printable(one.type)}{', required' if one.required else ''}"
        + (f". {printable(one.about)}" if one.about else "")
        for one in signature.fields(schema)
    ]
    if rows:
        lines.append("\n" + "\n".join(rows) + "\n")
    target = printable(f"{server}/{tool['name']}")
    lines.append(f"\n    {command} call {target}{printable(example)}\n")
    return "".join(lines)


def _about(tool: Mapping[str, Any]) -> str:
    text = printable(" ".join(str(tool.get("description") or tool.get("title") or "").split()))
    return text if len(text) <= ABOUT_CHARS else f"{text[: ABOUT_CHARS - 3]}..."


def _code(text: str) -> str:
    return printable(text).replace("`", "'")
