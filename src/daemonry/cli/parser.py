"""A command line's parser: argparse's, with errors of one line, and options wherever they stand.

argparse takes a list of words in one piece: of `call NAME METHOD --oneway KEY=VALUE` it gives no word to
the list, and knows none that follows.  So options are moved before the other words first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from daemonry.cli import exit_codes
from daemonry.terminal_text import printable


class Parser(argparse.ArgumentParser):
    """As `argparse.ArgumentParser`; give it to `add_subparsers` as `parser_class`, too."""

    def error(self, message: str) -> NoReturn:
        """Say in one line, where argparse prints two, how it is used wrongly, and exit."""
        self.exit(exit_codes.USAGE, f"{self.prog}: {printable(message)} (try {self.prog} --help)\n")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's; commands parse what follows them themselves."""
        words = list(sys.argv[1:] if args is None else args)
        if self._subparsers is None:
            words = options_first(words, self._taken())
        return super().parse_known_args(words, namespace)

    def _taken(self) -> dict[str, int]:
        """Return how many words each option takes; none for one that takes what it finds."""
        taken = {}
        for option, action in self._option_string_actions.items():
            if action.nargs is None or isinstance(action.nargs, int):
                taken[option] = 1 if action.nargs is None else action.nargs
        return taken


def options_first(words: Sequence[str], taken: Mapping[str, int]) -> list[str]:
    """Return the words with the options that are known, and what they take, before the others.

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
    """Return how many words an option takes that begins a command line; None if it is no option."""
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
