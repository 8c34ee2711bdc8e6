"""A `Daemon` with its command line: the only place that knows both.

Owns `Daemon.main()`.  What a daemon is, is `daemon.definition`; what its command line does, `cli`.
"""

from __future__ import annotations

import sys

from daemonry.daemon import definition
from daemonry.errors import TargetInvalid
from daemonry.process.program.launching import is_boot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from daemonry.cli.grammar import Command
    from daemonry.cli.mount import MountedCommand


class Daemon(definition.Daemon):  # noqa: D101  # the same one
    __doc__ = definition.Daemon.__doc__

    def main(
        self,
        arguments: list[str] | None = None,
        *,
        commands: Mapping[Command, Callable[[Namespace], int]] | None = None,
    ) -> NoReturn:
        """Run this daemon's command line and exit with its code.

        Args:
            arguments: the words after the program's name; those of this process by default.
            commands: the program's own commands, each with a function that takes the parsed words and
                returns the exit code.  They are in its help and its completion, before the daemon's.

        Raises:
            ValueError: an own command has the name of one of the daemon's.
            TargetInvalid: the program is being imported for its Daemon, and not run.
        """
        program = sys.modules.get("daemonry.daemon.loader")
        if program is not None and program.loading:
            raise TargetInvalid(
                self.name,
                'main() is called when the program is imported: put `if __name__ == "__main__":` above it',
            )
        from daemonry.cli import kit
        from daemonry.cli.main import daemon_main

        if (
            is_boot()
        ):  # of a frozen program that was started to be this daemon: its target stands behind `run`
            arguments = ["run", *sys.argv[3:]]
        words = sys.argv[1:] if arguments is None else arguments
        code = daemon_main(self, words, commands=commands or {})
        kit.complete_bundle()
        raise SystemExit(code)

    def command(self, name: str = "daemon") -> MountedCommand:
        """Return this daemon's command line, to be a command of click's, Typer's or argparse's.

        `daemon.command().add_to(cli)` gives `PROGRAM daemon status` and all others, with their own help,
        errors and exit codes.

        Args:
            name: the command's name.
        """
        from daemonry.cli.mount import MountedCommand

        return MountedCommand(self, name)
