"""Reading an interface description: text in, `idl`'s values out, or the place of the first fault.

Owns the grammar.  No I/O, no clock, no logging.

Two grammars are published on one page (varlink.org, Interface-Definition, 2025-02) and disagree;
`parse` accepts what either accepts:

    blanks      Unicode's as in the PEG; between any two words, as in the BNF
    line ends   LF, CRLF, CR, U+2028, U+2029; none needed between members or at the end
    ()          an empty struct, also as a type; `[string]()` is the string set
    any         as systemd >= 262 has it, beyond both grammars

Tools refuse much of that, so `idl_printer` writes less of it than `parse` reads; see there.
A comment is documentation where its lines stand directly above the thing that they describe: above
`interface`, a member, or the field of a struct.  Any other comment is dropped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from daemonry.errors import DaemonryError
from daemonry.wire.idl import (
    LINE_END,
    LINE_ENDS,
    MAX_TYPE_DEPTH,
    TOO_DEEP,
    TWICE_OPTIONAL,
    Array,
    Basic,
    Enum,
    ErrorType,
    Field,
    InterfaceDescription,
    Map,
    Member,
    MethodDescription,
    Named,
    Optional,
    Struct,
    Type,
    TypeAlias,
    field_name_fault,
    interface_name_fault,
    is_field_name,
    is_member_name,
    member_name_fault,
    quoted,
    stands_twice,
    unresolved,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# A description travels in one reply, which systemd bounds at 16 MiB; real ones have a few KiB.
MAX_TEXT_CHARS: Final = 1 << 20


class IdlError(DaemonryError):
    """The text is not an interface description.

    Attributes:
        line: where, counted from 1 by the line ends named above.
        column: the character in that line, counted from 1.
        reason: the fault there, and the text to write instead.
    """

    def __init__(self, line: int, column: int, reason: str) -> None:
        super().__init__(f"{line}:{column}: {reason}")
        self.line = line
        self.column = column
        self.reason = reason


_BLANKS = "".join(
    map(chr, (0x09, 0x20, 0xA0, 0x1680, 0x180E, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000, 0xFEFF))
)
_BLANK = re.compile(f"[{_BLANKS}{LINE_ENDS}]*")
_COMMENT = re.compile(f"#[^{LINE_ENDS}]*")
# A mark, a word, any other character, or the end: it matches anywhere.  A word takes all that any
# name may hold, so that a wrong name is quoted as a whole; a '-' that begins '->' is not a part of it.
# No possessive quantifiers: Python before 3.11.5 matches them wrongly (python/cpython#106052).
_TOKEN = re.compile(r"\[\]|\[string\]|->|[A-Za-z0-9_][A-Za-z0-9_.-]*(?<!-(?=>))|.|\Z", re.DOTALL)

_BASICS = {basic.value: basic for basic in Basic}
_WRAPPERS: dict[str, type[Array | Map | Optional]] = {kind.mark: kind for kind in (Array, Map, Optional)}
# What other languages call our types.
_MEANT = {
    "str": "string",
    "text": "string",
    "integer": "int",
    "int64": "int",
    "uint64": "int",
    "boolean": "bool",
    "double": "float",
    "number": "float",
    "dict": "object",
}


class _Token(NamedTuple):
    """A mark or word, or "" at the end; `gap` is where the blanks and comments before it begin."""

    text: str
    start: int
    gap: int


class _FieldEntry(NamedTuple):
    """What stands between two commas of `(...)`; the names of an enum have no type."""

    name: str
    type: Type | None
    doc: str


def parse(text: str) -> InterfaceDescription:
    """Return the interface that `text` describes.

    Takes time in proportion to the length of the text.

    Raises:
        IdlError: the text is longer than `MAX_TEXT_CHARS` characters, breaks the grammar, nests
            types deeper than `MAX_TYPE_DEPTH`, uses a name twice in one place, or uses a type that
            it does not declare.  The first fault is raised; missing types are looked for last.
    """
    if len(text) > MAX_TEXT_CHARS:
        raise IdlError(1, 1, f"{len(text)} characters are too many: the limit is {MAX_TEXT_CHARS}")
    return _DescriptionParser(text).interface()


class _DescriptionParser:
    """Recursive descent, one method for each production, with one token of foresight."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._declared: dict[str, _Token] = {}
        self._used: list[_Token] = []
        self._next = _scan(text, 0)

    def interface(self) -> InterfaceDescription:
        doc = self._doc()
        self._expect("interface", "'interface' and a name, such as 'interface org.example.name'")
        name = self._name(interface_name_fault)
        members = [self._member()]
        while self._next.text:
            members.append(self._member())
        self._resolve({member.name for member in members if isinstance(member, TypeAlias)})
        return InterfaceDescription(name.text, tuple(members), doc)

    def _member(self) -> Member:
        doc = self._doc()
        keyword = self._take()
        if keyword.text == "type":
            return TypeAlias(self._declared_name(), self._group(0), doc)
        if keyword.text == "error":
            return ErrorType(self._declared_name(), self._struct(), doc)
        if keyword.text != "method":
            raise self._error(keyword, f"expected 'type', 'method' or 'error', found {quoted(keyword.text)}")
        name, parameters = self._declared_name(), self._struct()
        self._expect("->", "'->' and what the method replies, such as '-> ()'")
        return MethodDescription(name, parameters, self._struct(), doc)

    def _declared_name(self) -> str:
        name = self._name(member_name_fault)
        first = self._declared.setdefault(name.text, name)
        if first is not name:
            line, _ = self._position(first)
            raise self._error(name, f"{quoted(name.text)} is declared in line {line} already: rename one")
        return name.text

    def _struct(self) -> Struct:
        start, group = self._next, self._group(0)
        if isinstance(group, Enum):
            first = quoted(group.names[0])
            raise self._error(start, f"expected a struct, found an enum: {first} and the others need a type")
        return group

    def _group(self, depth: int) -> Struct | Enum:
        self._expect("(", "'(' with fields or names, or '()'")
        entries: dict[str, _FieldEntry] = {}
        while self._next.text != ")":
            start, entry = self._next, self._entry(depth)
            first = next(iter(entries.values()), entry)
            if entry.name in entries:
                raise self._error(start, stands_twice(entry.name))
            if (first.type is None) != (entry.type is None):
                raise self._error(start, _mixed(entry))
            entries[entry.name] = entry
            self._comma(entry)
        self._take()
        return _grouped(entries)

    def _entry(self, depth: int) -> _FieldEntry:
        doc = self._doc()
        name = self._name(field_name_fault)
        if self._next.text != ":":
            return _FieldEntry(name.text, None, doc)
        self._take()
        return _FieldEntry(name.text, self._type(depth), doc)

    def _comma(self, entry: _FieldEntry) -> None:
        """Step over the comma after `entry`, or stay before the closing parenthesis."""
        token = self._next
        if token.text == ")":
            return
        if token.text != ",":
            raise self._error(token, _no_comma(entry, token.text))
        self._take()
        if self._next.text == ")":
            raise self._error(token, "a ',' before ')': remove it")

    def _type(self, depth: int) -> Type:
        wrappers: list[type[Array | Map | Optional]] = []
        while (wrapper := _WRAPPERS.get(self._next.text)) is not None:
            if wrapper is Optional and wrappers[-1:] == [Optional]:
                raise self._error(self._next, TWICE_OPTIONAL)
            wrappers.append(wrapper)
            self._enter(depth + len(wrappers))
            self._take()
        element = self._element(depth + len(wrappers))
        for wrapper in reversed(wrappers):
            element = wrapper(element)
        return element

    def _element(self, depth: int) -> Type:
        if self._next.text == "(":
            self._enter(depth + 1)
            return self._group(depth + 1)
        token = self._take()
        if token.text in _BASICS:
            return _BASICS[token.text]
        if not is_member_name(token.text):
            raise self._error(token, _no_type(token.text))
        self._used.append(token)
        return Named(token.text)

    def _enter(self, depth: int) -> None:
        if depth > MAX_TYPE_DEPTH:
            raise self._error(self._next, TOO_DEEP)

    def _resolve(self, types: set[str]) -> None:
        for token in self._used:
            if token.text not in types:
                raise self._error(token, unresolved(token.text, token.text in self._declared))

    def _name(self, fault: Callable[[str], str]) -> _Token:
        reason = fault(self._next.text)
        if reason:
            raise self._error(self._next, reason)
        return self._take()

    def _expect(self, text: str, what: str) -> None:
        token = self._take()
        if token.text != text:
            raise self._error(token, f"expected {what}, found {quoted(token.text)}")

    def _take(self) -> _Token:
        token = self._next
        self._next = _scan(self._text, token.start + len(token.text))
        return token

    def _doc(self) -> str:
        """Return the comment whose lines stand directly above the next token."""
        gap = self._text[self._next.gap : self._next.start]
        lines = LINE_END.split(gap)[:-1]
        if self._next.gap:
            del lines[:1]  # the end of the line of the token before
        comment: list[str] = []
        while lines and (line := lines.pop().lstrip(_BLANKS)).startswith("#"):
            comment.append(line[1:].removeprefix(" "))
        return "\n".join(reversed(comment))

    def _position(self, token: _Token) -> tuple[int, int]:
        line, start = 1, 0
        for line_end in LINE_END.finditer(self._text, 0, token.start):
            line, start = line + 1, line_end.end()
        return line, token.start - start + 1

    def _error(self, token: _Token, reason: str) -> IdlError:
        return IdlError(*self._position(token), reason)


