"""The command's entry: a warm call ends here, all else is handed on.

Owns the choice.  Every `mcp-cli call` pays for the imports here and below: no asyncio, no
logging, no JSON, no TOML, no argparse, no third-party module, nothing that compiles regular expressions.
"""

from __future__ import annotations

import sys

from daemonry.cli import kit
from mcp_cli.client import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Be the command `mcp-cli`."""
    kit.leave(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Do what `mcp-cli ARGUMENTS` does and return its exit code."""
    # A tool's words may look like anything, `--host` too: it counts before the verb only.
    return kit.command(
        "mcp-cli", arguments, _run, leading=True, reads_input=("serve",), at_terminal=("auth",)
    )


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["_complete"]:
        from mcp_cli.cli import completion

        return completion.answer(arguments[1:])
    # A tool's words may look like anything; only `call` in first place makes them a tool's.
    given, words, behind = options.take(arguments, options.environment())
    if words[:1] == ["call"] and not {"-h", "--help"}.intersection(words[1:3]):
        from mcp_cli.cli import call

        kit.interruptible()  # now that what a call needs is imported; see scripts/mcp-cli
        return call.run(given, words[1:], behind)
    if not words or words[0] == "list":
        from mcp_cli.cli import warm_list

        kit.interruptible()
        code = warm_list.run(given, words[1:]) if not behind else None
        if code is not None:
            return code
    from mcp_cli.cli import dispatch

    kit.interruptible()  # now that what a call needs is imported; see scripts/mcp-cli
    return dispatch.run(given, words, behind)
