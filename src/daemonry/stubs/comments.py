"""The comments of a written module: its first lines, and documentation that can end no comment.

Owns both, for every language.  A description may come from a server that nobody trusts.  Pure.
"""

from __future__ import annotations

from typing import Final

# What a file of ours begins with, behind the language's sign for a comment.
MARK: Final = "Written by `daemonry stubs`"


def header(interface: str, sign: str) -> list[str]:
    """Return the first lines of a module; `sign` begins a comment of its language."""
    return [
        f"{sign} {MARK} from the description of {interface}.",
        f"{sign} Change nothing here: it is overwritten when it is written again.",
    ]


def printable_lines(text: str) -> list[str]:
    """Return the lines of a text, with a blank for every control character; none for no text."""
    safe = "".join(one if one == "\n" or one.isprintable() else " " for one in text)
    return safe.split("\n") if text else []


def line_comment(text: str, sign: str) -> list[str]:
    """Return a text as comments that end with their line, whatever is in it."""
    return [f"{sign} {line}".rstrip() for line in printable_lines(text)]
