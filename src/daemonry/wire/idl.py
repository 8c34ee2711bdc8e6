"""Varlink's interface description language: text in, frozen values out, and text again.

Owns the values, the grammar, what makes a description consistent, and which part of the language
every tool reads.  What a value of a type looks like in JSON belongs to `service.interface`; who
asks for a description belongs to `service.builtin`.  No I/O, no clock, no logging.

Two grammars are published on one page (varlink.org, Interface-Definition, 2025-02) and disagree;
`parse` accepts what either accepts:

    blanks      Unicode's as in the PEG; between any two words, as in the BNF
    line ends   LF, CRLF, CR, U+2028, U+2029; none needed between members or at the end
    ()          an empty struct, also as a type; `[string]()` is the string set
    any         as systemd >= 262 has it, beyond both grammars

Tools refuse much of that, so `print_interface` writes less of it than `parse` reads; see there.
A comment is documentation where its lines stand directly above what they describe: above
`interface`, a member, or the field of a struct.  Any other comment is dropped.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from daemonry.errors import DaemonryError
from daemonry.limits import MAX_ECHO_CHARS
from daemonry.wire.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# A description travels in one reply, which systemd bounds at 16 MiB; real ones have a few KiB.
MAX_TEXT_CHARS: Final = 1 << 20
# Structs, enums, `[]`, `[string]` and `?` around each other; systemd's parser stops at 64 structs.
MAX_TYPE_DEPTH: Final = 64
# Where a printed line is broken: org.varlink.service and .certification keep to it as well.
LINE_CHARS: Final = 80
INDENT: Final = "  "


class IdlError(DaemonryError):
    """A text is no interface description.

    Attributes:
        line: where, counted from 1 by the line ends named above.
        column: the character in that line, counted from 1.
        reason: what is wrong there, and what to write instead.
    """

    def __init__(self, line: int, column: int, reason: str) -> None:
        super().__init__(f"{line}:{column}: {reason}")
        self.line = line
        self.column = column
        self.reason = reason


class NotPrintable(DaemonryError):
    """An interface cannot be written so that its readers understand it.

    Attributes:
        where: the interface's name, or the member and the fields that lead to the fault ("Add.a").
        reason: what is wrong there, and what to use instead.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


# --- values -----------------------------------------------------------------------------------


class Basic(enum.Enum):
    """A type without parts; the value is its keyword."""

    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    STRING = "string"
    OBJECT = "object"  # any JSON object
    ANY = "any"  # any JSON value; systemd >= 262 only


@dataclass(frozen=True, slots=True)
class Named:
    """The type that a `TypeAlias` of the same interface declares."""

    name: str


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a struct; `doc` is its comment, lines joined by LF."""

    name: str
    type: Type
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Struct:
    """Named values; on the wire a JSON object."""

    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class Enum:
    """One of some names; on the wire a JSON string.  Without names it cannot be written."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Array:
    """Any number of values of one type."""

    mark: ClassVar[str] = "[]"
    element: Type


@dataclass(frozen=True, slots=True)
class Map:
    """Values of one type under strings; `Map(Struct())` is the string set."""

    mark: ClassVar[str] = "[string]"
    element: Type


@dataclass(frozen=True, slots=True)
class Optional:
    """A value that may be null or absent.  Its element is no `Optional`."""

    mark: ClassVar[str] = "?"
    element: Type


Type = Basic | Named | Struct | Enum | Array | Map | Optional


@dataclass(frozen=True, slots=True)
class TypeAlias:
    """`type name (...)`."""

    name: str
    type: Struct | Enum
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Method:
    """`method name(parameters) -> (reply)`."""

    name: str
    parameters: Struct
    reply: Struct
    doc: str = ""


@dataclass(frozen=True, slots=True)
class ErrorType:
    """`error name (parameters)`."""

    name: str
    parameters: Struct
    doc: str = ""


Member = TypeAlias | Method | ErrorType


@dataclass(frozen=True, slots=True)
class Interface:
    """A whole description; members keep their order."""

    name: str
    members: tuple[Member, ...]
    doc: str = ""


# --- names ------------------------------------------------------------------------------------

_INTERFACE_NAME = re.compile(r"[A-Za-z](?:-*[A-Za-z0-9])*(?:\.[A-Za-z0-9](?:-*[A-Za-z0-9])*)+")
_MEMBER_NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
_FIELD_NAME = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*")
# python-varlink has letters only in the first label, systemd no "--".
_COMMON_INTERFACE_NAME = re.compile(r"[A-Za-z]+(?:\.[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*)+")


