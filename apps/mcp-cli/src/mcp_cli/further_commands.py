"""The commands that offer the servers to other programs.

Owns their words.  What they do is in modules of their own, which long-lived programs use as well.
"""

from __future__ import annotations

import argparse

from daemonry import errors
from mcp_cli.options import Options


def add_serve(serve: argparse.ArgumentParser) -> None:
    """Add the words of `serve`."""
    serve.add_argument("servers", nargs="*", metavar="SERVER", help="these only")
    serve.add_argument("--http", metavar="PORT", help="HTTP on loopback instead of stdio; 0 for any port")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen at (%(default)s)")


def serve(options: Options, given: argparse.Namespace) -> int:
    """Do `serve`: one MCP server with the tools of all."""
    from mcp_cli import serve as server

    port = None
    if given.http is not None:
        if not given.http.isdecimal() or int(given.http) > 65535:
            raise errors.ArgumentInvalid(given.http, "is no port")
        port = int(given.http)
    return server.run(options, given.servers, port, given.host)


# Name, help, what adds the words, what does it.
ALL = (("serve", "be one MCP server with the tools of all, on stdio or HTTP", add_serve, "serve"),)
