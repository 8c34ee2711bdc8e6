"""The command's entry: a plain `vx build` ends here, the others are handed on.

Owns the choice.  Every `vx build` pays for the imports here and below.
"""

from __future__ import annotations

import sys

from daemonry.cli import kit
from vx.cli import build

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Be the command `vx`."""
    kit.leave(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Do what `vx ARGUMENTS` does and return its exit code."""
    return kit.command("vx", arguments, _run)


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0] == "build":
        asked = build.parse(arguments[1:])
        if asked is not None:
            return build.perform(asked)
    if arguments[:1] == ["_complete"]:
        from vx.cli.grammar import complete

        return complete(arguments[1:])
    from vx.cli.commands import run as run_any

    return run_any(arguments)
