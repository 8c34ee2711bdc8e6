"""A command line's parser, made of its table: argparse's, with errors of one line, and options anywhere.

argparse takes a list of words in one piece: of `call NAME METHOD --oneway KEY=VALUE` it gives no word to
the list, and knows none that follows.  So options are moved before the other words first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

from daemonry.cli import exit_codes, kit, output
from daemonry.cli.grammar import LINES, SECONDS, Command, Option, Program, ValueKind, Word
from daemonry.spelling import nearest
from daemonry.terminal_text import printable

# Of a number of lines: more than any log has.
_MAX_LINES_DIGITS: Final = 9
# How alike a word is to a choice that it is taken for: they are short.
_ALIKE: Final = 0.7


# For those who try what daemons have: `daemonry status --home DIR`.
_OF_HOMES: Final = "up, down, ps, restart, logs, ui"


class Parser(argparse.ArgumentParser):
    """As `argparse.ArgumentParser`; give it to `add_subparsers` as `parser_class`, too."""

    def error(self, message: str) -> NoReturn:
        """Say in one line, where argparse prints two, how it is used wrongly, and exit."""
        if self.prog == "daemonry" and message.startswith("unrecognized arguments: --home"):
            message += f"; for homes: {_OF_HOMES}"
        self.exit(exit_codes.USAGE, f"{self.prog}: {printable(message)} (try {self.prog} --help)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse's; the nearest choice is named instead of all."""
        choices = [str(one) for one in action.choices or ()]
        near = (
            nearest(str(value), choices, _ALIKE)
            if action.choices is not None and value not in action.choices
            else ""
        )
        if near:
            raise argparse.ArgumentError(action, f"there is no {str(value)!r}: did you mean {near!r}?")
        super()._check_value(action, value)

    def _print_message(self, message: str, file: Any = None) -> None:
        """As argparse's, for which it is well where that cannot be written."""
        try:
            (file or sys.stderr).write(message or "")
        except BrokenPipeError:
            raise
        except OSError as error:
            raise SystemExit(output.unwritable(error)) from error

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's; commands parse what follows them themselves."""
        words = list(sys.argv[1:] if args is None else args)
        if self._subparsers is None:
            words = options_first(words, self._taken())
        return super().parse_known_args(words, namespace)

    def _taken(self) -> dict[str, int]:
        """Return how many words each option takes; none for one that takes all that follow."""
        taken = {}
        for option, action in self._option_string_actions.items():
            if action.nargs is None or isinstance(action.nargs, int):
                taken[option] = 1 if action.nargs is None else action.nargs
        return taken


def options_first(words: Sequence[str], taken: Mapping[str, int]) -> list[str]:
    """Return the words with the known options, and their values, before the others.

    Args:
        words: as they were typed; from `--` on they stay as they are.
        taken: how many words each option takes.
    """
    ahead: list[str] = []
    others: list[str] = []
    end = words.index("--") if "--" in words else len(words)
    at = 0
    while at < end:
        word = words[at]
        count = _count(word, taken)
        if count is None or at + count >= end:  # what is not there shall not be another's word
            others.append(word)
            at += 1
        else:
            ahead += words[at : at + 1 + count]
            at += 1 + count
    return [*ahead, *others, *words[end:]]


def _count(word: str, taken: Mapping[str, int]) -> int | None:
    """Return how many words an option takes that begins a command line; None if it is not an option."""
    if word in taken:
        return taken[word]
    if word.startswith("--"):
        return 0 if word.partition("=")[0] in taken else None
    if not word.startswith("-"):
        return None
    for at, letter in enumerate(word[1:], 2):  # `-fn 3` is `-f -n 3`, and so is `-fn3`
        count = taken.get(f"-{letter}")
        if count is None:
            return None
        if count:
            return count if at == len(word) else 0
    return 0 if len(word) > 1 else None


def parser_of(program: Program) -> Parser:
    """Return the parser of a program's command line.

    The result has the verbs of the command as `verb` ("daemon start"), and its function as `does`.
    """
    epilog = f"{program.epilog}\n\n{exit_codes.HELP}" if program.epilog else exit_codes.HELP
    whole = Parser(prog=program.name, description=program.about, epilog=epilog, **_FORM)
    version = f"{program.name} {program.version}"
    whole.add_argument(*program.version_names.split(), action="version", version=version)
    _show_options(whole, "options before the command", program.leading)
    _show_options(whole, "options of every command, wherever they stand", program.common)
    whole.set_defaults(verb="", does="")
    _add_commands(whole, program.commands, "", needs_command=program.needs_command)
    return whole


