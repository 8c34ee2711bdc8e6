"""The configuration: which MCP servers there are, and how each is reached.

Owns the two forms and what they mean: the original's TOML (`[[servers]]`) and the JSON of other
programs (`mcpServers`, VS Code's `servers`).  Pure: text in, values out.  Finding and reading files
is `config_files`'s, filling in `${VAR}` is `expanded`'s, in here, with an environment that is given.

Every error names file, line and column, the server and the key, and for an unknown key the nearest.
"""

from __future__ import annotations

import hashlib
import json
import os.path
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from daemonry.errors import ConfigError
from daemonry.spelling import nearest
from daemonry.typed_toml import ConfigText, KeyPath
from daemonry.typed_toml import parse as parse_toml_text
from mcp_cli.config import cache, json_text, variables

STDIO: Final = "stdio"
HTTP: Final = "http"
SSE: Final = "sse"
# How a place begins that is no command.
URLS: Final = ("http://", "https://")

# The `path` of a configuration that is no file.
COMMAND_LINE: Final = "the command line"

# The original's defaults, but for its five servers at a time.
DEFAULT_RETRIES: Final = 3
DEFAULT_RETRY_DELAY_MS: Final = 1000
DEFAULT_TIMEOUT_S: Final = 1800.0
DEFAULT_TTL_S: Final = 60.0
# `npx` fetches a package before it starts one.
DEFAULT_START_TIMEOUT_S: Final = 60.0

LOG_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

_HTTP_NAMES = {
    "http": HTTP,
    "streamable-http": HTTP,
    "streamable_http": HTTP,
    "streamableHttp": HTTP,
    "sse": SSE,
}


