"""Files of options: `@file` in CFLAGS, in whose place stand the words that are in it.

Owns reading them as gcc and clang do (libiberty's `buildargv`): a compiler runs elsewhere, where a relative
path leads nowhere, and what a file says has to be looked at like the words beside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from daemonry import open_regular
from vx.project.errors import Unsupported

# A list of options is shorter.
_MAX_BYTES: Final = 1 << 20
# Files that name files; gcc takes 2,000, one in the other.
_MAX_DEPTH: Final = 20


def expanded(words: Iterable[str], directory: str, variable: str, depth: int = 0) -> list[str]:
    """Return the words, each `@file` as those that are in the file.

    Args:
        words: of a variable.
        directory: the one from which relative paths go.
        variable: its name.
        depth: how many files name these words, one in the other.

    Raises:
        Unsupported: a file cannot be read, is too large, or names itself.
    """
    found: list[str] = []
    for word in words:
        if not word.startswith("@"):
            found.append(word)
            continue
        if depth == _MAX_DEPTH:
            raise _refused(word, variable, f"files of options name each other, {depth} deep")
        text = _text(os.path.join(directory, word[1:]), word, variable)
        found += expanded(split(text), directory, variable, depth + 1)
    return found


def split(text: str) -> list[str]:
    """Return the words of a file of options."""
    found: list[str] = []
    word: str | None = None
    quote = ""
    letters = iter(text)
    for letter in letters:
        if letter == "\\":
            word = (word or "") + next(letters, "")
        elif quote and letter == quote:
            quote = ""
        elif quote:
            word = (word or "") + letter
        elif letter in "\"'":
            quote, word = letter, word or ""
        elif letter.isspace():
            found += [word] if word is not None else []
            word = None
        else:
            word = (word or "") + letter
    return [*found, *([word] if word is not None else [])]


def _text(path: str, word: str, variable: str) -> str:
    try:
        with open(open_regular(path), "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _refused(word, variable, error.strerror or str(error)) from None
    if len(data) > _MAX_BYTES:
        raise _refused(word, variable, f"it has more than {_MAX_BYTES >> 20} MiB")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _refused(word, variable, "it is not UTF-8") from None


def _refused(word: str, variable: str, advice: str) -> Unsupported:
    return Unsupported("the environment", f"{word} in {variable}", advice)
