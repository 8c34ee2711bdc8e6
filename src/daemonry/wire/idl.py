"""What an interface is, in Varlink's interface description language: frozen values, and their names.

Owns the rules by which a description is consistent; reading one is `idl_parser`'s, writing `idl_printer`'s.
The JSON of a type's values belongs to `service.interface.declare`; answering for a
description to `service.server.builtin`.  No I/O, no clock, no logging.
"""

from __future__ import annotations

import enum
import re
from typing import ClassVar, Final

from daemonry.limits import MAX_ECHO_CHARS
from daemonry.values import Value

# Structs, enums, `[]`, `[string]` and `?` around each other; systemd's parser stops at 64 structs.
MAX_TYPE_DEPTH: Final = 64


# --- values -----------------------------------------------------------------------------------


class Basic(enum.Enum):
    """A type without parts; the value is its keyword."""

    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    STRING = "string"
    OBJECT = "object"  # any JSON object
    ANY = "any"  # any JSON value; systemd >= 262 only


class Named(Value):
    """The type that a `TypeAlias` of the same interface declares."""

    __slots__ = ("name",)
    name: str

    def __init__(self, name: str) -> None:
        self._set(name=name)


class Field(Value):
    """One field of a struct; `doc` is its comment, lines joined by LF."""

    __slots__ = ("name", "type", "doc")  # noqa: RUF023  # as the arguments
    name: str
    type: Type
    doc: str

    def __init__(self, name: str, type: Type, doc: str = "") -> None:  # noqa: A002  # its name in the language
        self._set(name=name, type=type, doc=doc)


class Struct(Value):
    """Named values; on the wire a JSON object."""

    __slots__ = ("fields",)
    fields: tuple[Field, ...]

    def __init__(self, fields: tuple[Field, ...] = ()) -> None:
        self._set(fields=fields)


class Enum(Value):
    """One of some names; on the wire a JSON string.  Without names it cannot be written."""

    __slots__ = ("names",)
    names: tuple[str, ...]

    def __init__(self, names: tuple[str, ...]) -> None:
        self._set(names=names)


class Array(Value):
    """Any number of values of one type."""

    __slots__ = ("element",)
    mark: ClassVar[str] = "[]"
    element: Type

    def __init__(self, element: Type) -> None:
        self._set(element=element)


class Map(Value):
    """Values of one type under strings; `Map(Struct())` is the string set."""

    __slots__ = ("element",)
    mark: ClassVar[str] = "[string]"
    element: Type

    def __init__(self, element: Type) -> None:
        self._set(element=element)


class Optional(Value):
    """A value that may be null or absent.  Its element is never `Optional`."""

    __slots__ = ("element",)
    mark: ClassVar[str] = "?"
    element: Type

    def __init__(self, element: Type) -> None:
        self._set(element=element)


Type = Basic | Named | Struct | Enum | Array | Map | Optional


class TypeAlias(Value):
    """`type name (...)`."""

    __slots__ = ("name", "type", "doc")  # noqa: RUF023  # as the arguments
    name: str
    type: Struct | Enum
    doc: str

    def __init__(self, name: str, type: Struct | Enum, doc: str = "") -> None:  # noqa: A002  # its name in the language
        self._set(name=name, type=type, doc=doc)


class MethodDescription(Value):
    """`method name(parameters) -> (reply)`."""

    __slots__ = ("name", "parameters", "reply", "doc")  # noqa: RUF023  # as the arguments
    name: str
    parameters: Struct
    reply: Struct
    doc: str

    def __init__(self, name: str, parameters: Struct, reply: Struct, doc: str = "") -> None:
        self._set(name=name, parameters=parameters, reply=reply, doc=doc)


class ErrorType(Value):
    """`error name (parameters)`."""

    __slots__ = ("name", "parameters", "doc")  # noqa: RUF023  # as the arguments
    name: str
    parameters: Struct
    doc: str

    def __init__(self, name: str, parameters: Struct, doc: str = "") -> None:
        self._set(name=name, parameters=parameters, doc=doc)


Member = TypeAlias | MethodDescription | ErrorType