@dataclass(frozen=True)
class ServerConfig:
    """One server, as it is configured; `${VAR}` are not filled in yet.

    Attributes:
        name: what the user calls it; no `/`, no blank.
        kind: `STDIO`, `HTTP` (streamable) or `SSE` (legacy).
        command: the program (stdio).
        args: its arguments.
        env: variables that it is given besides the usual few.
        pass_env: names of variables of the caller that it is given as well, where they are set.
        cwd: its directory; "" for the configuration's.
        url: where it is (http, sse).
        headers: sent with every request.
        description: for people.
        allowed_tools: globs; empty for all.
        disabled_tools: globs; they win.
        timeout_s: how long a call may be silent; None for the configuration's.
        start_timeout_s: from starting it to the end of `initialize`.
        concurrency: calls at the same time; 0 for no bound.
        roots: paths or file URIs that it is told as its roots.
        log_level: what it is asked to log from; "" leaves it alone.
        oauth: whether tokens are fetched where it asks for them (http).
        oauth_client_id: where it registers no clients.
        oauth_client_secret: the same.
        oauth_scopes: what is asked for.
        enabled: whether it is there at all.
    """

    name: str
    kind: str
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    pass_env: tuple[str, ...] = ()
    cwd: str = ""
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    allowed_tools: tuple[str, ...] = ()
    disabled_tools: tuple[str, ...] = ()
    timeout_s: float | None = None
    start_timeout_s: float = DEFAULT_START_TIMEOUT_S
    concurrency: int = 0
    roots: tuple[str, ...] = ()
    log_level: str = ""
    oauth: bool = True
    oauth_client_id: str = ""
    oauth_client_secret: str = ""
    oauth_scopes: tuple[str, ...] = ()
    enabled: bool = True

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield each text that `${VAR}` may stand in, with its key."""
        yield "command", self.command
        yield "cwd", self.cwd
        yield "url", self.url
        yield "oauth.client_id", self.oauth_client_id
        yield "oauth.client_secret", self.oauth_client_secret
        for number, one in enumerate(self.roots):
            yield f"roots[{number}]", one
        for number, one in enumerate(self.args):
            yield f"args[{number}]", one
        for name, value in self.env.items():
            yield f"env.{name}", value
        for name, value in self.headers.items():
            yield f"headers.{name}", value

    def needed(self) -> tuple[str, ...]:
        """Return the names of the caller's variables that this server's settings depend on, sorted."""
        found = {name for _, text in self.texts() for name in variables.names_in(text)}
        if self.command.startswith("~") or self.cwd.startswith("~"):
            found.add("HOME")
        return tuple(sorted(found.union(self.pass_env)))


@dataclass(frozen=True)
class Config:
    """A configuration.

    Attributes:
        path: the file, for messages.
        folder: the directory that a relative `cwd` starts from.
        servers: in the order of the file.
        concurrency_limit: how many servers a list asks at once; 0 for all.
        retry_max: how often a call that was not sent is tried again.
        retry_delay_ms: the first wait between two tries.
        timeout_s: how long a call may be silent.
        daemon_ttl_s: how long the daemon stays without work.
    """

    path: str
    folder: str
    servers: tuple[ServerConfig, ...] = ()
    concurrency_limit: int = 0
    retry_max: int = DEFAULT_RETRIES
    retry_delay_ms: int = DEFAULT_RETRY_DELAY_MS
    timeout_s: float = DEFAULT_TIMEOUT_S
    daemon_ttl_s: float = DEFAULT_TTL_S

    def server(self, name: str) -> ServerConfig | None:
        """Return the server of this name, if it is there and enabled."""
        return next((one for one in self.servers if one.name == name and one.enabled), None)

    def enabled(self) -> tuple[ServerConfig, ...]:
        """Return the servers that are not switched off."""
        return tuple(one for one in self.servers if one.enabled)


# --- parsing ----------------------------------------------------------------------------------


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
}
# What is ours about a server, in either form of file.
OWN_KEYS: Final = (
    "description",
    "allowed_tools",
    "disabled_tools",
    "pass_env",
    "timeout_secs",
    "start_timeout_secs",
    "concurrency",
    "roots",
    "log_level",
    "enabled",
)
_SERVER_KEYS: Final = ("name", "transport", *OWN_KEYS)
_STDIO_KEYS: Final = ("type", "command", "args", "env", "cwd")
_HTTP_KEYS: Final = ("type", "url", "headers", "oauth")
_OAUTH_KEYS: Final = ("client_id", "client_secret", "scopes")


def parse_toml(text: str, path: str, folder: str) -> Config:
    """Return the configuration in TOML text.

    Raises:
        ConfigError: it does not parse, or says what we do not know.
    """
    source = parse_toml_text(text, path)
    table = source.values
    source.refuse_unknown(table, ("servers", *_GLOBAL_KEYS))
    listed = _list(source, table, "servers", ())
    servers = [_server_of_toml(source, one, ("servers", number)) for number, one in enumerate(listed)]
    _refuse_doubles(source, servers, lambda number, _name: ("servers", number, "name"))
    return Config(path, folder, tuple(servers), **_globals(source, table))


def _server_of_toml(source: ConfigText, table: Any, where: KeyPath) -> ServerConfig:
    if not isinstance(table, dict):
        raise source.error(where, "is not a table")
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
        raise source.error(inside, "is not a table")
    kind = transport.get("type")
    if kind is None:
        kind = STDIO if "command" in transport else HTTP
    if kind != STDIO and kind not in _HTTP_NAMES:
        raise source.error((*inside, "type"), f'{kind!r} is none of "stdio", "http", "sse"')
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
    return {"url": url, "headers": _map(source, table, "headers", where), **_oauth(source, table, where)}


def _oauth(source: ConfigText, table: Mapping[str, Any], where: KeyPath) -> dict[str, Any]:
    said = table.get("oauth", True)
    if isinstance(said, bool):
        return {"oauth": said}
    inside = (*where, "oauth")
    if not isinstance(said, dict):
        raise source.error(inside, "is not true, false or a table")
    source.refuse_unknown(said, _OAUTH_KEYS, inside)
    return {
        "oauth_client_id": _text(source, said, "client_id", inside),
        "oauth_client_secret": _text(source, said, "client_secret", inside),
        "oauth_scopes": _texts(source, said, "scopes", inside),
    }


def _further(source: ConfigText, table: Mapping[str, Any], where: KeyPath) -> dict[str, Any]:
    enabled = table.get("enabled", True)
    if not isinstance(enabled, bool):
        raise source.error((*where, "enabled"), "is not true or false")
    level = _text(source, table, "log_level", where)
    if level and level not in LOG_LEVELS:
        raise source.error((*where, "log_level"), f"{level!r} is none of {', '.join(LOG_LEVELS)}")
    return {
        "description": _text(source, table, "description", where),
        "allowed_tools": _texts(source, table, "allowed_tools", where),
        "disabled_tools": _texts(source, table, "disabled_tools", where),
        "pass_env": _texts(source, table, "pass_env", where),
        "roots": _texts(source, table, "roots", where),
        "log_level": level,
        "enabled": enabled,
        **{
            name: _number(source, table, key, where, kind)
            for key, name, kind in _SERVER_NUMBERS
            if key in table
        },
    }


_SERVER_NUMBERS: Final = (
    ("timeout_secs", "timeout_s", float),
    ("start_timeout_secs", "start_timeout_s", float),
    ("concurrency", "concurrency", int),
)


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
    servers = [_server_of_json(source, name, one, (key or "", name)) for name, one in listed.items()]
    return Config(path, folder, tuple(servers), **_globals(source, table))


def _server_of_json(source: ConfigText, name: str, table: Any, where: KeyPath) -> ServerConfig:
    if not isinstance(table, dict):
        raise source.error(where, "is not an object")
    known = {key: value for key, value in table.items() if key not in _FOREIGN_KEYS}
    source.refuse_unknown(known, _JSON_KEYS, where)
    _name(source, name, where)
    url = next((table[key] for key in ("url", "httpUrl", "serverUrl") if key in table), None)
    if url is not None:
        known["url"] = url
    said = known.get("type", known.get("transport"))
    kind = _HTTP_NAMES.get(said, said) if isinstance(said, str) else None
    if said is not None and kind not in (STDIO, HTTP, SSE):
        raise source.error((*where, "type"), f'{said!r} is none of "stdio", "http", "sse"')
    if kind is None:
        kind = STDIO if "command" in known else HTTP if url is not None else None
    if kind is None:
        raise source.error(where, "needs a command or a url")
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
    if not 0 <= value < 1e9 or (value == 0 and kind is float and key != "daemon_ttl"):
        raise source.error((*where, key), "is out of range")
    return kind(value)


def _text(source: ConfigText, table: Mapping[str, Any], key: str, where: KeyPath) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise source.error((*where, key), "is not a string")
    if "\0" in value:
        raise source.error((*where, key), "has a NUL in it")
    return value


def _texts(source: ConfigText, table: Mapping[str, Any], key: str, where: KeyPath) -> tuple[str, ...]:
    values = _list(source, table, key, where)
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise source.error((*where, key, number), "is not a string")
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
        raise source.error((*where, key), "is not a table of strings")
    for name, value in values.items():
        if not isinstance(value, str):
            raise source.error((*where, key, name), "is not a string")
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


def bad_name(name: str) -> str:
    """Return why a name cannot be a server's, or ""."""
    if not name:
        return "a server's name cannot be empty"
    if "/" in name:
        return f"{name!r} has a slash in it, which stands between server and tool"
    if name.startswith("-") or not name.isprintable() or any(char.isspace() for char in name):
        return f"{name!r} cannot be a server's name: no blanks, no control characters, no '-' first"
    return ""


