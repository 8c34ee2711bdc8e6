"""The configuration: which MCP servers there are, and how each is reached.

Owns the values, their fingerprints, and filling in `${VAR}` with an environment that is given.  Pure.
Reading them from text is `forms`'s, finding and reading files is `files`'s.
"""

from __future__ import annotations

import hashlib
import json
import os.path
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from daemonry.errors import ConfigError
from mcp_cli.config import cache, passed, variables

STDIO: Final = "stdio"
HTTP: Final = "http"
SSE: Final = "sse"
# How a place begins that is not a command.
URLS: Final = ("http://", "https://")

# The `path` of a configuration that is not a file.
COMMAND_LINE: Final = "the command line"

# The original's defaults, but for its five servers at a time.
DEFAULT_RETRIES: Final = 3
DEFAULT_RETRY_DELAY_MS: Final = 1000
DEFAULT_TIMEOUT_S: Final = 1800.0
DEFAULT_TTL_S: Final = 60.0
# A browser costs hundreds of megabytes, and a person comes back within some minutes.
DEFAULT_IDLE_S: Final = 600.0
# `npx` fetches a package before it starts one.
DEFAULT_START_TIMEOUT_S: Final = 60.0

# A local model writes a page in less.
DEFAULT_HOOK_TIMEOUT_S: Final = 120.0

LOG_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


@dataclass(frozen=True)
class ServerConfig:
    """One server, as it is configured; `${VAR}` are not filled in yet.

    Attributes:
        name: what the user calls it; no `/`, no blank.
        kind: `STDIO`, `HTTP` (streamable) or `SSE` (legacy).
        command: the program (stdio).
        args: its arguments.
        env: variables that it gets in addition to those of `passed`.
        pass_env: names of variables of the caller that it is given as well, where they are set; `AWS_*`
            is all that begin so.  Those of `passed` every stdio server is given.
        cwd: its directory; "" for the configuration's.
        url: where it is (http, sse).
        headers: sent with every request.
        description: for people.
        allowed_tools: globs; empty for all.
        disabled_tools: globs; they win.
        timeout_s: how long a call may be silent; None for the configuration's.
        start_timeout_s: from starting it to the end of `initialize`.
        idle_s: how long it runs without a call; 0 for as long as the daemon, None for the configuration's.
        concurrency: calls at the same time; 0 for no bound.
        roots: paths or file URIs that it gets as its roots.
        log_level: the lowest level that it is asked to log; "" leaves it alone.
        oauth: whether tokens are fetched where it asks for them (http).
        oauth_client_id: where it registers no clients.
        oauth_client_secret: the same.
        oauth_scopes: the scopes to ask for; empty for those that the server names.
        oauth_grant: how it is given tokens, one of `GRANTS`; "" for a person with a browser.
        oauth_issuer: the only authorization server that is believed; "" for the one that the server names.
        oauth_client_metadata_url: where a document says who we are; its URL is then the client's name.
        oauth_key_file: a private key in PEM, with which a machine proves itself.
        oauth_assertion_command: which writes a signed statement instead.
        oauth_store: where tokens are stored: `FILES`, also for "", or `KEYRING`.
        elicitation: who answers its forms: "" the caller where it can, "ask" whoever comes, "decline" nobody.
        elicitation_command: which answers them instead.
        sampling: the same of its requests for a model's answer.
        sampling_command: which answers those instead.
        hook_timeout_s: how long such a command may take.
        protocol: the revision that it is held to, one of `PROTOCOLS`; "" for the newest in common.
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
    idle_s: float | None = None
    concurrency: int = 0
    roots: tuple[str, ...] = ()
    log_level: str = ""
    oauth: bool = True
    oauth_client_id: str = ""
    oauth_client_secret: str = ""
    oauth_scopes: tuple[str, ...] = ()
    oauth_grant: str = ""
    oauth_issuer: str = ""
    oauth_client_metadata_url: str = ""
    oauth_key_file: str = ""
    oauth_assertion_command: tuple[str, ...] = ()
    oauth_store: str = ""
    protocol: str = ""
    elicitation: str = ""
    elicitation_command: tuple[str, ...] = ()
    sampling: str = ""
    sampling_command: tuple[str, ...] = ()
    hook_timeout_s: float = DEFAULT_HOOK_TIMEOUT_S
    enabled: bool = True

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield each text that `${VAR}` may stand in, with its key."""
        yield "command", self.command
        yield "cwd", self.cwd
        yield "url", self.url
        yield "oauth.client_id", self.oauth_client_id
        yield "oauth.client_secret", self.oauth_client_secret
        yield "oauth.issuer", self.oauth_issuer
        yield "oauth.key_file", self.oauth_key_file
        for number, one in enumerate(self.roots):
            yield f"roots[{number}]", one
        for number, one in enumerate(self.args):
            yield f"args[{number}]", one
        for key in ("elicitation_command", "sampling_command", "oauth_assertion_command"):
            for number, one in enumerate(getattr(self, key)):
                yield f"{key}[{number}]", one
        for name, value in self.env.items():
            yield f"env.{name}", value
        for name, value in self.headers.items():
            yield f"headers.{name}", value

    def needed(self) -> tuple[str, ...]:
        """Return the names of the caller's variables that this server's settings depend on, sorted.

        Those that every stdio server is given are not among them; see `depends_on`.
        """
        found = {name for _, text in self.texts() for name in variables.names_in(text)}
        if any(one.startswith("~") for one in (self.command, self.cwd, self.oauth_key_file)):
            found.add("HOME")
        return tuple(sorted(found.union(self.pass_env)))

    def depends_on(self) -> tuple[str, ...]:
        """Return what its fingerprint depends on: `needed`, and those that every stdio server is given."""
        return (*self.needed(), passed.DEFAULT) if self.kind == STDIO else self.needed()


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
        idle_s: how long a server runs without a call; 0 for as long as the daemon.
        daemon_ttl_s: how long the daemon stays without work.
        notes: what the file has that means nothing to us, a line each.
    """

    path: str
    folder: str
    servers: tuple[ServerConfig, ...] = ()
    concurrency_limit: int = 0
    retry_max: int = DEFAULT_RETRIES
    retry_delay_ms: int = DEFAULT_RETRY_DELAY_MS
    timeout_s: float = DEFAULT_TIMEOUT_S
    daemon_ttl_s: float = DEFAULT_TTL_S
    idle_s: float = DEFAULT_IDLE_S
    notes: tuple[str, ...] = ()

    def server(self, name: str) -> ServerConfig | None:
        """Return the server of this name, if it is there and enabled."""
        return next((one for one in self.servers if one.name == name and one.enabled), None)

    def enabled(self) -> tuple[ServerConfig, ...]:
        """Return the servers that are not switched off."""
        return tuple(one for one in self.servers if one.enabled)


def bad_name(name: str) -> str:
    """Return why a name cannot be a server's, or ""."""
    if not name:
        return "a server's name cannot be empty"
    if "/" in name:
        return f"{name!r} has a slash in it, which stands between server and tool"
    if name.startswith("-") or not name.isprintable() or any(char.isspace() for char in name):
        return f"{name!r} cannot be a server's name: no blanks, no control characters, no '-' first"
    return ""


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

    def command(key: str, words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_home(fill(f"{key}[{number}]", one), environment) for number, one in enumerate(words))

    given = passed.default(environment) if server.kind == STDIO else {}
    given |= passed.named(server.pass_env, environment)
    cwd = _home(fill("cwd", server.cwd), environment)
    return replace(
        server,
        command=_home(fill("command", server.command), environment),
        args=tuple(fill(f"args[{number}]", one) for number, one in enumerate(server.args)),
        env=given | {name: fill(f"env.{name}", value) for name, value in server.env.items()},
        cwd=os.path.normpath(os.path.join(config.folder, cwd)) if server.kind == STDIO else "",
        url=fill("url", server.url),
        roots=tuple(fill(f"roots[{number}]", one) for number, one in enumerate(server.roots)),
        elicitation_command=command("elicitation_command", server.elicitation_command),
        sampling_command=command("sampling_command", server.sampling_command),
        oauth_client_id=fill("oauth.client_id", server.oauth_client_id),
        oauth_client_secret=fill("oauth.client_secret", server.oauth_client_secret),
        oauth_issuer=fill("oauth.issuer", server.oauth_issuer),
        oauth_key_file=_in_folder(_home(fill("oauth.key_file", server.oauth_key_file), environment), config),
        oauth_assertion_command=command("oauth_assertion_command", server.oauth_assertion_command),
        headers={name: fill(f"headers.{name}", value) for name, value in server.headers.items()},
        timeout_s=config.timeout_s if server.timeout_s is None else server.timeout_s,
        idle_s=config.idle_s if server.idle_s is None else server.idle_s,
    )