def is_interface_name(text: str) -> bool:
    """Tell whether `text` names an interface: two labels or more, joined by dots."""
    return _INTERFACE_NAME.fullmatch(text) is not None


def is_member_name(text: str) -> bool:
    """Tell whether `text` names a type, method or error: a capital, then letters and digits."""
    return _MEMBER_NAME.fullmatch(text) is not None


def is_field_name(text: str) -> bool:
    """Tell whether `text` names a field or an enum's value: letters, digits, single inner '_'."""
    return _FIELD_NAME.fullmatch(text) is not None


def _quoted(text: str) -> str:
    if not text:
        return "nothing"
    return repr(text[:MAX_ECHO_CHARS]) + ("..." if len(text) > MAX_ECHO_CHARS else "")


def _interface_name_fault(text: str) -> str:
    if is_interface_name(text):
        return ""
    if "." not in text and is_interface_name(f"org.{text}"):
        return f"interface name {_quoted(text)} has no dot: write it like {_quoted(f'org.example.{text}')}"
    rule = "labels of letters, digits and inner '-', joined by dots, such as 'org.example.name'"
    return f"expected an interface name, found {_quoted(text)}: use {rule}"


def _member_name_fault(text: str) -> str:
    if is_member_name(text):
        return ""
    capitalized = text[:1].upper() + text[1:]
    if text.isascii() and is_member_name(capitalized):
        return f"{_quoted(text)} starts with a small letter: write {_quoted(capitalized)}"
    return f"expected a name, found {_quoted(text)}: use a capital, then letters and digits"


def _field_name_fault(text: str) -> str:
    if is_field_name(text):
        return ""
    rule = "letters and digits, with single '_' between them"
    return f"expected a field or enum name, found {_quoted(text)}: use {rule}"


# --- reasons that reading and writing share ---------------------------------------------------

_TOO_DEEP = f"types nested deeper than {MAX_TYPE_DEPTH}: declare an inner one and use its name"
_TWICE_OPTIONAL = "a type is made optional once: write one '?'"


def _stands_twice(name: str) -> str:
    return f"{_quoted(name)} stands here twice: rename one"


def _unresolved(name: str, declared: bool) -> str:
    if declared:
        return f"{_quoted(name)} is a method or an error: only a type can be used here"
    return f"type {_quoted(name)} is not declared: add {_quoted(f'type {name} (...)')}"


# --- reading ----------------------------------------------------------------------------------

_BLANKS = "".join(
    map(chr, (0x09, 0x20, 0xA0, 0x1680, 0x180E, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000, 0xFEFF))
)
_LINE_ENDS = "\n\r\u2028\u2029"
_LINE_END = re.compile(f"\r\n|[{_LINE_ENDS}]")
# Blanks and comments, then a mark, a word, any other character, or the end: it matches anywhere.
# Possessive, so that nothing is looked at twice.  A word takes all that any name may hold, so that
# a wrong name is told as a whole.
_TOKEN = re.compile(
    rf"(?:[{_BLANKS}{_LINE_ENDS}]++|#[^{_LINE_ENDS}]*+)*+"
    r"(\[\]|\[string\]|->|[A-Za-z0-9_](?:[A-Za-z0-9_.]|-(?!>))*+|.|\Z)",
    re.DOTALL,
)

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


class _Entry(NamedTuple):
    """What stands between two commas of `(...)`; the names of an enum have no type."""

    name: str
    type: Type | None
    doc: str


def parse(text: str) -> Interface:
    """Return the interface that `text` describes.

    Takes time in proportion to the length of the text.

    Raises:
        IdlError: the text is longer than `MAX_TEXT_CHARS` characters, breaks the grammar, nests
            types deeper than `MAX_TYPE_DEPTH`, uses a name twice in one place, or uses a type that
            it does not declare.  The first fault is told; missing types are looked for last.
    """
    if len(text) > MAX_TEXT_CHARS:
        raise IdlError(1, 1, f"{len(text)} characters are too many: the limit is {MAX_TEXT_CHARS}")
    return _Parser(text).interface()


