"""The words of a home's command, and reading the plain forms of them without argparse.

argparse takes as long as the rest of a command.  Owns the plain forms: any other option, and every error, is
`cli.parser`'s.
"""

from __future__ import annotations

from daemonry.cli.kit import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

# These mean a home whatever follows, the others where one is named.
_ALWAYS: Final = ("up", "down")
_WITHOUT_SERVICES: Final = ("ps", "reload")


class HomeWords:
    """The words of a command, read.

    Attributes:
        verb: the command.
        home: the home's directory, as it was written; None where none was.
        services: the names of services and groups; [] for all.
        json: print JSON.
        timeout: how long it may take, in seconds; None for the command's own default.
        foreground: `up`: stay, and print what the services write.
        open: `ui`: open it in a browser.
    """

    __slots__ = ("foreground", "home", "json", "open", "services", "timeout", "verb")

    def __init__(self, verb: str) -> None:
        self.verb: str = verb
        self.home: str | None = None
        self.services: list[str] = []
        self.json: bool = False
        self.timeout: float | None = None
        self.foreground: bool = False
        self.open: bool = False


def plainly(verb: str, words: list[str]) -> HomeWords | None:
    """Return what a command line of `daemonry` asks of a home; None where a fuller parser has to look.

    Args:
        verb: up, down, ps, restart or reload.
        words: what follows it.
    """
    asked = HomeWords(verb)
    rest = iter(words)
    for word in rest:
        if word.startswith("-"):
            if not _take_option(asked, word, rest):
                return None
        elif word:
            asked.services.append(word)
        else:
            return None
    if verb in _ALWAYS:
        return asked
    if asked.home is None or (verb in _WITHOUT_SERVICES) == bool(asked.services):
        return None
    return asked


def _take_option(asked: HomeWords, option: str, rest: Iterator[str]) -> bool:
    """Take an option, and its value out of the words that follow; False where it is not plain."""
    if option == "--json":
        asked.json = True
    elif option == "--timeout":
        asked.timeout = seconds(next(rest, ""))
        return asked.timeout is not None
    elif option.partition("=")[0] == "--home":
        asked.home = next(rest, "") if option == "--home" else option.removeprefix("--home=")
        return bool(asked.home) and not asked.home.startswith("-")
    else:
        return False
    return True
