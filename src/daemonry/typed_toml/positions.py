"""Where each key of a TOML text is written: its true line and column.

Owns a scanner of TOML's tokens (https://toml.io/en/v1.0.0, and the additions of 1.1): comments, the
four kinds of string, dotted and quoted keys, headers, arrays, inline tables.  It is for text that
`tomllib` accepts, and takes more than that: it finds places and refuses only files that are beyond the
bounds.  In other text it finds what stands before the mistake.  Linear in the text; no I/O.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final, NamedTuple, TypeAlias

from daemonry.limits import MAX_TOML_DEPTH, MAX_TOML_KEY_CHARS
from daemonry.terminal_text import is_unsafe

# The keys and indexes that lead to a value: `("servers", 0, "url")`.
KeyPath: TypeAlias = tuple[str | int, ...]


class Position(NamedTuple):
    """A place in a text.  Both numbers begin at 1; the column counts characters (code points)."""

    line: int
    column: int


class Entry(NamedTuple):
    """A key, or an array's element, where it is written.

    Attributes:
        path: what leads to its value.
        start: the offset of the first character of the path's last part; of an element's value.
        end: the offset behind it.
        value: the offsets of the value's first character and behind its last; None for a table that a
            header or a dotted key names.
        defines: whether the table is defined here, and not only named on the way to another.
    """

    path: KeyPath
    start: int
    end: int
    value: tuple[int, int] | None = None
    defines: bool = True


class BeyondBounds(ValueError):
    """A key is longer, or leads deeper, than is read.

    Attributes:
        offset: where.
        reason: which bound it breaks.
    """

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(reason)
        self.offset = offset
        self.reason = reason


def position_of(text: str, offset: int) -> Position:
    """Return the position of the character at `offset`."""
    return Position(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


def find(text: str, wanted: KeyPath) -> Position | None:
    """Return where the last part of a path is written, or the nearest table above it that is; else None."""
    try:
        found = entries(text)
    except BeyondBounds:
        return None
    best: Entry | None = None
    for entry in found:
        above = entry.path == wanted[: len(entry.path)]
        if above and (best is None or _rank(entry) > _rank(best)):
            best = entry
    return position_of(text, best.start) if best else None


def _rank(entry: Entry) -> tuple[int, bool]:
    return len(entry.path), entry.defines


def entries(text: str) -> list[Entry]:
    """Return all keys and elements of a text, in the order in which they are written.

    Raises:
        BeyondBounds: a key is too long or too deep.
    """
    scanner = _Scanner(text)
    try:
        scanner.run()
    except _NotToml:
        pass
    return scanner.entries


def dotted(path: KeyPath) -> str:
    """Return a path as people write it: `servers[0]."my key".command`.  Printable, and of bounded length."""
    written = ""
    for part in path:
        if isinstance(part, int):
            written += f"[{part}]"
        else:
            written += f"{'.' if written else ''}{_written(part)}"
    return _shortened(written, _SHOWN_CHARS * 4)


def _written(key: str) -> str:
    if _BARE.fullmatch(key):
        return _shortened(key, _SHOWN_CHARS)
    # One more than is shown, so that an omission is seen.
    inside = "".join(_escaped(char) for char in key[: _SHOWN_CHARS + 1])
    return f'"{_shortened(inside, _SHOWN_CHARS)}"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable() and not is_unsafe(ord(char)):
        return char
    return f"\\u{ord(char):04X}" if ord(char) < 0x10000 else f"\\U{ord(char):08X}"


def _shortened(text: str, most: int) -> str:
    """Return a text, or the beginning of one that is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


# A key as long as that fills a terminal's line.
_SHOWN_CHARS: Final = 80

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_BLANKS: Final = re.compile(r"[ \t]*")
_BLANKS_AND_LINES: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
# Numbers, dates, booleans.  A time may follow its date behind a blank.
_SCALAR: Final = re.compile(r"[^\s,#\]}]+(?: \d\d:[^\s,#\]}]*)?")
# What ends a string that begins so, or is to be passed over.  At most two quotation marks may stand
# before the closing three.
_STRINGS: Final = (
    ('"""', re.compile(r'\\[\s\S]|"{3,5}')),
    ("'''", re.compile(r"'{3,5}")),
    ('"', re.compile(r'\\.|["\n]')),
    ("'", re.compile(r"['\n]")),
)


class _NotToml(Exception):
    """The text is not TOML from here on."""


class _KeyPart(NamedTuple):
    name: str
    start: int
    end: int


