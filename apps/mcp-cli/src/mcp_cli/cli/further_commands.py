"""The commands that offer the servers to other programs: serve, record, replay, generate.

Owns the reading of their options.  Their work is in modules of their own, which long-lived programs use
as well.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from daemonry import errors
from mcp_cli.client.options import Options
from mcp_cli.client.session import Session

if TYPE_CHECKING:
    from mcp_cli.gateway.stand_in import StandIn


def serve(options: Options, given: argparse.Namespace) -> int:
    """Do `serve`: one MCP server with the tools of all."""
    from mcp_cli.gateway import serve as server

    port = None
    if given.http is not None:
        if not given.http.isdecimal() or int(given.http) > 65535:
            raise errors.ArgumentInvalid(given.http, "is not a port")
        port = int(given.http)
    token_path = None if given.open else os.path.abspath(given.token_file or server.usual_token_path())
    if given.print_config is not None:
        return _print_config(given, port, token_path)
    _check(options, given.servers)
    return server.run(options, given.servers, port, given.host, token_path, stand_in=_stand_in(given))


def _stand_in(given: argparse.Namespace) -> StandIn | None:
    """Return the few tools that are offered in place of all; None where all are.

    Raises:
        ArgumentInvalid: two kinds are asked for.
    """
    if given.lazy and given.code:
        raise errors.ArgumentInvalid("--code", "cannot be given with --lazy")
    if given.lazy:
        from mcp_cli.gateway.lazy import Lazy

        return Lazy()
    if given.code:
        from mcp_cli.gateway.code.offer import Code

        return Code()
    return None


def _print_config(given: argparse.Namespace, port: int | None, token_path: str | None) -> int:
    """Print what an editor has to know: where, and the token.

    Raises:
        ArgumentInvalid: the editor is not known, or there is not a port to give it.
        UnsafePath: the token's file cannot be used.
    """
    from mcp_cli.gateway import editor_config
    from mcp_cli.gateway import serve as server

    if given.print_config not in editor_config.FORMS:
        raise errors.ArgumentInvalid(given.print_config, f"is not one of {', '.join(editor_config.FORMS)}")
    if not port:
        raise errors.ArgumentInvalid(
            given.http or "--print-config", "an editor needs a port: --http PORT, not 0"
        )
    token = None if token_path is None else server.token_in(token_path)
    host = f"[{given.host}]" if ":" in given.host else given.host
    print(editor_config.text_for(given.print_config, f"http://{host}:{port}/mcp", token))
    print(f"(for {editor_config.FORMS[given.print_config][0]}; the token in it is a secret)", file=sys.stderr)
    return 0


def _check(options: Options, servers: list[str]) -> None:
    """Refuse servers that are not configured: a client would only see that there are no tools.

    Raises:
        NoSuchServer, ConfigError: one is not, or the configuration cannot be used.
    """
    session = Session(options)
    for name in servers:
        session.server(name)


def record(options: Options, given: argparse.Namespace) -> int:
    """Do `record FILE SERVER`."""
    from mcp_cli.gateway import recording

    _check(options, [given.server])
    return recording.record(options, given.file, given.server)


def replay(options: Options, given: argparse.Namespace) -> int:
    """Do `replay FILE`."""
    from mcp_cli.gateway import recording

    del options
    return recording.replay(given.file)


def generate(options: Options, given: argparse.Namespace) -> int:
    """Do `generate SERVER [-o FILE] [--command]`."""
    from mcp_cli.gateway import generate as generator

    if given.skill and given.standalone:
        raise errors.ArgumentInvalid("--skill", "replaces the command: give it without --command")
    return generator.run(options, given.server, given.output, given.standalone, as_skill=given.skill)
