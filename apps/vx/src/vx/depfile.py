r"""What a compiler says that it read: the rules of make that gcc, clang and rustc write.

    main.o: src/main.c include/a\ b.h \
      include/c.h
    # env-dep:CARGO_PKG_VERSION=1.0

Owns the form.  Prerequisites are taken from all rules, targets from none: `-MP` and rustc write a
rule without prerequisites for each file.  A `#` begins a comment only at a line's beginning, where
rustc says which variables were read; gcc writes the one in a name as `\#`, a dollar as `$$`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

_ENV: Final = "# env-dep:"
_ESCAPED: Final = frozenset(" \t#:")


class Read(NamedTuple):
    """The parsed file.

    Attributes:
        paths: as they were written, each once, in the order of their appearance.
        env: variables, with None for one that was not set.
    """

    paths: list[str]
    env: dict[str, str | None]


def parse(text: str) -> Read:
    """Return what a dependency file names.  No text is refused: what makes no rule names nothing."""
    paths: dict[str, None] = {}
    env: dict[str, str | None] = {}
    for line in text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        if line.startswith("#"):
            if line.startswith(_ENV):
                name, is_set, value = line[len(_ENV) :].partition("=")
                env[_unescape(name)] = _unescape(value) if is_set else None
            continue
        words = _words(line)
        ends = [number for number, word in enumerate(words) if word.endswith("\0")]
        if ends:
            paths.update(dict.fromkeys(words[ends[0] + 1 :]))
    return Read(list(paths), env)


def _words(line: str) -> list[str]:
    """Split a rule into its words; the colon behind the targets becomes a NUL at its word's end."""
    words: list[str] = []
    word = ""
    at = 0
    seen_colon = False
    while at < len(line):
        char = line[at]
        after = line[at + 1 : at + 2]
        if char == "\\" and after in _ESCAPED and after:
            word += after
            at += 1
        elif char == "$" and after == "$":
            word += "$"
            at += 1
        elif char in " \t":
            if word:
                words.append(word)
            word = ""
        elif char == ":" and not seen_colon and after in (" ", "\t", ""):
            seen_colon = True
            words.append(word + "\0")
            word = ""
        else:
            word += char
        at += 1
    if word:
        words.append(word)
    return words


def _unescape(text: str) -> str:
    # rustc writes these three in variables.
    parts = text.split("\\\\")
    return "\\".join(part.replace("\\n", "\n").replace("\\r", "\r") for part in parts)
