"""The commands that offer the servers to other programs: serve, record, replay, generate.

Owns their words.  What they do is in modules of their own, which long-lived programs use as well.
"""

from __future__ import annotations

import argparse
import os
import sys

from daemonry import errors
from mcp_cli.client.options import Options
from mcp_cli.client.session import Session


def add_serve(serve: argparse.ArgumentParser) -> None:
    """Add the words of `serve`."""
    serve.add_argument("servers", nargs="*", metavar="SERVER", help="these only")
    serve.add_argument("--http", metavar="PORT", help="HTTP on loopback instead of stdio; 0 for any port")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen at (%(default)s)")
    serve.add_argument(
        "--token-file", metavar="FILE", help="the token that HTTP requests carry; made if missing"
    )
    serve.add_argument("--open", action="store_true", help="ask HTTP requests for no token")
    serve.add_argument(
        "--print-config", metavar="EDITOR", help="print what an editor's file needs for --http PORT, and end"
    )


def serve(options: Options, given: argparse.Namespace) -> int:
    """Do `serve`: one MCP server with the tools of all."""
    from mcp_cli.gateway import serve as server

    port = None
    if given.http is not None:
        if not given.http.isdecimal() or int(given.http) > 65535:
            raise errors.ArgumentInvalid(given.http, "is no port")
        port = int(given.http)
    token_path = None if given.open else os.path.abspath(given.token_file or server.usual_token_path())
    if given.print_config is not None:
        return _print_config(given, port, token_path)
    _check(options, given.servers)
    return server.run(options, given.servers, port, given.host, token_path)


def _print_config(given: argparse.Namespace, port: int | None, token_path: str | None) -> int:
    """Print what an editor has to know: where, and the token.

    Raises:
        ArgumentInvalid: the editor is not known, or there is no port that it could be told.
        UnsafePath: the token's file cannot be used.
    """
    from mcp_cli.gateway import editor_config
    from mcp_cli.gateway import serve as server

    if given.print_config not in editor_config.FORMS:
        raise errors.ArgumentInvalid(given.print_config, f"is none of {', '.join(editor_config.FORMS)}")
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
    """See to it that servers that are named are there: a client could only be told that there are no tools.

    Raises:
        NoSuchServer, ConfigError: one is not, or the configuration cannot be used.
    """
    session = Session(options)
    for name in servers:
        session.server(name)


def add_record(record: argparse.ArgumentParser) -> None:
    """Add the words of `record`."""
    record.add_argument("file", metavar="FILE", help="what is written, JSON lines, mode 0600")
    record.add_argument("server", metavar="SERVER")


def record(options: Options, given: argparse.Namespace) -> int:
    """Do `record FILE SERVER`."""
    from mcp_cli.gateway import recording

    _check(options, [given.server])
    return recording.record(options, given.file, given.server)


def add_replay(replay: argparse.ArgumentParser) -> None:
    """Add the words of `replay`."""
    replay.add_argument("file", metavar="FILE", help="a recording")


def replay(options: Options, given: argparse.Namespace) -> int:
    """Do `replay FILE`."""
    from mcp_cli.gateway import recording

    del options
    return recording.replay(given.file)


def add_generate(generate: argparse.ArgumentParser) -> None:
    """Add the words of `generate`."""
    generate.add_argument("server", metavar="SERVER")
    generate.add_argument(
        "-o", "--output", metavar="FILE", help="where it is written, if not to standard output"
    )
    generate.add_argument("--command", action="store_true", dest="standalone", help="make it a command, too")


def generate(options: Options, given: argparse.Namespace) -> int:
    """Do `generate SERVER [-o FILE] [--command]`."""
    from mcp_cli.gateway import generate as generator

    return generator.run(options, given.server, given.output, given.standalone)


# Name, help, what adds the words, what does it.
ALL = (
    ("serve", "be one MCP server with the tools of all, on stdio or HTTP", add_serve, "serve"),
    (
        "record",
        "be an MCP server that stands before another and writes down what passes",
        add_record,
        "record",
    ),
    ("replay", "be the MCP server of a recording", add_replay, "replay"),
    ("generate", "write a typed Python module, or a command, for a server's tools", add_generate, "generate"),
)
