"""A program's commands as data: verbs, words, options, what completes each, help and exit codes.

    Program     a command line: its commands, and the options that every command takes
    Command     one verb, or a group of them
    Word        what stands behind a verb
    Option      a flag, or an option with a value
    ValueKind        what a value is: how it is read, and what a shell offers for it
    table       a page's table of all commands

Owns the form, and a page's table.  `parser` makes a parser and its help of a table and `completion` what a
shell offers, so that a verb, an option and a word of help are written once.  A program that has quick
commands reads those without its table (`kit.parse`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple


class ValueKind(NamedTuple):
    """What a value is.

    Attributes:
        name: how it is found among those that a program completes itself.
        files: whether the shell offers files where the program offers nothing.
        dashes: whether such a value may begin with a dash, as an option does.
    """

    name: str
    files: bool = False
    dashes: bool = False


TEXT: Final = ValueKind("text")
SECONDS: Final = ValueKind("seconds")
LINES: Final = ValueKind("lines")
FILE: Final = ValueKind("file", files=True)
DIRECTORY: Final = ValueKind("directory", files=True)
HOST: Final = ValueKind("host")

SHELLS: Final = ("bash", "zsh", "fish")


class Option(NamedTuple):
    """A flag, or an option with a value.

    Attributes:
        names: its names with blanks between them, "-f --follow"; the first long one names its value.
        help: its purpose; "" hides it.
        metavar: what stands for its value in the help; "" for a flag.
        kind: what the value is.
        choices: all that the value may be; () where more is possible.
        repeated: whether it may be given several times.
        default: its value where it is not given; a flag's is False, a repeated option's [].
        stored_as: the attribute that holds its value; "" for its name's.
    """

    names: str
    help: str
    metavar: str = ""
    kind: ValueKind = TEXT
    choices: tuple[str, ...] = ()
    repeated: bool = False
    default: str | None = None
    stored_as: str = ""

    @property
    def flags(self) -> tuple[str, ...]:
        """Its names, one by one."""
        return tuple(self.names.split())

    @property
    def takes_value(self) -> bool:
        """Whether a value follows it."""
        return bool(self.metavar or self.choices)


class Word(NamedTuple):
    """What stands behind a verb, at its place.

    Attributes:
        name: the attribute that holds it.
        metavar: what stands for it in the help; "" shows its choices.
        help: its description.
        many: how many of it: "" for one, "?" for one at most, "*" for any number, "+" for one or more.
        kind: its kind.
        choices: all that it may be; () where more is possible.
        default: its value where it may be left out and is; None, or [] for several.
    """

    name: str
    metavar: str = ""
    help: str = ""
    many: str = ""
    kind: ValueKind = TEXT
    choices: tuple[str, ...] = ()
    default: str | None = None


class Command(NamedTuple):
    """One verb, or a group of them.

    Attributes:
        name: the verb.
        help: its effect, in a line; it begins with a small letter and has no full stop.
        words: what stands behind it.
        options: its options.
        commands: the verbs behind it, for a group.
        aliases: other names of it.
        epilog: what its own help ends with.
        does: what does it, as the program understands it.
    """

    name: str
    help: str
    words: tuple[Word, ...] = ()
    options: tuple[Option, ...] = ()
    commands: tuple[Any, ...] = ()  # of Command
    aliases: tuple[str, ...] = ()
    epilog: str = ""
    does: str = ""


class Program(NamedTuple):
    """A command line.

    Attributes:
        name: the program's.
        about: its purpose, a sentence.
        version: what `--version` prints behind the name.
        commands: its verbs.
        common: the options of every command, which the program takes out of its words before it parses them.
        leading: options that the program takes out likewise, and that stand before the verb only.
        epilog: what its help ends with.
        version_names: the names of the option that prints the version.
        needs_command: whether it does nothing without a verb.
    """

    name: str
    about: str
    version: str
    commands: tuple[Command, ...]
    common: tuple[Option, ...] = ()
    leading: tuple[Option, ...] = ()
    epilog: str = ""
    version_names: str = "--version"
    needs_command: bool = True


# What several programs have.
HELP_OPTION: Final = Option("-h --help", "show this help message and exit")
JSON_OPTION: Final = Option("--json", "print JSON")
HOST_OPTION: Final = Option(
    "--host", "run the command on this machine, [user@]host[:port], by ssh; or DAEMONRY_HOST", "HOST", HOST
)
COMPLETION: Final = Command(
    "completion", "print a shell's completion script", (Word("shell", choices=SHELLS),), does="completion"
)


def commands_of(of: Program | Command, path: str = "") -> Iterator[tuple[str, Command]]:
    """Yield all commands that do something, with the verbs that lead to each: "daemon start"."""
    for command in of.commands:
        whole = f"{path} {command.name}".strip()
        if command.commands:
            yield from commands_of(command, whole)
        else:
            yield whole, command


def table(program: Program) -> str:
    """Return a page's table, in Markdown, of all commands of a program, and of its common options."""
    lines = ["| command | options | what it does |", "| --- | --- | --- |"]
    for path, command in commands_of(program):
        shown = _cell(f"`{' '.join((path, *_words_shown(command)))}`")
        lines.append(f"| {shown} | {_options_shown(command.options)} | {_cell(command.help)} |")
    if program.common:
        lines += ["", "| option of every command | effect |", "| --- | --- |"]
        lines += [f"| {_option_shown(one)} | {_cell(one.help)} |" for one in program.common]
    if program.leading:
        lines += ["", "| option before the command | effect |", "| --- | --- |"]
        lines += [f"| {_option_shown(one)} | {_cell(one.help)} |" for one in program.leading]
    return "\n".join(lines)


def _words_shown(command: Command) -> Iterator[str]:
    for word in command.words:
        shown = word.metavar or "|".join(word.choices)
        several = " ..." if word.many in ("*", "+") else ""
        yield f"[{shown}{several}]" if word.many in ("?", "*") else f"{shown}{several}"


def _options_shown(options: tuple[Option, ...]) -> str:
    return ", ".join(_option_shown(one) for one in options if one.help)


def _option_shown(option: Option) -> str:
    value = f" {option.metavar or '|'.join(option.choices)}" if option.takes_value else ""
    return f"`{', '.join(option.flags)}{value}`".replace("|", "\\|")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
