"""The command's entry: a quick command goes to `quick`, every other to `commands`.

Owns the choice between the two kinds of commands.  Every `palingenesis status` pays for the imports
here and below: no asyncio, no logging, no third-party module, nothing that compiles regular
expressions.
"""

from __future__ import annotations

import sys

from daemonry.cli import kit
from palingenesis.quick import perform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# Plain forms only; one with an option that is not known here is `commands`'s.
_QUICK = {
    "status": "status",
    "pause": "pause",
    "resume": "resume",
    "daemon status": "status",
    "daemon stop": "stop",
    "daemon reload": "reload",
}


def main() -> NoReturn:
    """Be the command `palingenesis`."""
    kit.leave(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Do what `palingenesis ARGUMENTS` does and return its exit code."""
    return kit.command(
        "palingenesis",
        arguments,
        _run,
        reads_input=("mcp serve",),
        at_terminal=("", "run", "attach", "hooks", "config edit"),
    )


def _run(arguments: list[str]) -> int:
    parsed = kit.parse(arguments)
    if parsed is not None and (verb := _QUICK.get(" ".join(parsed[0]))):
        return perform(verb, parsed[1])
    if arguments[:1] == ["_complete"]:
        from palingenesis.grammar import complete

        return complete(arguments[1:])
    from palingenesis.commands import run as run_any

    return run_any(arguments)