def _refuse_doubles(
    source: ConfigText, servers: list[ServerConfig], where: Callable[[int, str], KeyPath]
) -> None:
    seen: set[str] = set()
    for number, one in enumerate(servers):
        if one.name in seen:
            raise source.error(where(number, one.name), f"there are two servers called {one.name!r}")
        seen.add(one.name)


# --- filled in --------------------------------------------------------------------------------


def expanded(server: ServerConfig, config: Config, environment: Mapping[str, str]) -> ServerConfig:
    """Return a server with its `${VAR}`, `~` and relative directory filled in, ready to be started.

    Raises:
        ConfigError: a variable is not set.
    """

    def fill(key: str, text: str) -> str:
        try:
            return variables.expand(text, environment, config.folder)
        except variables.NotSet as error:
            raise ConfigError(config.path, f"{server.name}.{key}", error.reason) from None

    passed = {name: environment[name] for name in server.pass_env if name in environment}
    cwd = _home(fill("cwd", server.cwd), environment)
    return replace(
        server,
        command=_home(fill("command", server.command), environment),
        args=tuple(fill(f"args[{number}]", one) for number, one in enumerate(server.args)),
        env=passed | {name: fill(f"env.{name}", value) for name, value in server.env.items()},
        cwd=os.path.normpath(os.path.join(config.folder, cwd)) if server.kind == STDIO else "",
        url=fill("url", server.url),
        roots=tuple(fill(f"roots[{number}]", one) for number, one in enumerate(server.roots)),
        oauth_client_id=fill("oauth.client_id", server.oauth_client_id),
        oauth_client_secret=fill("oauth.client_secret", server.oauth_client_secret),
        headers={name: fill(f"headers.{name}", value) for name, value in server.headers.items()},
        timeout_s=config.timeout_s if server.timeout_s is None else server.timeout_s,
    )


def _home(path: str, environment: Mapping[str, str]) -> str:
    home = environment.get("HOME", "")
    return home + path[1:] if home and (path == "~" or path.startswith("~/")) else path


def fingerprint_of(server: ServerConfig, config: Config) -> str:
    """Return 64 hexadecimal digits that change with each setting of a server, and with no order of keys.

    They stand for the settings as written.  What the caller's environment puts into them is added
    by `config_cache.with_environment`, so that this part can be remembered without a secret in it.
    """
    return _digest({**_plain(server), "folder": config.folder, "timeout_s": config.timeout_s})


def fingerprint(config: Config) -> str:
    """Return 64 hexadecimal digits for the whole; the order of the servers does not count."""
    whole = {one.name: fingerprint_of(one, config) for one in config.servers}
    settings = {
        one.name: getattr(config, one.name) for one in fields(config) if one.name not in ("path", "servers")
    }
    return _digest({"servers": whole, **settings})


def _plain(server: ServerConfig) -> dict[str, Any]:
    # What is only for people restarts nothing.
    return {one.name: getattr(server, one.name) for one in fields(server) if one.name != "description"}


def _digest(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def definition(server: ServerConfig, config: Config, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return a server as `Configure` takes it: filled in, with both fingerprints.

    Raises:
        ConfigError: a variable is not set.
    """
    template = fingerprint_of(server, config)
    filled = {
        name: value for name, value in _plain(expanded(server, config, environment)).items() if value != ""
    }
    for name in ("enabled", "pass_env"):
        del filled[name]
    for name, value in filled.items():
        if isinstance(value, tuple):
            filled[name] = list(value)
    source = "" if config.path == COMMAND_LINE else config.path
    return {
        **filled,
        "description": server.description,
        "fingerprint": cache.with_environment(template, server.needed(), environment),
        "template": template,
        "source": source,
    }