class InterfaceDescription(Value):
    """A whole description; members keep their order."""

    __slots__ = ("name", "members", "doc")  # noqa: RUF023  # as the arguments
    name: str
    members: tuple[Member, ...]
    doc: str

    def __init__(self, name: str, members: tuple[Member, ...], doc: str = "") -> None:
        self._set(name=name, members=members, doc=doc)

    @property
    def types(self) -> tuple[TypeAlias, ...]:
        """The named types, in their order."""
        return tuple(one for one in self.members if isinstance(one, TypeAlias))

    @property
    def methods(self) -> tuple[MethodDescription, ...]:
        """The methods, in their order."""
        return tuple(one for one in self.members if isinstance(one, MethodDescription))

    @property
    def errors(self) -> tuple[ErrorType, ...]:
        """The errors, in their order."""
        return tuple(one for one in self.members if isinstance(one, ErrorType))


# --- names ------------------------------------------------------------------------------------

_INTERFACE_NAME = re.compile(r"[A-Za-z](?:-*[A-Za-z0-9])*(?:\.[A-Za-z0-9](?:-*[A-Za-z0-9])*)+")
_MEMBER_NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
_FIELD_NAME = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*")


def is_interface_name(text: str) -> bool:
    """Tell whether `text` names an interface: two labels or more, joined by dots."""
    return _INTERFACE_NAME.fullmatch(text) is not None


def is_member_name(text: str) -> bool:
    """Tell whether `text` names a type, method or error: a capital, then letters and digits."""
    return _MEMBER_NAME.fullmatch(text) is not None


def is_field_name(text: str) -> bool:
    """Tell whether `text` names a field or an enum's value: letters, digits, single inner '_'."""
    return _FIELD_NAME.fullmatch(text) is not None


def quoted(text: str) -> str:
    """Return a name as a message shows it: cut, and without what a terminal would act on."""
    if not text:
        return "nothing"
    return repr(text[:MAX_ECHO_CHARS]) + ("..." if len(text) > MAX_ECHO_CHARS else "")


def interface_name_fault(text: str) -> str:
    """Return the fault in an interface's name, with a remedy; "" for none."""
    if is_interface_name(text):
        return ""
    if "." not in text and is_interface_name(f"org.{text}"):
        return f"interface name {quoted(text)} has no dot: write it like {quoted(f'org.example.{text}')}"
    rule = "labels of letters, digits and inner '-', joined by dots, such as 'org.example.name'"
    return f"expected an interface name, found {quoted(text)}: use {rule}"


def member_name_fault(text: str) -> str:
    """Return the same of a type's, method's or error's name."""
    if is_member_name(text):
        return ""
    capitalized = text[:1].upper() + text[1:]
    if text.isascii() and is_member_name(capitalized):
        return f"{quoted(text)} starts with a small letter: write {quoted(capitalized)}"
    return f"expected a name, found {quoted(text)}: use a capital, then letters and digits"


def field_name_fault(text: str) -> str:
    """Return the same of the name of a field, or of an enum's value."""
    if is_field_name(text):
        return ""
    rule = "letters and digits, with single '_' between them"
    return f"expected a field or enum name, found {quoted(text)}: use {rule}"


# --- reasons that reading and writing share ---------------------------------------------------

TOO_DEEP = f"types nested deeper than {MAX_TYPE_DEPTH}: declare an inner one and use its name"
TWICE_OPTIONAL = "a type is made optional once: write one '?'"


def stands_twice(name: str) -> str:
    """Return the fault where a name is used twice in one place."""
    return f"{quoted(name)} stands here twice: rename one"


def unresolved(name: str, declared: bool) -> str:
    """Return the fault where a type's name leads nowhere."""
    if declared:
        return f"{quoted(name)} is a method or an error: only a type can be used here"
    return f"type {quoted(name)} is not declared: add {quoted(f'type {name} (...)')}"


# What ends a line: in a description, and in the comments that are written into one.
LINE_ENDS: Final = "\n\r\u2028\u2029"
LINE_END = re.compile(f"\r\n|[{LINE_ENDS}]")