class _Parser:
    """Recursive descent, one method for each production, with one token of foresight."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._declared: dict[str, _Token] = {}
        self._used: list[_Token] = []
        self._next = self._scan(0)

    def interface(self) -> Interface:
        doc = self._doc()
        self._expect("interface", "'interface' and a name, such as 'interface org.example.name'")
        name = self._name(_interface_name_fault)
        members = [self._member()]
        while self._next.text:
            members.append(self._member())
        self._resolve({member.name for member in members if isinstance(member, TypeAlias)})
        return Interface(name.text, tuple(members), doc)

    def _member(self) -> Member:
        doc = self._doc()
        keyword = self._take()
        if keyword.text == "type":
            return TypeAlias(self._declared_name(), self._group(0), doc)
        if keyword.text == "error":
            return ErrorType(self._declared_name(), self._struct(), doc)
        if keyword.text != "method":
            raise self._error(keyword, f"expected 'type', 'method' or 'error', found {_quoted(keyword.text)}")
        name, parameters = self._declared_name(), self._struct()
        self._expect("->", "'->' and what the method replies, such as '-> ()'")
        return Method(name, parameters, self._struct(), doc)

    def _declared_name(self) -> str:
        name = self._name(_member_name_fault)
        first = self._declared.setdefault(name.text, name)
        if first is not name:
            line, _ = self._position(first)
            raise self._error(name, f"{_quoted(name.text)} is declared in line {line} already: rename one")
        return name.text

    def _struct(self) -> Struct:
        start, group = self._next, self._group(0)
        if isinstance(group, Enum):
            first = _quoted(group.names[0])
            raise self._error(start, f"expected a struct, found an enum: {first} and the others need a type")
        return group

    def _group(self, depth: int) -> Struct | Enum:
        self._expect("(", "'(' with fields or names, or '()'")
        entries: dict[str, _Entry] = {}
        while self._next.text != ")":
            start, entry = self._next, self._entry(depth)
            first = next(iter(entries.values()), entry)
            if entry.name in entries:
                raise self._error(start, _stands_twice(entry.name))
            if (first.type is None) != (entry.type is None):
                raise self._error(start, _mixed(entry))
            entries[entry.name] = entry
            self._comma(entry)
        self._take()
        return _grouped(entries)

    def _entry(self, depth: int) -> _Entry:
        doc = self._doc()
        name = self._name(_field_name_fault)
        if self._next.text != ":":
            return _Entry(name.text, None, doc)
        self._take()
        return _Entry(name.text, self._type(depth), doc)

    def _comma(self, entry: _Entry) -> None:
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
                raise self._error(self._next, _TWICE_OPTIONAL)
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
            raise self._error(self._next, _TOO_DEEP)

    def _resolve(self, types: set[str]) -> None:
        for token in self._used:
            if token.text not in types:
                raise self._error(token, _unresolved(token.text, token.text in self._declared))

    def _name(self, fault: Callable[[str], str]) -> _Token:
        reason = fault(self._next.text)
        if reason:
            raise self._error(self._next, reason)
        return self._take()

    def _expect(self, text: str, what: str) -> None:
        token = self._take()
        if token.text != text:
            raise self._error(token, f"expected {what}, found {_quoted(token.text)}")

    def _take(self) -> _Token:
        token = self._next
        self._next = self._scan(token.start + len(token.text))
        return token

    def _scan(self, gap: int) -> _Token:
        match = _TOKEN.match(self._text, gap)
        assert match is not None, "the pattern matches anywhere"
        return _Token(match[1], match.start(1), gap)

    def _doc(self) -> str:
        """Return the comment whose lines stand directly above the next token."""
        gap = self._text[self._next.gap : self._next.start]
        lines = _LINE_END.split(gap)[:-1]
        if self._next.gap:
            del lines[:1]  # the end of the line of the token before
        comment: list[str] = []
        while lines and (line := lines.pop().lstrip(_BLANKS)).startswith("#"):
            comment.append(line[1:].removeprefix(" "))
        return "\n".join(reversed(comment))

    def _position(self, token: _Token) -> tuple[int, int]:
        line, start = 1, 0
        for line_end in _LINE_END.finditer(self._text, 0, token.start):
            line, start = line + 1, line_end.end()
        return line, token.start - start + 1

    def _error(self, token: _Token, reason: str) -> IdlError:
        return IdlError(*self._position(token), reason)


def _grouped(entries: dict[str, _Entry]) -> Struct | Enum:
    fields = tuple(Field(name, kind, doc) for name, kind, doc in entries.values() if kind is not None)
    return Struct(fields) if fields or not entries else Enum(tuple(entries))


def _mixed(entry: _Entry) -> str:
    name = _quoted(entry.name)
    if entry.type is None:
        return f"{name} has no type, the fields before it have: write {_quoted(f'{entry.name}: string')}"
    return f"{name} has a type, the names before it have none: '(...)' holds only fields or only names"


def _no_comma(entry: _Entry, found: str) -> str:
    if found == "[]":
        return "'[]' stands before its type: write '[]int', not 'int[]'"
    marks = "':', ',' or ')'" if entry.type is None else "',' or ')'"
    return f"expected {marks} after {_quoted(entry.name)}, found {_quoted(found)}"


def _no_type(found: str) -> str:
    if found in _MEANT:
        return f"{_quoted(found)} is no type: write {_quoted(_MEANT[found])}"
    if found == "[":
        return "expected a type, found '[': write '[]' for an array, '[string]' for a map, without blanks"
    if "." in found:
        return f"{_quoted(found)} is no type of this interface: declare it here and use its last part"
    if is_field_name(found):
        return f"{_quoted(found)} is no type: declared types start with a capital"
    known = "bool, int, float, string, object, a declared type or '(...)'"
    return f"expected a type, found {_quoted(found)}: use {known}"


# --- writing ----------------------------------------------------------------------------------


def print_interface(interface: Interface, *, strict: bool = True) -> str:
    """Return the text that describes `interface`, which `parse` reads back as an equal value.

    Members are divided by an empty line, documentation stands above what it describes, and what
    does not fit into `LINE_CHARS` has a line for each field.  In documentation, every kind of line
    end is written as LF; nothing else is changed.

    By default only what systemd (257, 262) and python-varlink (31) both read is written.  They
    have no `any`; no string set or other empty struct as a type; no array or map of arrays, maps or
    optionals; no enum of a single name; in the interface's name no "--", and nothing but letters
    before its first dot.  Such a type is refused and not replaced, since another type would mean
    another form on the wire.  Controls in documentation are refused too: a terminal obeys them.

    Args:
        interface: what to describe.
        strict: False writes all that `parse` reads.

    Raises:
        NotPrintable: a name is malformed, unknown or used twice in one place, an interface or enum
            is empty, an `Optional` holds an `Optional`, types nest deeper than `MAX_TYPE_DEPTH`;
            or, when strict, one of those named above.
    """
    _Checker(interface, strict).interface(interface)
    blocks = [_comment(interface.doc, "") + f"interface {interface.name}\n"]
    blocks += [f"{_comment(member.doc, '')}{_member_text(member)}\n" for member in interface.members]
    return "\n".join(blocks)


_Path = tuple[str, ...]


class _Checker:
    """Finds what keeps an interface from being written; the first fault is raised.

    A path holds the names that lead to a place; they are joined only where it is told.
    """

    def __init__(self, interface: Interface, strict: bool) -> None:
        self._strict = strict
        self._declared = {member.name for member in interface.members}
        self._types = {member.name for member in interface.members if isinstance(member, TypeAlias)}

    def interface(self, interface: Interface) -> None:
        path = (interface.name,)
        _refuse(path, _interface_name_fault(interface.name))
        if self._strict and not _COMMON_INTERFACE_NAME.fullmatch(interface.name):
            _refuse(path, "some tools refuse this name: begin it with letters alone, and write no '--'")
        if not interface.members:
            _refuse(path, "an interface needs a member: add a type, method or error")
        self._doc(path, interface.doc)
        _refuse_twice(path, [member.name for member in interface.members])
        for member in interface.members:
            self._member((member.name,), member)

    def _member(self, path: _Path, member: Member) -> None:
        _refuse(path, _member_name_fault(member.name))
        self._doc(path, member.doc)
        if isinstance(member, TypeAlias):
            self._common(path, member.type)
            self._group(path, member.type, 0)
        else:
            self._group(path, member.parameters, 0)
        if isinstance(member, Method):
            self._group(path, member.reply, 0)

    def _group(self, path: _Path, group: Struct | Enum, depth: int) -> None:
        names = group.names if isinstance(group, Enum) else [field.name for field in group.fields]
        for name in names:
            _refuse(path, _field_name_fault(name))
        _refuse_twice(path, names)
        if isinstance(group, Struct):
            for field in group.fields:
                self._doc((*path, field.name), field.doc)
                self._type((*path, field.name), field.type, depth)
        elif not names:
            _refuse(path, "an enum needs names: add some, or use string")

    def _type(self, path: _Path, kind: Type, depth: int) -> None:
        self._common(path, kind)
        if isinstance(kind, Basic):
            return
        if isinstance(kind, Named):
            if kind.name not in self._types:
                _refuse(path, _unresolved(kind.name, kind.name in self._declared))
            return
        if depth == MAX_TYPE_DEPTH:
            _refuse(path, _TOO_DEEP)
        if isinstance(kind, Struct | Enum):
            self._group(path, kind, depth + 1)
            return
        if isinstance(kind, Optional) and isinstance(kind.element, Optional):
            _refuse(path, _TWICE_OPTIONAL)
        self._type(path, kind.element, depth + 1)

    def _common(self, path: _Path, kind: Type) -> None:
        if self._strict:
            _refuse(path, _uncommon(kind))

    def _doc(self, path: _Path, doc: str) -> None:
        lines = _LINE_END.split(doc.replace("\t", " "))
        if self._strict and any(printable(line) != line for line in lines):
            _refuse(path, "a control character in the documentation: remove it")


def _refuse(path: _Path, reason: str) -> None:
    if reason:
        raise NotPrintable(printable(".".join(path)), reason)


def _refuse_twice(path: _Path, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            _refuse(path, _stands_twice(name))
        seen.add(name)


def _uncommon(kind: Type) -> str:
    """Return why some tool cannot read `kind`, without looking at what it is made of, or ""."""
    if kind is Basic.ANY:
        return "'any' is read by systemd >= 262 only: use object"
    if kind == Map(Struct()):
        return "systemd reads no string set '[string]()': use '[]string'"
    if kind == Struct():
        return "systemd reads no empty struct as a type: use object"
    if isinstance(kind, Enum) and len(kind.names) == 1:
        return "python-varlink reads no enum with a single name: use string"
    if isinstance(kind, Array | Map) and isinstance(kind.element, Array | Map | Optional):
        return f"systemd reads no '{kind.mark}{kind.element.mark}': put the inner type into a struct"
    return ""


def _comment(doc: str, indent: str) -> str:
    if not doc:
        return ""
    return "".join(f"{indent}# {line}\n" if line else f"{indent}#\n" for line in _LINE_END.split(doc))


def _member_text(member: Member) -> str:
    if isinstance(member, TypeAlias):
        head, last = f"type {member.name} ", member.type
    elif isinstance(member, ErrorType):
        head, last = f"error {member.name} ", member.parameters
    else:
        head, last = f"method {member.name}", member.reply
        head += _type_text(member.parameters, "", LINE_CHARS - len(head) - len(" -> (")) + " -> "
    column = len(head) - (head.rfind("\n") + 1)
    return head + _type_text(last, "", LINE_CHARS - column)


def _type_text(kind: Type, indent: str, room_chars: int) -> str:
    """Return `kind` on one line if that fits into the room, else with a line for each entry."""
    flat = _flat(kind)
    if len(flat) <= room_chars and not _documented(kind):
        return flat
    if isinstance(kind, Array | Map | Optional):
        return kind.mark + _type_text(kind.element, indent, room_chars - len(kind.mark))
    if isinstance(kind, Struct) and kind.fields:
        return _block([_field_text(field, indent + INDENT) for field in kind.fields], indent)
    if isinstance(kind, Enum):
        return _block([indent + INDENT + name for name in kind.names], indent)
    return flat


def _field_text(field: Field, indent: str) -> str:
    head = f"{indent}{field.name}: "
    room_chars = LINE_CHARS - len(head) - len(",")
    return _comment(field.doc, indent) + head + _type_text(field.type, indent, room_chars)


def _block(lines: list[str], indent: str) -> str:
    return "(\n" + ",\n".join(lines) + f"\n{indent})"


def _flat(kind: Type) -> str:
    if isinstance(kind, Basic):
        return kind.value
    if isinstance(kind, Named):
        return kind.name
    if isinstance(kind, Struct):
        return "(" + ", ".join(f"{field.name}: {_flat(field.type)}" for field in kind.fields) + ")"
    if isinstance(kind, Enum):
        return "(" + ", ".join(kind.names) + ")"
    return kind.mark + _flat(kind.element)


def _documented(kind: Type) -> bool:
    if isinstance(kind, Array | Map | Optional):
        return _documented(kind.element)
    return isinstance(kind, Struct) and any(field.doc or _documented(field.type) for field in kind.fields)
