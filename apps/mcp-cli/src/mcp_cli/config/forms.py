"""The two forms of a configuration, read: the original's TOML (`[[servers]]`), and JSON (`mcpServers`).

Owns the keys and their meaning.  Pure: text in, values out.  Every error names file, line and column, the
server and the key, and for an unknown key the nearest.  In JSON, which other programs share, a key that
means nothing to us is a note; one that is nearly one of ours is an error, for it would be lost.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from daemonry.errors import ConfigError
from daemonry.spelling import nearest
from daemonry.typed_toml import ConfigText, KeyPath
from daemonry.typed_toml import parse as parse_toml_text
from mcp_cli.config import json_text
from mcp_cli.config.model import HTTP, LOG_LEVELS, SSE, STDIO, URLS, Config, ServerConfig, bad_name
from mcp_cli.config.oauth_keys import oauth_fields
from mcp_cli.config.question_policies import QUESTION_KEYS, question_policies
from mcp_cli.names import PROTOCOLS

_HTTP_NAMES = {
    "http": HTTP,
    "streamable-http": HTTP,
    "streamable_http": HTTP,
    "streamableHttp": HTTP,
    "sse": SSE,
}


def parse(text: str, path: str, folder: str) -> Config:
    """Return the configuration that a file holds: JSON where its name says so or it begins with `{`.

    Raises:
        ConfigError: with file, line and column.
    """
    if path.endswith((".json", ".jsonc")) or text.lstrip()[:1] == "{":
        return parse_json(text, path, folder)
    return parse_toml(text, path, folder)


_GLOBAL_KEYS: Final = {
    "concurrency_limit": "concurrency_limit",
    "retry_max": "retry_max",
    "retry_delay_ms": "retry_delay_ms",
    "timeout_secs": "timeout_s",
    "daemon_ttl": "daemon_ttl_s",
    "idle_secs": "idle_s",
}
# Our own keys of a server, in either form of file.
OWN_KEYS: Final = (
    "description",
    "allowed_tools",
    "disabled_tools",
    "pass_env",
    "timeout_secs",
    "start_timeout_secs",
    "idle_secs",
    "concurrency",
    "roots",
    "log_level",
    "protocol",
    "elicitation",
    "sampling",
    "enabled",
)
_SERVER_KEYS: Final = ("name", "transport", *OWN_KEYS)
_STDIO_KEYS: Final = ("type", "command", "args", "env", "cwd")
_HTTP_KEYS: Final = ("type", "url", "headers", "oauth")


def parse_toml(text: str, path: str, folder: str) -> Config:
    """Return the configuration in TOML text.

    Raises:
        ConfigError: it does not parse, or says what we do not know.
    """
    source = parse_toml_text(text, path)
    table = source.values
    source.refuse_unknown(table, ("servers", *_GLOBAL_KEYS, *QUESTION_KEYS))
    if isinstance(table.get("servers"), dict):
        raise source.error(("servers",), 'is not a list: write [[servers]], and name = "..." below it')
    listed = _list(source, table, "servers", ())
    servers = [_server_of_toml(source, one, ("servers", number)) for number, one in enumerate(listed)]
    _refuse_doubles(source, servers, lambda number, _name: ("servers", number, "name"))
    return Config(path, folder, _answered(source, table, servers), **_globals(source, table))


def _answered(
    source: ConfigText, table: Mapping[str, Any], servers: list[ServerConfig]
) -> tuple[ServerConfig, ...]:
    """Return the servers, with the answers of the whole configuration where they have none of their own."""
    usual = question_policies(source, table, ())
    made = []
    for one in servers:
        own = {
            name: value
            for name, value in usual.items()
            if name == "hook_timeout_s"
            or not (getattr(one, name.partition("_")[0]) or getattr(one, f"{name.partition('_')[0]}_command"))
        }
        made.append(replace(one, **own) if own else one)
    return tuple(made)


def _server_of_toml(source: ConfigText, table: Any, where: KeyPath) -> ServerConfig:
    if not isinstance(table, dict):
        raise source.error(where, "must be a table")
    source.refuse_unknown(table, _SERVER_KEYS, where)
    if "name" not in table:
        raise source.error(where, "needs a name")
    name = _name(source, _text(source, table, "name", where), (*where, "name"))
    transport = table.get("transport")
    inside: KeyPath = (*where, "transport")
    if transport is None:
        raise source.error(
            where,
            f"server {name!r} needs a transport: "
            '{ type = "stdio", command = "..." } or { type = "http", url = "..." }',
        )
    if not isinstance(transport, dict):
        raise source.error(inside, "must be a table")
    kind = transport.get("type")
    if kind is None:
        kind = STDIO if "command" in transport else HTTP
    if kind != STDIO and kind not in _HTTP_NAMES:
        raise source.error((*inside, "type"), f'{kind!r} is not one of "stdio", "http", "sse"')
    kind = _HTTP_NAMES.get(kind, kind)
    source.refuse_unknown(transport, _STDIO_KEYS if kind == STDIO else _HTTP_KEYS, inside)
    return ServerConfig(
        name, kind, **_reached(source, transport, kind, inside), **_further(source, table, where)
    )


def _reached(source: ConfigText, table: Mapping[str, Any], kind: str, where: KeyPath) -> dict[str, Any]:
    if kind == STDIO:
        command = _text(source, table, "command", where)
        if not command:
            raise source.error((*where, "command") if "command" in table else where, "needs a command")
        return {
            "command": command,
            "args": _texts(source, table, "args", where),
            "env": _map(source, table, "env", where),
            "cwd": _text(source, table, "cwd", where),
        }
    url = _text(source, table, "url", where)
    if not url.startswith((*URLS, "${")):
        raise source.error(
            (*where, "url") if "url" in table else where, "needs a url that begins with http:// or https://"
        )
    return {
        "url": url,
        "headers": _map(source, table, "headers", where),
        **oauth_fields(source, table, where),
    }


def _further(source: ConfigText, table: Mapping[str, Any], where: KeyPath) -> dict[str, Any]:
    enabled = table.get("enabled", True)
    if not isinstance(enabled, bool):
        raise source.error((*where, "enabled"), "is not true or false")
    level = _text(source, table, "log_level", where)
    if level and level not in LOG_LEVELS:
        raise source.error((*where, "log_level"), f"{level!r} is not one of {', '.join(LOG_LEVELS)}")
    protocol = _text(source, table, "protocol", where)
    if protocol and protocol not in PROTOCOLS:
        raise source.error((*where, "protocol"), f"{protocol!r} is not one of {', '.join(PROTOCOLS)}")
    return {
        "description": _text(source, table, "description", where),
        "allowed_tools": _texts(source, table, "allowed_tools", where),
        "disabled_tools": _texts(source, table, "disabled_tools", where),
        "pass_env": _texts(source, table, "pass_env", where),
        "roots": _texts(source, table, "roots", where),
        "log_level": level,
        "protocol": protocol,
        "enabled": enabled,
        **question_policies(source, table, where),
        **{
            name: _number(source, table, key, where, kind)
            for key, name, kind in _SERVER_NUMBERS
            if key in table
        },
    }


_SERVER_NUMBERS: Final = (
    ("timeout_secs", "timeout_s", float),
    ("start_timeout_secs", "start_timeout_s", float),
    ("idle_secs", "idle_s", float),
    ("concurrency", "concurrency", int),
)


# How alike a key of JSON is to one that it is taken for.  Others' keys must not be: `timeoutMs` is not
# `timeout` misspelt.
_MISSPELT: Final = 0.91
# What other programs write beside the keys that mean something to us.
_FOREIGN_KEYS: Final = frozenset(
    (
        "alwaysAllow",
        "autoApprove",
        "disabled",
        "dev",
        "gallery",
        "inputs",
        "sandbox",
        "sandboxEnabled",
        "trust",
        "version",
        "auth",
        "envFile",
        "startup_timeout_sec",
        "tools",
        "metadata",
        "headersHelper",
        "allowedTools",
        "includeTools",
        "excludeTools",
        "disabledTools",
        "timeout",
        "httpUrl",
        "serverUrl",
        "baseUrl",
        "bearerTokenEnv",
    )
)
_JSON_KEYS: Final = (
    "type",
    "transport",
    "command",
    "args",
    "env",
    "cwd",
    "url",
    "headers",
    "oauth",
    *OWN_KEYS,
)


def parse_json(text: str, path: str, folder: str) -> Config:
    """Return the configuration in JSON text: `mcpServers`, or VS Code's `servers`; comments are read over.

    Raises:
        ConfigError: it does not parse, or says what we do not know.
    """
    try:
        table = json.loads(json_text.plain(text))
    except json.JSONDecodeError as error:
        reason = f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        raise ConfigError(path, "", reason, error.lineno, error.colno) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(path, "", f"not JSON: {error}") from None
    if not isinstance(table, dict):
        raise ConfigError(path, "", "not an object with mcpServers in it", 1, 1)
    source = ConfigText(path, text, table, json_text.find)
    key = next((one for one in ("mcpServers", "servers", "mcp_servers") if one in table), None)
    if key is None and table:
        near = nearest("mcpServers", table)
        hint = f"; did you mean it by {near!r}?" if near else ""
        raise source.error((near,) if near else (), f"there is no mcpServers{hint}")
    listed = table.get(key, {}) if key else {}
    if not isinstance(listed, dict):
        raise source.error((key or "",), "is not an object of servers by their names")
    notes: list[str] = []
    servers = [_server_of_json(source, name, one, (key or "", name), notes) for name, one in listed.items()]
    servers_answered = _answered(source, table, servers)
    return Config(path, folder, servers_answered, notes=tuple(notes), **_globals(source, table))


def _notes(source: ConfigText, table: Mapping[str, Any], where: KeyPath) -> list[str]:
    """Return a note for each key that means nothing here.

    Raises:
        ConfigError: a key is nearly one of ours.
    """
    known = (*_JSON_KEYS, *_FOREIGN_KEYS)
    strange = [key for key in table if key not in known]
    for key in strange:
        if nearest(key, known, _MISSPELT):
            raise source.unknown((*where, key), known)
    return [str(source.error((*where, key), "means nothing here, and is left alone")) for key in strange]


def _server_of_json(
    source: ConfigText, name: str, table: Any, where: KeyPath, notes: list[str]
) -> ServerConfig:
    if not isinstance(table, dict):
        raise source.error(where, "is not an object")
    known = {key: value for key, value in table.items() if key in _JSON_KEYS}
    notes += _notes(source, table, where)
    _name(source, name, where)
    url = next((table[key] for key in ("url", "httpUrl", "serverUrl", "baseUrl") if key in table), None)
    if url is not None:
        known["url"] = url
    said = known.get("type", known.get("transport"))
    kind = _HTTP_NAMES.get(said, said) if isinstance(said, str) else None
    if said is not None and kind not in (STDIO, HTTP, SSE):
        raise source.error((*where, "type"), f'{said!r} is not one of "stdio", "http", "sse"')
    if kind is None:
        kind = STDIO if "command" in known else HTTP if url is not None else None
    if kind is None:
        raise source.error(where, "needs a command or a url")
    bearer = table.get("bearerTokenEnv")
    if isinstance(bearer, str) and isinstance(known.get("headers", {}), dict):
        known["headers"] = {"Authorization": f"Bearer ${{{bearer}}}", **known.get("headers", {})}
    known.setdefault("allowed_tools", table.get("includeTools", table.get("allowedTools", [])))
    known.setdefault("disabled_tools", table.get("excludeTools", table.get("disabledTools", [])))
    if table.get("disabled") is True:
        known["enabled"] = False
    return ServerConfig(name, kind, **_reached(source, known, kind, where), **_further(source, known, where))


def _globals(source: ConfigText, table: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for key, name in _GLOBAL_KEYS.items():
        if key in table:
            kind = float if name.endswith("_s") else int
            given[name] = _number(source, table, key, (), kind)
    if given.get("concurrency_limit") == 0:
        raise source.error(("concurrency_limit",), "must be at least 1")
    return given


def _number(source: ConfigText, table: Mapping[str, Any], key: str, where: KeyPath, kind: type) -> Any:
    value = table[key]
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or (kind is int and not isinstance(value, int))
    ):
        raise source.error((*where, key), f"is not a {'whole ' if kind is int else ''}number")
    if not 0 <= value < 1e9 or (value == 0 and kind is float and key not in ("daemon_ttl", "idle_secs")):
        raise source.error((*where, key), "is out of range")
    return kind(value)


def _text(source: ConfigText, table: Mapping[str, Any], key: str, where: KeyPath) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise source.error((*where, key), "must be a string")
    if "\0" in value:
        raise source.error((*where, key), "has a NUL in it")
    return value


def _texts(source: ConfigText, table: Mapping[str, Any], key: str, where: KeyPath) -> tuple[str, ...]:
    values = _list(source, table, key, where)
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise source.error((*where, key, number), "must be a string")
        if "\0" in value:
            raise source.error((*where, key, number), "has a NUL in it")
    return tuple(values)


def _list(source: ConfigText, table: Mapping[str, Any], key: str, where: KeyPath) -> list[Any]:
    values = table.get(key, [])
    if not isinstance(values, list):
        raise source.error((*where, key), "is not a list")
    return values


def _map(source: ConfigText, table: Mapping[str, Any], key: str, where: KeyPath) -> dict[str, str]:
    values = table.get(key, {})
    if not isinstance(values, dict):
        raise source.error((*where, key), "must be a table of strings")
    for name, value in values.items():
        if not isinstance(value, str):
            raise source.error((*where, key, name), "must be a string")
        if "\0" in value or "\0" in name or (key == "env" and (not name or "=" in name)):
            raise source.error(
                (*where, key, name),
                "cannot be an environment variable" if key == "env" else "has a NUL in it",
            )
    return dict(values)


def _name(source: ConfigText, name: str, where: KeyPath) -> str:
    reason = bad_name(name)
    if reason:
        raise source.error(where, reason)
    return name


def _refuse_doubles(
    source: ConfigText, servers: list[ServerConfig], where: Callable[[int, str], KeyPath]
) -> None:
    seen: set[str] = set()
    for number, one in enumerate(servers):
        if one.name in seen:
            raise source.error(where(number, one.name), f"there are two servers called {one.name!r}")
        seen.add(one.name)