def _in_folder(path: str, config: Config) -> str:
    return os.path.normpath(os.path.join(config.folder, path)) if path else ""


def _home(path: str, environment: Mapping[str, str]) -> str:
    home = environment.get("HOME", "")
    return home + path[1:] if home and (path == "~" or path.startswith("~/")) else path


def fingerprint_of(server: ServerConfig, config: Config) -> str:
    """Return 64 hexadecimal digits that change with each setting of a server, and with no order of keys.

    They stand for the settings as written.  What the caller's environment puts into them is added
    by `config_cache.with_environment`, so that this part can be remembered without a secret in it.
    """
    usual = {"folder": config.folder, "timeout_s": config.timeout_s}
    if config.idle_s != DEFAULT_IDLE_S:
        usual["idle_s of all"] = config.idle_s
    return _digest({**_plain(server), **usual})


def fingerprint(config: Config) -> str:
    """Return 64 hexadecimal digits for the whole; the order of the servers does not count."""
    whole = {one.name: fingerprint_of(one, config) for one in config.servers}
    settings = {
        one.name: getattr(config, one.name)
        for one in fields(config)
        if one.name not in ("path", "servers", "notes")
    }
    return _digest({"servers": whole, **settings})


def _plain(server: ServerConfig) -> dict[str, Any]:
    # A description is for people: a change of it restarts nothing.
    return {one.name: getattr(server, one.name) for one in fields(server) if one.name != "description"}


def _digest(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def definition(
    server: ServerConfig, config: Config, environment: Mapping[str, str], protocol: str = ""
) -> dict[str, Any]:
    """Return a server as `Configure` takes it: filled in, with both fingerprints.

    Args:
        server: as it is configured.
        config: its configuration.
        environment: the caller's.
        protocol: the revision that the caller demands; "" for the configured one.

    Raises:
        ConfigError: a variable is not set.
    """
    template = fingerprint_of(server, config)
    whole = expanded(server, config, environment)
    filled = {name: value for name, value in _plain(whole).items() if value != ""}
    if protocol:
        filled["protocol"] = protocol
    for name in ("enabled", "pass_env"):
        del filled[name]
    for name, value in filled.items():
        if isinstance(value, tuple):
            filled[name] = list(value)
    source = "" if config.path == COMMAND_LINE else config.path
    return {
        **filled,
        "description": server.description,
        "fingerprint": cache.held_to(
            protocol, cache.with_environment(template, server.depends_on(), environment)
        ),
        "template": template,
        "source": source,
        "missed": passed.missed(environment, whole.env) if server.kind == STDIO else [],
    }
