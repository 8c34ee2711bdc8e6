"""Changing a configuration file: a server more, a server less, and all else as it was.

Owns the text.  TOML keeps its comments and its order (tomlkit); JSON is written again with the same
indent, and refused where it has comments, which would be lost.
"""

from __future__ import annotations

import json
from typing import Any

from daemonry.errors import ConfigError
from mcp_cli.config import forms, json_text, model
from mcp_cli.config.model import ServerConfig
from mcp_cli.config.oauth_keys import OAUTH_KEYS

TOML_HEAD = "# MCP servers: see `mcp-cli config --help`.\n\n"


def with_servers(text: str, path: str, servers: list[ServerConfig]) -> str:
    """Return a configuration's text with these servers in it; those of the same name are replaced.

    Args:
        text: of the file; "" for a new one.
        path: its name, which says whether it is JSON.
        servers: the servers to add.

    Raises:
        ConfigError: the file cannot be used, or has comments that would be lost.
    """
    names = {one.name for one in servers}
    if _is_json(path, text):
        whole, key = _json_table(text, path)
        for one in servers:
            whole.setdefault(key, {})[one.name] = json_table_of(one)
        return _written(whole, text)
    import tomlkit

    document = _toml(text or TOML_HEAD, path)
    listed = document.setdefault("servers", tomlkit.aot())
    for at in reversed(range(len(listed))):
        if listed[at].get("name") in names:
            del listed[at]
    if text.strip() and not text.endswith("\n\n"):
        _blank_line_after(document, listed)
    for number, one in enumerate(servers):
        table = _toml_table(one)
        if number + 1 < len(servers):
            table.add(tomlkit.nl())
        listed.append(table)
    return str(tomlkit.dumps(document)).rstrip("\n") + "\n"


def _blank_line_after(document: Any, listed: Any) -> None:
    import tomlkit

    last = listed[-1] if len(listed) else document
    last.add(tomlkit.nl())


def without_server(text: str, path: str, name: str) -> str:
    """Return a configuration's text without one server.

    Raises:
        ConfigError: it has none of that name, or cannot be changed.
    """
    if _is_json(path, text):
        whole, key = _json_table(text, path)
        if name not in whole.get(key, {}):
            raise ConfigError(path, "", f"has no server {name!r}")
        del whole[key][name]
        return _written(whole, text)
    import tomlkit

    document = _toml(text, path)
    listed = document.get("servers", [])
    at = next((at for at, one in enumerate(listed) if one.get("name") == name), None)
    if at is None:
        raise ConfigError(path, "", f"has no server {name!r}")
    del listed[at]
    return str(tomlkit.dumps(document)).rstrip("\n") + "\n"


def _is_json(path: str, text: str) -> bool:
    return path.endswith((".json", ".jsonc")) or text.lstrip()[:1] == "{"


def _json_table(text: str, path: str) -> tuple[dict[str, Any], str]:
    if not text.strip():
        return {}, "mcpServers"
    forms.parse_json(text, path, "/")  # for its errors
    plain = json_text.plain(text)
    if plain != text:
        raise ConfigError(path, "", "has comments, which would be lost: change it by hand")
    whole = json.loads(plain)
    return whole, next(
        (key for key in ("mcpServers", "servers", "mcp_servers") if key in whole), "mcpServers"
    )


def _written(whole: dict[str, Any], text: str) -> str:
    second = next((line for line in text.splitlines()[1:] if line.strip()), "  x")
    indent = second[: len(second) - len(second.lstrip())] or "  "
    return json.dumps(whole, ensure_ascii=False, indent=indent) + "\n"


def _toml(text: str, path: str) -> Any:
    import tomlkit

    forms.parse_toml(text, path, "/")  # for its errors, which name line and column
    return tomlkit.parse(text)


def _transport(one: ServerConfig) -> dict[str, Any]:
    fields: dict[str, Any] = {"type": one.kind}
    for name in ("command", "args", "env", "cwd", "url", "headers"):
        value = getattr(one, name)
        if value:
            fields[name] = (
                list(value) if isinstance(value, tuple) else dict(value) if name in _MAPS else value
            )
    if not one.oauth:
        fields["oauth"] = False
        return fields
    said = {key: getattr(one, f"oauth_{key}") for key in OAUTH_KEYS}
    filled = {key: list(value) if isinstance(value, tuple) else value for key, value in said.items() if value}
    if filled:
        fields["oauth"] = filled
    return fields


_MAPS = ("env", "headers")


def _further(one: ServerConfig) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in (
        "description",
        "allowed_tools",
        "disabled_tools",
        "pass_env",
        "roots",
        "log_level",
        "protocol",
    ):
        value = getattr(one, name)
        if value:
            fields[name] = list(value) if isinstance(value, tuple) else value
    if one.timeout_s is not None:
        fields["timeout_secs"] = int(one.timeout_s) if one.timeout_s.is_integer() else one.timeout_s
    if one.concurrency:
        fields["concurrency"] = one.concurrency
    if one.start_timeout_s != model.DEFAULT_START_TIMEOUT_S:
        fields["start_timeout_secs"] = one.start_timeout_s
    if not one.enabled:
        fields["enabled"] = False
    return fields


def _toml_table(one: ServerConfig) -> Any:
    import tomlkit

    table = tomlkit.table()
    table["name"] = one.name
    transport = tomlkit.inline_table()
    for key, value in _transport(one).items():
        if isinstance(value, dict):
            inner = tomlkit.inline_table()
            inner.update(value)
            transport[key] = inner
        else:
            transport[key] = value
    table["transport"] = transport
    for key, value in _further(one).items():
        table[key] = value
    return table


def json_table_of(one: ServerConfig) -> dict[str, Any]:
    """Return a server as `mcpServers` has it."""
    fields = _transport(one)
    if one.kind == model.STDIO:
        del fields["type"]
    return {**fields, **_further(one)}
