"""The keys of `top`: the command behind each, and the question before it.

Owns the table.  Each key runs a command of `daemonry`, and so has its checks and its messages.  Pure.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from daemonry.cli.top.lines import ServiceLine
from daemonry.terminal_text import printable


class Deed(NamedTuple):
    """The action of a key.

    Attributes:
        key: the key.
        verb: its name, as people call it.
        asks: the consequence, which the user confirms; "" for no question.
    """

    key: str
    verb: str
    asks: str = ""


DEEDS: Final = (
    Deed("p", "pause"),
    Deed("u", "resume"),
    Deed("l", "reload"),
    Deed("s", "start"),
    Deed("x", "stop", "It ends."),
    Deed("r", "restart", "It ends, and starts again."),
)
# A home has no pause; its services are paused one by one, as far as they are daemons.
_OF_A_HOME: Final = {"reload": ("reload",), "start": ("up",), "stop": ("down",)}
_OF_A_SERVICE: Final = {"start": ("up",), "stop": ("down",), "restart": ("restart",)}


class NotPossible(Exception):
    """A key means nothing for this line; the text says why."""


def command(verb: str, line: ServiceLine) -> list[str]:
    """Return the words of the command that does something to a line, without the program's name.

    Raises:
        NotPossible: there is none.
    """
    if line.kind == "home":
        if verb not in _OF_A_HOME:
            raise NotPossible(f"a home cannot {verb}: choose one of its services")
        return [*_OF_A_HOME[verb], f"--home={line.home}"]
    if line.kind == "service" and verb in _OF_A_SERVICE:
        return [*_OF_A_SERVICE[verb], f"--home={line.home}", "--", line.name]
    if line.kind == "daemon":
        return [verb, line.name]
    if not line.daemon:
        raise NotPossible(f"{printable(line.name)} is not a daemon of daemonry: it cannot {verb}")
    if not line.endpoint:
        raise NotPossible(f"{printable(line.name)} does not run")
    return [verb, line.endpoint]


def question(deed: Deed, line: ServiceLine) -> str:
    """Return the question before a deed."""
    what = {"home": "the home ", "service": "the service ", "daemon": ""}[line.kind]
    whole = " All of its services end." if line.kind == "home" else ""
    return f"{deed.verb.capitalize()} {what}{printable(line.name, 60)}? {deed.asks}{whole}"
