"""The commands' entry: the quick ones are done here, the others handed on.

Owns the choice between the two.  The imports of this module, and theirs, are a cost of every
`status` costs, so both are written on the standard library's C modules.
"""

from __future__ import annotations

import os
import sys

from daemonry import faults
from daemonry.cli import kit
from daemonry.cli.kit import leave
from daemonry.daemon.instance import Instance

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Mapping
    from typing import Final, NoReturn

    from daemonry.cli.grammar import Command
    from daemonry.daemon.definition import Daemon

_NO_COMMANDS: Final[Mapping[Command, Callable[[Namespace], int]]] = {}
# Commands of a home that are read without argparse, where a home is meant and they are plain.
_OF_HOMES: Final = ("up", "down", "ps", "restart", "reload")
# Screens.
_AT_TERMINAL: Final = ("top", "attach")


def main() -> NoReturn:
    """Be the command `daemonry`."""
    leave(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Do what `daemonry ARGUMENTS` does and return its exit code."""
    return kit.command("daemonry", arguments, _daemonry, at_terminal=_AT_TERMINAL)


def daemon_main(
    daemon: Daemon,
    arguments: list[str],
    name: str = "",
    commands: Mapping[Command, Callable[[Namespace], int]] = _NO_COMMANDS,
) -> int:
    """Do what a program's own `ARGUMENTS` ask of its daemon and return the exit code.

    Args:
        daemon: the daemon.
        arguments: the words.
        name: how the usage line begins; the program's name by default.
        commands: the program's own, each with what does it.
    """
    program = name or os.path.basename(sys.argv[0]) or daemon.name
    return kit.command(program, arguments, lambda words: _program(daemon, words, name, commands))


def _daemonry(arguments: list[str]) -> int:
    parsed = _quick(arguments)
    if parsed is not None:
        words, options = parsed
        if len(words) == 1:
            return _perform(arguments[0], lambda: _instance(words[0]), options)
    code = _without_parser(arguments)
    if code is not None:
        return code
    if arguments[:1] == ["_complete"]:
        from daemonry.cli.offers import answer

        return answer(arguments[1:])
    from daemonry.cli.full import daemonry

    return daemonry(arguments)


def _started(arguments: list[str]) -> int:
    """Be the process that a starter started: a daemon, or a zygote and then, in a child of it, a daemon."""
    if arguments[1:] and arguments[1].startswith(":zygote:"):  # the name of no module
        from daemonry.launch.zygote.serving import serve

        words = serve()
        if words is None:
            return kit.DONE
        arguments = words
    from daemonry.cli.boot import quickly

    code = quickly(arguments[1:])
    if code is not None:
        return code
    from daemonry.cli.full import daemonry

    return daemonry(arguments)


def _without_parser(arguments: list[str]) -> int | None:
    """Do what other programs of ours ask for, by plain words; None where a fuller parser has to look."""
    if arguments in (["ps"], ["ps", "--json"]):
        from daemonry.cli.ps import ps

        return ps(as_json=len(arguments) > 1, names_only=False)
    if arguments and arguments[0] in _OF_HOMES:
        from daemonry.cli.homes.home_words import plainly

        asked = plainly(arguments[0], arguments[1:])
        if asked is not None:
            from daemonry.cli.homes.perform import perform

            return perform(asked)
    if arguments[:1] == ["dial"] and len(arguments) in (2, 4):
        from daemonry.cli.dial import quickly

        return quickly(arguments[1:])
    if arguments[:1] == ["run"] and "DAEMONRY_BOOT" in os.environ:
        return _started(arguments)
    if arguments[:3] == ["up", "--foreground", "--home"] and "DAEMONRY_BOOT" in os.environ:
        from daemonry.cli.boot import supervise

        return supervise(arguments[3:])
    return None


def _program(
    daemon: Daemon, arguments: list[str], name: str, commands: Mapping[Command, Callable[[Namespace], int]]
) -> int:
    for command, does in commands.items():
        if arguments[:1] == [command.name]:
            from daemonry.cli.commands import own
            from daemonry.cli.parser import parser_of_command

            table = own(os.path.basename(sys.argv[0]) or daemon.name, "", "", more=tuple(commands))
            return does(parser_of_command(table.name, command).parse_args(arguments[1:]))
    parsed = _quick(arguments)
    if parsed is not None and not parsed[0]:
        return _perform(arguments[0], lambda: Instance.of(daemon.place()), parsed[1])
    if arguments[:1] == ["_complete"]:
        from daemonry.cli.offers import answer_own

        return answer_own(Instance.of(daemon.place()), arguments[1:], tuple(commands))
    from daemonry.cli.full import program

    return program(daemon, arguments, name, tuple(commands))


def _perform(verb: str, find: Callable[[], Instance], options: kit.Options) -> int:
    try:
        instance = find()
    except (faults.DaemonryError, OSError) as error:
        return kit.fail(error, options.json)
    return kit.perform(verb, instance, options)


def _instance(target: str) -> Instance:
    if ":" not in target and "/" not in target and not target.endswith(".py"):
        return Instance.named(target)
    from daemonry.cli.target import instance_of

    return instance_of(target)


def _quick(arguments: list[str]) -> tuple[list[str], kit.Options] | None:
    if not arguments or arguments[0] not in kit.VERBS:
        return None
    return kit.parse(arguments[1:])
