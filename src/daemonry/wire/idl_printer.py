"""Writing what an interface is, in the interface description language.

Owns the form, and which part of the language every tool reads; the values and the grammar are `idl`'s.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from daemonry.errors import DaemonryError
from daemonry.terminal_text import printable
from daemonry.wire.idl import (
    LINE_END,
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
    member_name_fault,
    stands_twice,
    unresolved,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

# Where a printed line is broken: org.varlink.service and .certification keep to it as well.
LINE_CHARS: Final = 80
INDENT: Final = "  "
# python-varlink has letters only in the first label, systemd no "--".
_COMMON_INTERFACE_NAME = re.compile(r"[A-Za-z]+(?:\.[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*)+")


class NotPrintable(DaemonryError):
    """An interface cannot be written so that its readers understand it.

    Attributes:
        where: the interface's name, or the member and the fields that lead to the fault ("Add.a").
        reason: the fault there, and a replacement.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


def print_interface(interface: InterfaceDescription, *, strict: bool = True) -> str:
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

    A path holds the names that lead to a place; they are joined only for an error.
    """

    def __init__(self, interface: InterfaceDescription, strict: bool) -> None:
        self._strict = strict
        self._declared = {member.name for member in interface.members}
        self._types = {member.name for member in interface.members if isinstance(member, TypeAlias)}

    def interface(self, interface: InterfaceDescription) -> None:
        path = (interface.name,)
        _refuse(path, interface_name_fault(interface.name))
        if self._strict and not _COMMON_INTERFACE_NAME.fullmatch(interface.name):
            _refuse(path, "some tools refuse this name: begin it with letters alone, and write no '--'")
        if not interface.members:
            _refuse(path, "an interface needs a member: add a type, method or error")
        self._doc(path, interface.doc)
        _refuse_twice(path, [member.name for member in interface.members])
        for member in interface.members:
            self._member((member.name,), member)

    def _member(self, path: _Path, member: Member) -> None:
        _refuse(path, member_name_fault(member.name))
        self._doc(path, member.doc)
        if isinstance(member, TypeAlias):
            self._common(path, member.type)
            self._group(path, member.type, 0)
        else:
            self._group(path, member.parameters, 0)
        if isinstance(member, MethodDescription):
            self._group(path, member.reply, 0)

    def _group(self, path: _Path, group: Struct | Enum, depth: int) -> None:
        names = group.names if isinstance(group, Enum) else [field.name for field in group.fields]
        for name in names:
            _refuse(path, field_name_fault(name))
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
                _refuse(path, unresolved(kind.name, kind.name in self._declared))
            return
        if depth == MAX_TYPE_DEPTH:
            _refuse(path, TOO_DEEP)
        if isinstance(kind, Struct | Enum):
            self._group(path, kind, depth + 1)
            return
        if isinstance(kind, Optional) and isinstance(kind.element, Optional):
            _refuse(path, TWICE_OPTIONAL)
        self._type(path, kind.element, depth + 1)

    def _common(self, path: _Path, kind: Type) -> None:
        if self._strict:
            _refuse(path, _uncommon(kind))

    def _doc(self, path: _Path, doc: str) -> None:
        lines = LINE_END.split(doc.replace("\t", " "))
        if self._strict and any(printable(line) != line for line in lines):
            _refuse(path, "a control character in the documentation: remove it")


def _refuse(path: _Path, reason: str) -> None:
    if reason:
        raise NotPrintable(printable(".".join(path)), reason)


def _refuse_twice(path: _Path, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            _refuse(path, stands_twice(name))
        seen.add(name)


def _uncommon(kind: Type) -> str:
    """Return why some tool cannot read `kind`, without looking at its parts, or ""."""
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
    return "".join(f"{indent}# {line}\n" if line else f"{indent}#\n" for line in LINE_END.split(doc))


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


def print_type(kind: Type) -> str:
    """Return a type in one line."""
    return _flat(kind)


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