def _show_options(whole: Parser, title: str, options: tuple[Option, ...]) -> None:
    """Put options into the help that the program takes out of its words before they are parsed."""
    if options:
        group = whole.add_argument_group(title)
        for option in options:
            how: dict[str, Any] = (
                {"metavar": option.metavar} if option.takes_value else {"action": "store_true"}
            )
            group.add_argument(*option.flags, help=option.help, default=argparse.SUPPRESS, **how)


class _Paragraphs(argparse.HelpFormatter):
    """Fills each paragraph to the terminal's width; one of several lines keeps them."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = text.split("\n\n")
        return "\n\n".join(
            one if "\n" in one else super(_Paragraphs, self)._fill_text(one, width, indent) for one in parts
        )


# An option has to be written out.
_FORM: Final[dict[str, Any]] = {"formatter_class": _Paragraphs, "allow_abbrev": False}


def _add_commands(
    parser: argparse.ArgumentParser, commands: tuple[Command, ...], path: str, *, needs_command: bool = True
) -> None:
    kept_as = f"command {path.count(' ')}" if path else "command"  # with a blank: no option's attribute
    verbs = parser.add_subparsers(
        dest=kept_as, metavar="COMMAND", required=needs_command, parser_class=Parser
    )
    for command in commands:
        one = verbs.add_parser(
            command.name,
            aliases=command.aliases,
            help=command.help,
            description=command.help[0].upper() + command.help[1:] + ".",
            epilog=command.epilog or None,
            **_FORM,
        )
        _fill(one, command, f"{path} {command.name}".strip())


def parser_of_command(program_name: str, command: Command) -> Parser:
    """Return the parser of one command of a program, for the words behind its verb."""
    description = command.help[0].upper() + command.help[1:] + "."
    parser = Parser(prog=f"{program_name} {command.name}", description=description, **_FORM)
    _fill(parser, command, command.name)
    return parser


def _fill(parser: argparse.ArgumentParser, command: Command, path: str) -> None:
    parser.set_defaults(verb=path, does=command.does)
    for word in command.words:
        _add_word(parser, word)
    for option in command.options:
        _add_option(parser, option)
    if command.commands:
        _add_commands(parser, command.commands, path)


def _add_word(parser: argparse.ArgumentParser, word: Word) -> None:
    how: dict[str, Any] = {"help": word.help or None}
    if word.metavar:
        how["metavar"] = word.metavar
    if word.choices:
        how["choices"] = word.choices
    if word.many:
        how["nargs"] = word.many
    if word.many == "*":
        how["default"] = []  # otherwise argparse asks for one
    elif word.default is not None:
        how["default"] = word.default
    parser.add_argument(word.name, type=_READ.get(word.kind, str), **how)


def _add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    how: dict[str, Any] = {"help": option.help or argparse.SUPPRESS}
    if option.stored_as:
        how["dest"] = option.stored_as
    if not option.takes_value:
        parser.add_argument(*option.flags, action="store_true", **how)
        return
    if option.metavar:
        how["metavar"] = option.metavar
    if option.choices:
        how["choices"] = option.choices
    if option.repeated:
        how.update(action="append", default=[])
    elif option.default is not None:
        how["default"] = option.default
    parser.add_argument(*option.flags, type=_READ.get(option.kind, str), **how)


def _seconds(digits: str) -> float:
    limit_s = kit.seconds(digits)
    if limit_s is None:
        raise argparse.ArgumentTypeError(f"{digits!r} is not a number of seconds above 0")
    return limit_s


def _lines(digits: str) -> int:
    if not digits.isascii() or not digits.isdigit() or len(digits) > _MAX_LINES_DIGITS:
        raise argparse.ArgumentTypeError(f"{digits!r} is not a number of lines")
    return int(digits)


# How a value of a kind is read; any other is a text.
_READ: Final[dict[ValueKind, Callable[[str], Any]]] = {SECONDS: _seconds, LINES: _lines}
