"""What an editor's or agent's own configuration needs to reach `mcp-cli serve --http`.

Owns the forms of each, as their documentation has them.  No I/O.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

_NAME: Final = "mcp-cli"


def _json(*keys: str, **extra: str) -> Callable[[str, str | None], str]:
    """Return a form: the server under these keys, its address in `url`, or in the field `address`."""
    field = extra.pop("address", "url")

    def form(url: str, token: str | None) -> str:
        value: Any = {**extra, field: url}
        if token is not None:
            value["headers"] = {"Authorization": f"Bearer {token}"}
        for key in (_NAME, *reversed(keys)):
            value = {key: value}
        return json.dumps(value, indent=2)

    return form


def _codex(url: str, token: str | None) -> str:
    lines = [f"[mcp_servers.{_NAME}]", f"url = {json.dumps(url)}"]
    if token is not None:
        lines.append(f"http_headers = {{ Authorization = {json.dumps(f'Bearer {token}')} }}")
    return "\n".join(lines)


# The editor, the file that it reads, and the form.
FORMS: Final[dict[str, tuple[str, Callable[[str, str | None], str]]]] = {
    "claude": (".mcp.json, or ~/.claude.json", _json("mcpServers", type="http")),
    "codex": ("~/.codex/config.toml", _codex),
    "cursor": ("~/.cursor/mcp.json", _json("mcpServers")),
    "gemini": ("~/.gemini/settings.json", _json("mcpServers", address="httpUrl")),
    "opencode": ("opencode.json", _json("mcp", type="remote")),
    "vscode": (".vscode/mcp.json", _json("servers", type="http")),
    "zed": ("settings.json", _json("context_servers")),
}


def text_for(editor: str, url: str, token: str | None) -> str:
    """Return what goes into an editor's file; without a token, where none is asked for."""
    return FORMS[editor][1](url, token)
