"""JSON as editors write it: without its comments and last commas, and where each key of it is written.

Owns JSON's two liberties, which are blanked out in place so that positions stay, and finding one path
in text that is known to parse.  TOML's are `daemonry.typed_toml`'s.  Linear in the text; pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from daemonry.typed_toml import KeyPath, Position

_STRING: Final = r'"[^"\\]*(?:\\.[^"\\]*)*'
# What does not end goes on to the end of the text, so that nothing is looked at twice.
_COMMENT: Final = re.compile(_STRING + r'(?:"|\\?\Z)|//[^\n]*|/\*.*?(?:\*/|\Z)', re.DOTALL)
_LAST_COMMA: Final = re.compile(_STRING + r'(?:"|\\?\Z)|,(?=\s*[}\]])', re.DOTALL)
_TOKEN: Final = re.compile(_STRING + r'"|[{}\[\],:]|[^\s"{}\[\],:]+')


def plain(text: str) -> str:
    """Return JSON text with comments and last commas replaced by blanks, at the same length."""
    return _LAST_COMMA.sub(_blanked, _COMMENT.sub(_blanked, text))


def _blanked(found: re.Match[str]) -> str:
    matched = found.group()
    if matched.startswith('"'):
        return matched
    return "".join(char if char == "\n" else " " for char in matched)


def find(text: str, wanted: KeyPath) -> Position | None:
    """Return where the key of a path is written, or its value in a list; else the nearest above; or None.

    Of a key that is written twice, the last counts, as it does for who parses the text.
    """
    text = plain(text)
    offset, found = 0, None
    for part in wanted:
        same = [one for one in _members(text, offset) if one.key == part]
        if not same:
            break
        found, offset = same[-1].start, same[-1].value
    return _position_of(text, found) if found is not None else None


def _position_of(text: str, offset: int) -> Position:
    return Position(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


class _Member(NamedTuple):
    """An entry of an object or a list: its key or index, and the offsets of that and of its value."""

    key: str | int
    start: int
    value: int


def _members(text: str, offset: int) -> Iterator[_Member]:
    """Yield the members of the object or list that begins at or behind `offset`; none of another value."""
    tokens = _TOKEN.finditer(text, offset)
    opening = next(tokens, None)
    if opening is None or opening.group() not in ("{", "["):
        return
    depth, number = 1, 0
    key: re.Match[str] | None = None
    value_is_next = in_list = opening.group() == "["
    for token in tokens:
        said = token.group()
        if said in ("}", "]"):
            depth -= 1
            if depth == 0:
                return
        elif depth == 1 and said == ",":
            key, value_is_next = None, in_list
        elif depth == 1 and said == ":":
            value_is_next = True
        elif depth == 1 and value_is_next:
            start = token.start() if key is None else key.start()
            yield _Member(number if key is None else json.loads(key.group()), start, token.start())
            number, value_is_next = number + 1, False
        elif depth == 1:
            key = token
        if said in ("{", "["):
            depth += 1
