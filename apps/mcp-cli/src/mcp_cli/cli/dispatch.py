"""Doing what a command line asks: every command but a warm `call`.

Owns the way from the words to the function that does it, and what becomes of its errors.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from daemonry import errors
from daemonry.cli.parser import parser_of
from mcp_cli.cli import grammar
from mcp_cli.client.options import Options
from mcp_cli.names import NAME

Does = Callable[[Options, argparse.Namespace], int]


def run(options: Options, words: list[str], behind: list[str]) -> int:
    """Do what a command line asks and return its exit code.

    Raises:
        DaemonryError, OSError: it failed.
        SystemExit: the library did it, or it was asked in the wrong way.
    """
    if not words:
        words = ["list"]
    given = parser_of(grammar.MCP_CLI).parse_args([*words, *(["--", *behind] if behind else [])])
    for option, is_given in (("--detach", options.detach), ("--schema", options.schema is not None)):
        if is_given:
            raise errors.ArgumentInvalid(option, f"is an option of {NAME} call")
    module, _, function = given.does.partition(":")
    if not module:
        raise errors.ArgumentInvalid(
            " ".join(words), f"is not a whole command (try {NAME} {words[0]} --help)"
        )
    import importlib

    does: Does = getattr(importlib.import_module(f"mcp_cli.{module}"), function)
    try:
        return does(options, given)
    except (errors.DaemonryError, KeyboardInterrupt) as error:
        if (
            isinstance(error, errors.ConfigError | errors.TargetInvalid)
            and not options.printer.prints_failures
        ):
            raise
        from mcp_cli.client import failures

        return failures.tell(error, options, _server_of(given))


def _server_of(given: argparse.Namespace) -> str:
    """Return the server that a command is about, for messages; the program's name for none."""
    target = getattr(given, "server", None) or getattr(given, "target", None) or NAME
    first = str(target[0] if isinstance(target, list) else target)
    return NAME if "://" in first else first.partition("/")[0]
