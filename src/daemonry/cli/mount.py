"""A daemon's command line as a command of another: click's, Typer's or argparse's.

Owns handing the words on as they are: they are parsed here, with this program's own help, errors and exit
codes.  No such library is imported before one of its objects is handed in.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final

from daemonry.cli.commands import own
from daemonry.cli.main import daemon_main

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from daemonry.daemon.definition import Daemon

_ALL_WORDS: Final = {
    "allow_extra_args": True,
    "allow_interspersed_args": False,
    "help_option_names": [],
    "ignore_unknown_options": True,
}


class MountedCommand:
    """A daemon's command line, to be a command of another.

    Args:
        daemon: the daemon.
        name: the command's name.
    """

    def __init__(self, daemon: Daemon, name: str) -> None:
        self._daemon = daemon
        self._name = name
        self._help = f"Run and command the daemon {daemon.name}."

    def add_to(self, parent: Any) -> None:
        """Add it to a `click.Group`, a `typer.Typer`, or what argparse's `add_subparsers()` returns.

        Raises:
            TypeError: `parent` has another type.
        """
        if hasattr(parent, "registered_commands") and hasattr(parent, "command"):
            self._add_to_typer(parent)
        elif hasattr(parent, "add_parser"):
            self._add_to_argparse(parent)
        elif hasattr(parent, "add_command"):
            parent.add_command(self._of_click())
        else:
            raise TypeError(
                "a command is added to a click.Group, a typer.Typer or what add_subparsers() returns, "
                f"and not to {type(parent).__name__}"
            )

    def run(self, words: Sequence[str], program: str) -> NoReturn:
        """Do what the words say and exit with its code.

        Args:
            words: those behind the command's name.
            program: the words before them, for the usage line.
        """
        raise SystemExit(daemon_main(self._daemon, list(words), program))

    def verbs(self) -> list[str]:
        """Return the words that it may begin with."""
        table = own(self._name, self._daemon.name, self._daemon.version, completes=False)
        return [command.name for command in table.commands]

    def _add_to_typer(self, app: Any) -> None:
        import typer  # type: ignore[import-not-found,unused-ignore]

        def run(context: typer.Context) -> None:
            self.run(context.args, context.command_path)

        run.__annotations__["context"] = typer.Context  # Typer reads annotations, which are text here
        app.command(self._name, help=self._help, add_help_option=False, context_settings=_ALL_WORDS)(run)

    def _of_click(self) -> Any:
        import click

        def run(words: tuple[str, ...]) -> None:
            self.run(words, click.get_current_context().command_path)

        def offers(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
            if context.params.get("words"):
                return []
            return [verb for verb in self.verbs() if verb.startswith(begun)]

        words = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED, shell_complete=offers)
        return click.Command(self._name, _ALL_WORDS, run, [words], help=self._help, add_help_option=False)

    def _add_to_argparse(self, subparsers: Any) -> None:
        # With a character that no word begins with, every word is a plain one, `--help` too.
        parser = subparsers.add_parser(self._name, help=self._help, add_help=False, prefix_chars="\0")
        program = parser.prog
        parser.add_argument("words", nargs=argparse.REMAINDER, action=_running(self.run, program))


def _running(run: Callable[[Sequence[str], str], NoReturn], program: str) -> type[argparse.Action]:
    """Return an action that runs the command as it is parsed, as argparse's own for `--version` does."""

    class RunningAction(argparse.Action):
        def __call__(self, _parser: Any, _namespace: Any, values: Any, _option: Any = None) -> None:
            sys.stdout.flush()
            run(values, program)

    return RunningAction
