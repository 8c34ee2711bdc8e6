"""Where a key stands in a configuration's text, so that an error can name its line and column.

Owns finding one path in TOML or JSON text that is known to parse, and JSON's two liberties that
editors take (comments, commas before a closing bracket), which are blanked out in place so that
positions stay.  Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

Path = tuple[str | int, ...]


class Position(NamedTuple):
    """A place in a text, both numbers from 1; the column counts characters."""

    line: int
    column: int


def at(text: str, offset: int) -> Position:
    """Return the position of the character at `offset`."""
    before = text[:offset]
    return Position(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


# --- JSON -------------------------------------------------------------------------------------

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_LAST_COMMA = re.compile(r'"(?:[^"\\]|\\.)*"|,(?=\s*[}\]])')
_SCALAR = re.compile(r"[^\s,\]}:]+")
_BLANK = re.compile(r"\s*")


def plain_json(text: str) -> str:
    """Return JSON text with comments and last commas replaced by blanks, at the same length."""
    return _LAST_COMMA.sub(_blanked, _COMMENT.sub(_blanked, text))


def _blanked(found: re.Match[str]) -> str:
    matched = found.group()
    if matched.startswith('"'):
        return matched
    return "".join(char if char == "\n" else " " for char in matched)


def in_json(text: str, wanted: Path) -> Position | None:
    """Return where the entry of this path begins (its key, or its value in a list), or None."""
    for path, offset in _json_entries(plain_json(text), 0, ()):
        if path == wanted:
            return at(text, offset)
    return None


def _json_entries(text: str, offset: int, above: Path) -> Iterator[tuple[Path, int]]:
    """Yield the entries below a value, in order; the last one yielded, `above` itself, tells its end."""
    offset = _skip(text, offset)
    char = text[offset : offset + 1]
    if char not in ("{", "["):
        scalar = _STRING.match(text, offset) or _SCALAR.match(text, offset)
        yield (*above, _END), scalar.end() if scalar else len(text)
        return
    number = 0
    offset = _skip(text, offset + 1)
    while text[offset : offset + 1] not in ("}", "]", ""):
        key: str | int = number
        start = offset
        if char == "{":
            quoted = _STRING.match(text, offset)
            if quoted is None:
                return
            key = _unquoted(quoted.group())
            offset = _skip(text, quoted.end()) + 1
        yield (*above, key), start
        for path, place in _json_entries(text, offset, (*above, key)):
            if path == (*above, key, _END):
                offset = place
            else:
                yield path, place
        number += 1
        offset = _skip(text, offset)
        if text[offset : offset + 1] == ",":
            offset = _skip(text, offset + 1)
    yield (*above, _END), offset + 1


_END = -1  # no list has such an index


def _skip(text: str, offset: int) -> int:
    found = _BLANK.match(text, offset)
    return found.end() if found else offset


def _unquoted(quoted: str) -> str:
    import json

    return str(json.loads(quoted))


# --- TOML -------------------------------------------------------------------------------------

_HEADER = re.compile(r"^[ \t]*(\[\[?)([^\]]*)\]", re.MULTILINE)
_BARE_OR_QUOTED = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""")


def in_toml(text: str, wanted: Path) -> Position | None:
    """Return where the entry of this path is written, or the nearest table above it, or None.

    Knows tables, lists of tables, dotted keys and inline tables, as they are usually written.
    """
    best: tuple[int, int] | None = None
    for table, start, end in _toml_tables(text):
        if table != wanted[: len(table)]:
            continue
        rest = [part for part in wanted[len(table) :] if isinstance(part, str)]
        found, depth = _in_table(text, start, end, rest)
        reached = len(table) + depth
        if best is None or reached > best[0]:
            best = (reached, found)
    return at(text, best[1]) if best else None


def _toml_tables(text: str) -> Iterator[tuple[Path, int, int]]:
    headers = list(_HEADER.finditer(text))
    counts: dict[Path, int] = {}
    yield (), 0, headers[0].start() if headers else len(text)
    for number, header in enumerate(headers):
        names: Path = ()
        for part in _BARE_OR_QUOTED.findall(header.group(2)):
            names = (*names, part.strip("\"'"))
            if names in counts:
                names = (*names, counts[names])
        if header.group(1) == "[[":
            if names and isinstance(names[-1], int):
                names = names[:-1]
            counts[names] = counts.get(names, -1) + 1
            names = (*names, counts[names])
        end = headers[number + 1].start() if number + 1 < len(headers) else len(text)
        yield names, header.start() + len(header.group()) - len(header.group().lstrip()), end


def _in_table(text: str, start: int, end: int, names: list[str]) -> tuple[int, int]:
    """Return the offset of the deepest of `names` that is found in order, and how many were."""
    offset = start
    for depth, name in enumerate(names):
        key = re.compile(
            rf"""(?:(?<=^)|(?<=[\s,{{.]))["']?{re.escape(name)}["']?(?=\s*[=.])""", re.MULTILINE
        ).search(text, offset + (depth > 0), end)
        if key is None:
            return offset, depth
        offset = key.start()
    return offset, len(names)
