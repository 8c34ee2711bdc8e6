"""The command `vx`.

    entry         its entry: `build` in its plain forms ends here at once, the rest is handed on
    build         `vx build`: asks aether, and shows its answers
    bring_up      reaching aether when it does not answer at once
    progress      what a build that runs looks like: a bar on a terminal, lines elsewhere
    grammar       the table of all commands, and their completion
    commands      what all commands do
    explaining    `vx explain`
    store         `vx verify`, `vx gc`, `vx clean`
    failures      errors as one line and an exit code

A build that changes nothing costs little more than the interpreter's start: `entry` and `build` import
no asyncio, no msgspec, no argparse, nothing that compiles regular expressions.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Be the command `vx`."""
    from vx.cli.entry import main as be

    be()
