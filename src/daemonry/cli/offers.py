"""What a shell offers for daemons, interfaces, methods, parameters, and a home's services.

Owns where these come from: the daemons' records, the running daemon itself, and home.toml.  Nothing is
started for it, and nobody waits long.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from daemonry.cli import completion
from daemonry.cli.commands import (
    DAEMON,
    DAEMONRY,
    INTERFACE,
    METHOD,
    PARAMETER,
    SERVICE,
    home_command,
    means_a_home,
    own,
)
from daemonry.cli.completion import Cursor, Offer
from daemonry.errors import DaemonryError

if TYPE_CHECKING:
    from daemonry.cli.grammar import Command, Program, ValueKind
    from daemonry.daemon.instance import Instance
    from daemonry.wire import idl

# How long the shell waits for a daemon's list of its methods.
PATIENCE_S: Final = 1.0


def answer(words: list[str]) -> int:
    """Print what `daemonry`'s completion offers for the last of some words, and return the exit code."""
    return completion.answer(_program_of(words), words, {**_offers(None), DAEMON: _names, SERVICE: _services})


def answer_own(instance: Instance, words: list[str], more: tuple[Command, ...] = ()) -> int:
    """The same, for a program's own command line, which has `more` commands than the daemon's."""
    return completion.answer(own("", "", "", more=more), words, _offers(instance))


def _program_of(words: list[str]) -> Program:
    """Return the table by which a line is read: some verbs are other commands where `--home` is given."""
    if len(words) > 1 and means_a_home(words[:-1]):
        return DAEMONRY._replace(commands=(home_command(words[0]),))
    return DAEMONRY


def _offers(own_instance: Instance | None) -> dict[ValueKind, Offer]:
    def of_daemon(cursor: Cursor) -> Iterable[str]:
        instance = own_instance or _instance(cursor.words[0])
        asked = cursor.words if own_instance is not None else cursor.words[1:]
        return _of_daemon(cursor.path, instance, asked, cursor.current) if instance is not None else ()

    return dict.fromkeys((INTERFACE, METHOD, PARAMETER), of_daemon)


def _names(cursor: Cursor) -> list[str]:
    from daemonry.process import homes, registry

    if cursor.value("--host") is not None:
        return []  # they are another machine's
    return [place.name for place in (*registry.places(), *(owner.place for owner in homes.owners()))]


def _services(cursor: Cursor) -> list[str]:
    from daemonry.home.home import Home
    from daemonry.home.home_toml.home_file import load

    try:
        return list(load(Home.find(cursor.value("--home")).directory).services)
    except (DaemonryError, OSError):
        return []  # a shell has no place for errors


def _instance(target: str) -> Instance | None:
    from daemonry.cli.target import instance_of

    try:
        return instance_of(target)
    except DaemonryError:
        return None


def _of_daemon(verb: str, instance: Instance, asked: list[str], current: str) -> list[str]:
    """Ask the live daemon for its interfaces, its methods, or one method's parameters or their values."""
    from daemonry.cli import call
    from daemonry.cli.target import connected
    from daemonry.wire import varlink

    try:
        with connected(instance, PATIENCE_S) as client:
            if verb == "describe":
                return call.interface_names(client, PATIENCE_S) if not asked else []
            if not asked:
                return list(call.method_names(client, PATIENCE_S))
            interface, member = varlink.split_name(asked[0])
            return _parameters(
                call.describe_interface(client, interface, PATIENCE_S), member, asked[1:], current
            )
    except (DaemonryError, OSError):
        return []  # a shell has no place for errors


def _parameters(
    described: idl.InterfaceDescription, member: str, given: list[str], current: str
) -> list[str]:
    """Return the parameters of a method that are not given yet, or the values of the one that is begun."""
    methods = {one.name: one for one in described.methods}
    fields = methods[member].parameters.fields if member in methods else ()
    name, equals, _ = current.partition("=")
    if equals:
        types = {field.name: field.type for field in fields}
        return [f"{name}={value}" for value in _values(described, types.get(name))]
    names = {word.partition("=")[0].removesuffix(":") for word in given}
    return [f"{field.name}=" for field in fields if field.name not in names]


def _values(described: idl.InterfaceDescription, kind: idl.Type | None) -> tuple[str, ...]:
    """Return the values of a type that has few."""
    from daemonry.wire import idl

    if isinstance(kind, idl.Optional):
        kind = kind.element
    if isinstance(kind, idl.Named):
        aliases = {one.name: one.type for one in described.types}
        kind = aliases.get(kind.name)
    if isinstance(kind, idl.Enum):
        return kind.names
    return ("true", "false") if kind is idl.Basic.BOOL else ()