class _Scanner:
    """One pass over a text.  `_at` is the offset of the next character."""

    def __init__(self, text: str) -> None:
        self.entries: list[Entry] = []
        self._text = text
        self._at = 0
        self._last_elements: dict[KeyPath, int] = {}  # of the arrays of tables

    def run(self) -> None:
        table: KeyPath = ()
        while True:
            self._skip(_BLANKS_AND_LINES)
            if self._at >= len(self._text):
                return
            if self._take("[["):
                table = self._array_header()
            elif self._take("["):
                table = self._header()
            else:
                self._pair(table)

    # --- headers ---

    def _header(self) -> KeyPath:
        *above, last = self._key()
        path = (*self._path_of(above), last.name)
        self._add(Entry(path, last.start, last.end))
        self._expect("]")
        return path

    def _array_header(self) -> KeyPath:
        *above, last = self._key()
        path = (*self._path_of(above), last.name)
        number = self._last_elements[path] = self._last_elements.get(path, -1) + 1
        self._add(Entry(path, last.start, last.end))
        self._add(Entry((*path, number), last.start, last.end))
        self._expect("]]")
        return (*path, number)

    def _path_of(self, parts: list[_KeyPart]) -> KeyPath:
        """Return where a header's parts lead: in an array of tables, to its last element so far."""
        path: KeyPath = ()
        for part in parts:
            path = (*path, part.name)
            self._add(Entry(path, part.start, part.end, defines=False))
            if path in self._last_elements:
                path = (*path, self._last_elements[path])
        return path

    # --- keys and values ---

    def _pair(self, table: KeyPath) -> None:
        *above, last = self._key()
        for part in above:
            table = (*table, part.name)
            self._add(Entry(table, part.start, part.end, defines=False))
        self._expect("=")
        self._skip(_BLANKS)
        self._valued(Entry((*table, last.name), last.start, last.end))

    def _key(self) -> list[_KeyPart]:
        parts: list[_KeyPart] = []
        while True:
            self._skip(_BLANKS)
            parts.append(self._part())
            if len(parts) > MAX_TOML_DEPTH:
                raise _too_deep(parts[0].start)
            self._skip(_BLANKS)
            if not self._take("."):
                return parts

    def _part(self) -> _KeyPart:
        start = self._at
        if self._text[start : start + 1] in ('"', "'"):
            self._string()
            name = _unquoted(self._text[start : self._at])
        else:
            self._match(_BARE)
            name = self._text[start : self._at]
        if len(name) > MAX_TOML_KEY_CHARS:
            raise BeyondBounds(start, f"a key is longer than {MAX_TOML_KEY_CHARS} characters")
        return _KeyPart(name, start, self._at)

    def _valued(self, entry: Entry) -> None:
        """Read the value that comes next, and remember it as the entry's."""
        place = len(self.entries)
        self._add(entry)
        start = self._at
        self._value(entry.path)
        # An element has no key: it is where its value is.
        end = self._at if entry.end == start else entry.end
        self.entries[place] = entry._replace(end=end, value=(start, self._at))

    def _value(self, path: KeyPath) -> None:
        if self._take("["):
            self._array(path)
        elif self._take("{"):
            self._inline_table(path)
        elif self._text[self._at : self._at + 1] in ('"', "'"):
            self._string()
        else:
            self._match(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        number = 0
        self._skip(_BLANKS_AND_LINES)
        while not self._take("]"):
            self._valued(Entry((*path, number), self._at, self._at))
            number += 1
            self._comma_before("]")

    def _inline_table(self, path: KeyPath) -> None:
        self._skip(_BLANKS_AND_LINES)
        while not self._take("}"):
            self._pair(path)
            self._comma_before("}")

    def _comma_before(self, closing: str) -> None:
        self._skip(_BLANKS_AND_LINES)
        if self._text.startswith(closing, self._at):
            return
        self._expect(",")
        self._skip(_BLANKS_AND_LINES)

    def _string(self) -> None:
        opening, pattern = next(one for one in _STRINGS if self._text.startswith(one[0], self._at))
        self._at += len(opening)
        while True:
            found = pattern.search(self._text, self._at)
            if found is None or found.group() == "\n":
                raise _NotToml
            self._at = found.end()
            if found.group()[0] == opening[0]:
                return

    # --- tokens ---

    def _add(self, entry: Entry) -> None:
        if len(entry.path) > MAX_TOML_DEPTH:
            raise _too_deep(entry.start)
        self.entries.append(entry)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _take(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise _NotToml

    def _match(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise _NotToml
        self._at = found.end()


def _too_deep(offset: int) -> BeyondBounds:
    return BeyondBounds(offset, f"nested deeper than {MAX_TOML_DEPTH} levels")


def _unquoted(quoted: str) -> str:
    if quoted.startswith("'") or "\\" not in quoted:
        return quoted[1:-1]
    try:
        return str(tomllib.loads(f"key = {quoted}")["key"])
    except tomllib.TOMLDecodeError:
        raise _NotToml from None
