"""A command's connection to the servers, in each of the three modes.

Owns what the warm way leaves out: reading the configuration, starting a daemon or being one's own,
giving it the definitions that it does not know, and calling again.

    auto       the daemon that runs, or one that is started
    require    the daemon that runs, or an error
    direct     the pool in this process, and no daemon
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Self

from daemonry import Client, errors
from daemonry.cli import kit
from daemonry.spelling import did_you_mean
from mcp_cli.client import connect
from mcp_cli.client.options import DIRECT, REQUIRE, Options, environment
from mcp_cli.client.tool_call import ToolCall, answered
from mcp_cli.config import files, model
from mcp_cli.config.model import Config, ServerConfig
from mcp_cli.names import CALL, GRACE_S, INTERFACE, NAME

Events = Generator[dict[str, Any], None, None]

START_TIMEOUT_S = 60.0
TTL_VARIABLE = "MCP_DAEMON_TTL"
# For what the daemon does by itself, however busy it is.
CONFIGURE_TIMEOUT_S = 30.0
FIRST_RETRY_S = 0.2
MAX_RETRY_S = 30.0  # the original's


class NoSuchServer(errors.DaemonryError):
    """The configuration has no such server, or has it switched off."""


class Session:
    """The servers, as one command sees them.

    Args:
        options: the command's.
        surroundings: the caller's environment; this process's by default.
    """

    def __init__(self, options: Options, surroundings: Mapping[str, str] | None = None) -> None:
        self.options = options
        self._environment = environment() if surroundings is None else surroundings
        self._config: Config | None = None
        self._client: Any = None
        self._fingerprints: dict[str, str] = {}

    # --- the configuration ---

    @property
    def config(self) -> Config:
        """The configuration that counts.

        Raises:
            ConfigError: there is none, or it cannot be used.
        """
        if self._config is None:
            options = self.options
            if options.one_off:
                self._config = files.one_off(options.stdio, options.url, self._environment)
            else:
                self._config = files.load(options.config, self._environment)
        return self._config

    def server(self, name: str) -> ServerConfig:
        """Return a server of the configuration.

        Raises:
            NoSuchServer: there is none of that name; the nearest is named.
            ConfigError: as `config`.
        """
        found = self.config.server(name)
        if found is not None:
            return found
        if any(one.name == name for one in self.config.servers):
            raise NoSuchServer(f"server {name!r} is switched off in {self.config.path}")
        names = [one.name for one in self.config.enabled()]
        hint = did_you_mean(name, names, "there are")
        raise NoSuchServer(f"there is no server {kit.printable(name)!r} in {self.config.path}: {hint}")

    def definition(self, one: ServerConfig) -> dict[str, Any]:
        """Return a server's definition, filled in with the caller's environment.

        Raises:
            ConfigError: a variable is not set.
        """
        made = model.definition(one, self.config, self._environment, self.options.protocol)
        self._fingerprints[one.name] = made["fingerprint"]
        return made

    # --- the connection ---

    @property
    def client(self) -> Any:
        """What answers the calls: a client of the daemon, or the pool in this process.

        Raises:
            NotRunning: a daemon is required and there is none.
            As `daemonry.ensure`, where one is started.
        """
        if self._client is None or getattr(self._client, "closed", False):
            self._client = self._connect()
        return self._client

    def _connect(self) -> Any:
        if self.options.mode == DIRECT:
            from mcp_cli import pool
            from mcp_cli.client import answers

            direct = pool.in_this_process(for_command=True)
            answers.answer_by(direct)
            return direct
        client = connect.try_connect()
        if client is not None:
            return client
        if self.options.mode == REQUIRE:
            raise errors.NotRunning(NAME)
        return self.start_daemon()

    def start_daemon(self) -> Client:
        """Return a client of the daemon, which is started if it does not run, with the configured idle time.

        Raises:
            As `daemonry.ensure`.
        """
        from mcp_cli.client import starting

        variables: dict[str, str] = {}
        if not self._environment.get(TTL_VARIABLE) and self._config is not None:
            variables[TTL_VARIABLE] = f"{self._config.daemon_ttl_s:g}"
        return starting.started(variables, START_TIMEOUT_S)

    def configure(self, servers: Iterable[ServerConfig]) -> list[dict[str, str]]:
        """Give the daemon the definitions of some servers, and return how they are called.

        Raises:
            ConfigError: a variable is not set.
            DeadlineExceeded: the daemon does not answer; no server was asked for anything.
        """
        servers = list(servers)
        definitions = [self.definition(one) for one in servers]
        limit_s = min(self.options.timeout_s or CONFIGURE_TIMEOUT_S, CONFIGURE_TIMEOUT_S)
        method = f"{INTERFACE}.Configure"
        try:
            changed = self.client.call(method, {"servers": definitions}, timeout_s=limit_s)
        except errors.DeadlineExceeded:
            raise errors.DeadlineExceeded("configure", limit_s, "no", "the daemon") from None
        if not self.options.quiet and self.options.mode != DIRECT:
            self._tell_drift([one for one in servers if one.name in changed["added"] and one.needed()])
        return [{"server": one["name"], "fingerprint": one["fingerprint"]} for one in definitions]

    def _tell_drift(self, new: list[ServerConfig]) -> None:
        """Say of a server that it is new only because the caller's variables are others."""
        if not new:
            return
        running = self.client.call(f"{INTERFACE}.Servers")["result"]
        for one in new:
            others = [
                other
                for other in running
                if other["server"] == one.name
                and other.get("source", "") == self.config.path
                and other["fingerprint"] != self._fingerprints[one.name]
                and other["state"] in ("starting", "ready")  # and not retired
            ]
            if others:
                needed = ", ".join(one.needed())
                kit.complain(
                    f"{one.name}: your environment ({needed}) is not that of the one that runs:"
                    " yours is another"
                )

    def ask(
        self, method: str, server: str, parameters: dict[str, Any], timeout_s: float | None = None
    ) -> dict[str, Any]:
        """Call a method that gives one reply, about one server.

        Raises:
            NoSuchServer, ConfigError: before anything is sent.
            CallFailed: as the method.
        """
        (ref,) = self.configure([self.server(server)])
        limit_s = (timeout_s or self.options.timeout_s or self._limit_s(server)) + GRACE_S
        reply: dict[str, Any] = self.client.call(
            f"{INTERFACE}.{method}", {**ref, **parameters}, timeout_s=limit_s
        )
        return reply

    def plain(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Call a method that gives one reply and is about no server.

        Raises:
            CallFailed: as the method.
        """
        limit_s = max(self.options.timeout_s or 0.0, CONFIGURE_TIMEOUT_S)
        reply: dict[str, Any] = self.client.call(f"{INTERFACE}.{method}", parameters, timeout_s=limit_s)
        return reply

    def watch(self, method: str, parameters: dict[str, Any], idle_s: float | None) -> Events:
        """Call a method that gives events and is about no server.

        Raises:
            CallFailed: as the method.
        """
        return self._watched(f"{INTERFACE}.{method}", parameters, idle_s)

    def stream(self, method: str, server: str, parameters: dict[str, Any]) -> Events:
        """Call a method that gives events, about one server.

        Raises:
            NoSuchServer, ConfigError: before anything is sent.
            CallFailed: as the method.
        """
        (ref,) = self.configure([self.server(server)])
        limit_s = (self.options.timeout_s or self._limit_s(server)) + GRACE_S
        if (
            self.options.timeout_s is not None
            and "timeout_s" not in parameters
            and method in ("Read", "Prompt")
        ):
            parameters = {**parameters, "timeout_s": self.options.timeout_s}
        return self._watched(f"{INTERFACE}.{method}", {**ref, **parameters}, limit_s)

    def listings(self, method: str, servers: list[ServerConfig], detail: bool = True) -> Events:
        """List what several servers have; each comes when it has answered.

        Raises:
            ConfigError: before anything is sent.
        """
        refs = self.configure(servers)
        limit_s = max([one.start_timeout_s for one in servers], default=0.0) + GRACE_S
        return self._watched(f"{INTERFACE}.{method}", {"servers": refs, "detail": detail}, limit_s)

    def call(self, asked: ToolCall) -> Events:
        """Call a tool.

        Raises:
            NoSuchServer, ConfigError: before anything is sent.
        """
        (ref,) = self.configure([self.server(asked.server)])
        parameters = asked.parameters(self.options, ref["fingerprint"], answered(self.options))
        limit_s = (self.options.timeout_s or self._limit_s(asked.server)) + GRACE_S
        return self._watched(CALL, parameters, limit_s)

    def retried(self, attempt: Callable[[], int]) -> int:
        """Make an attempt, and again while it fails in a way that certainly sent nothing.

        That is a daemon that is ending, or one that went away before it was asked; a failure that may
        have run is never repeated.  The first pause is short: a daemon ends in a moment.

        Raises:
            As the last attempt.
        """
        for number in range(self.config.retry_max):
            try:
                return attempt()
            except (errors.Draining, errors.Overloaded, errors.ConnectionLost) as error:
                if error.ran != "no":
                    raise
                failed = error
            self.close()
            if self.options.mode == DIRECT:
                raise failed
            time.sleep(min(MAX_RETRY_S, FIRST_RETRY_S if not number else self._retry_s(number)))
        return attempt()

    def _retry_s(self, number: int) -> float:
        return float(self.config.retry_delay_ms / 1000 * 2 ** (number - 1))

    def patience_s(self, parameters: Mapping[str, Any]) -> float:
        """Return how long the daemon may be silent in a call with these parameters, in seconds.

        It measures the server's silence itself; this is for a daemon that hangs.
        """
        refs = parameters.get("servers") or [parameters]
        asked = parameters.get("timeout_s") or self.options.timeout_s
        return max(asked or self._limit_s(ref["server"]) for ref in refs) + GRACE_S

    def _limit_s(self, server: str) -> float:
        found = self.config.server(server)
        return self.config.timeout_s if found is None or found.timeout_s is None else found.timeout_s

    def _watched(self, method: str, parameters: dict[str, Any], idle_s: float | None) -> Events:
        events: Events = self.client.stream(method, parameters, idle_s=idle_s)
        if self.options.mode == DIRECT:
            return events
        return connect.watched(events, self.client)

    def close(self) -> None:
        """End the connection, and with it the calls under way; in direct mode, the servers."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
