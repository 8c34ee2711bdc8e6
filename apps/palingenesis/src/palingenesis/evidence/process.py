"""A process of an agent, and how its arguments tell which agent it is.

Owns the part that is the same on every system; no I/O.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

# Programs that run a script: then the script's name is the program's.  Installers name one with its version.
_INTERPRETER: Final = re.compile(r"(?:node|nodejs|bun|deno|[Pp]ython|pypy|(?:ba|da|k|z)?sh)[0-9.]*t?")


class Process(NamedTuple):
    """A process of an agent.

    Attributes:
        pid: its number.
        start: what tells it from a later process of that number.
        program: which of the names that were looked for.
        words: its arguments, bounded.
        cwd: its directory; "" if not known.
        files: regular files that it has open, as far as they can be seen.
    """

    pid: int
    start: str
    program: str
    words: tuple[str, ...]
    cwd: str
    files: frozenset[str]


def program_of(words: Sequence[str], names: Collection[str]) -> str:
    """Return which of `names` a process with these arguments runs; "" for none."""
    if not words:
        return ""
    name = os.path.basename(words[0])
    if name in names:
        return name
    if _INTERPRETER.fullmatch(name):
        for word in words[1:3]:
            if not word.startswith("-"):
                script = os.path.basename(word).removesuffix(".js").removesuffix(".mjs")
                return script if script in names else ""
    return ""