def _scan(text: str, gap: int) -> _Token:
    """Return the token after the blanks and comments that begin at `gap`."""
    start = _end(_BLANK, text, gap)
    while text.startswith("#", start):
        start = _end(_BLANK, text, _end(_COMMENT, text, start))
    return _Token(text[start : _end(_TOKEN, text, start)], start, gap)


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    assert match is not None, "these patterns match anywhere"
    return match.end()


def _grouped(entries: dict[str, _FieldEntry]) -> Struct | Enum:
    fields = tuple(Field(name, kind, doc) for name, kind, doc in entries.values() if kind is not None)
    return Struct(fields) if fields or not entries else Enum(tuple(entries))


def _mixed(entry: _FieldEntry) -> str:
    name = quoted(entry.name)
    if entry.type is None:
        return f"{name} has no type, the fields before it have: write {quoted(f'{entry.name}: string')}"
    return f"{name} has a type, the names before it have none: '(...)' holds only fields or only names"


def _no_comma(entry: _FieldEntry, found: str) -> str:
    if found == "[]":
        return "'[]' stands before its type: write '[]int', not 'int[]'"
    marks = "':', ',' or ')'" if entry.type is None else "',' or ')'"
    return f"expected {marks} after {quoted(entry.name)}, found {quoted(found)}"


def _no_type(found: str) -> str:
    if found in _MEANT:
        return f"{quoted(found)} is not a type: write {quoted(_MEANT[found])}"
    if found == "[":
        return "expected a type, found '[': write '[]' for an array, '[string]' for a map, without blanks"
    if "." in found:
        return f"{quoted(found)} is not a type of this interface: declare it here and use its last part"
    if is_field_name(found):
        return f"{quoted(found)} is not a type: declared types start with a capital"
    known = "bool, int, float, string, object, a declared type or '(...)'"
    return f"expected a type, found {quoted(found)}: use {known}"
