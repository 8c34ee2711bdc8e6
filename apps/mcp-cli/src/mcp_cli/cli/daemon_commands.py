"""`daemon start|stop|restart|status|logs` and `shutdown`.

Owns their words; the library does them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from daemonry import Instance, errors
from daemonry.cli import kit, terminal
from mcp_cli.client import connect, options
from mcp_cli.client.options import Options
from mcp_cli.client.session import TTL_VARIABLE
from mcp_cli.config.model import DEFAULT_TTL_S
from mcp_cli.names import INTERFACE, NAME


def start(options: Options, given: argparse.Namespace) -> int:
    """Do `daemon start`: also where it runs already."""
    _set_ttl(options, given.ttl)
    if given.foreground:
        return _library("run")
    return _library("start", *_common(options))


def restart(options: Options, given: argparse.Namespace) -> int:
    """Do `daemon restart`."""
    _set_ttl(options, given.ttl)
    return _library("restart", *_common(options))


def stop(options: Options, given: argparse.Namespace) -> int:
    """Do `daemon stop` and `shutdown`."""
    asked = kit.Options(json=options.json, force=getattr(given, "force", False), timeout_s=options.timeout_s)
    return kit.perform("stop", Instance.named(NAME), asked)


def status(options: Options, given: argparse.Namespace) -> int:
    """Do `daemon status`: the daemon, then the servers that it keeps."""
    del given
    # The daemon's variables are compared with those that it would be given now.
    with contextlib.suppress(errors.ConfigError):
        os.environ.setdefault(TTL_VARIABLE, _configured_ttl(options))
    asked = kit.Options(json=options.json, timeout_s=options.timeout_s)
    code = kit.perform("status", Instance.named(NAME), asked)
    if code == kit.DONE:
        options.printer.remark(_say_servers)
    return code


def _say_servers() -> None:
    client = connect.try_connect()
    if client is None:
        return
    with client:
        servers = client.call(f"{INTERFACE}.Servers", {"usage": True})["result"]
    rows = [
        [
            one["server"],
            one["state"],
            f"pid {one['pid']}" if one.get("pid") else "",
            _usage(one),
            f"{one['calls']} under way" if one.get("calls") else "",
            one.get("error", ""),
        ]
        for one in servers
    ]
    for line in terminal.aligned(rows, None, "  "):
        kit.say(kit.printable(line) if line.strip() != line else f"  {kit.printable(line)}")


def _usage(one: Mapping[str, Any]) -> str:
    """Return a server's processes and memory: `3 processes, 81 MB`."""
    count = one.get("processes", 0)
    return f"{count} process{'' if count == 1 else 'es'}, {one['rss_bytes'] / 1e6:.0f} MB" if count else ""


def logs(options: Options, given: argparse.Namespace) -> int:
    """Do `daemon logs`."""
    words = _json(options)
    if given.follow:
        words.append("--follow")
    if given.tail is not None:
        words += ["--tail", given.tail]
    if given.since is not None:
        words += ["--since", given.since]
    return _library("logs", *words)


def _common(options: Options) -> list[str]:
    timeout = ["--timeout", f"{options.timeout_s:g}"] if options.timeout_s else []
    return [*_json(options), *timeout]


def _json(options: Options) -> list[str]:
    return ["--json"] if options.json else []


def _library(*words: str) -> int:
    from mcp_cli.definition import daemon

    sys.argv[0] = NAME
    daemon.main(list(words))


def _set_ttl(given: Options, ttl: str | None) -> None:
    """Say in the environment, which the daemon inherits, how long it stays without work."""
    if ttl is not None:
        limit_s = 0.0 if ttl in ("0", "0.0") else kit.seconds(ttl)
        if limit_s is None:
            raise errors.ArgumentInvalid(ttl, "is not a number of seconds")
        os.environ[TTL_VARIABLE] = ttl
        return
    if os.environ.get(TTL_VARIABLE):
        return
    try:
        os.environ[TTL_VARIABLE] = _configured_ttl(given)
    except errors.ConfigError as error:
        kit.complain(f"{error} (the daemon starts all the same)")


def _configured_ttl(given: Options) -> str:
    """Return the idle time that a call would start the daemon with; the default where nothing is configured.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    from mcp_cli.config import files

    found = files.find(given.config, options.environment())
    if found is None:
        return f"{DEFAULT_TTL_S:g}"
    return f"{files.load_found(found, options.environment()).daemon_ttl_s:g}"
