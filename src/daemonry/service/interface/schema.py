"""Python's types as the interface language has them.

Owns the mapping:

    bool int float str          themselves
    bytes                       string, in base64
    datetime, date, UUID, Decimal
                                string, in their usual forms
    Any, dict[str, Any]         object
    list[X], tuple[X, ...]      []X
    dict[str, X]                [string]X
    set[str], frozenset[str]    [string](), the string set; tools of systemd cannot read that
    X | None                    ?X
    enum.Enum, Literal["a"]     an enum; members of text, with names that the language allows
    enum.Enum of numbers        int
    dataclass, msgspec.Struct   a named struct, declared once
    TypedDict                   a struct without a name, in place
    Fd                          int, the index of a descriptor that is passed beside the message

A field with a default may be left out, and is described as one that may be null.  What has no
place there is refused by name when the interface is made, not when it is called.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import types
import typing
import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from daemonry.transport.ancillary import Fd
from daemonry.wire import idl

_BASIC = {
    bool: idl.Basic.BOOL,
    int: idl.Basic.INT,
    float: idl.Basic.FLOAT,
    str: idl.Basic.STRING,
    bytes: idl.Basic.STRING,
    dt.datetime: idl.Basic.STRING,
    dt.date: idl.Basic.STRING,
    uuid.UUID: idl.Basic.STRING,
    decimal.Decimal: idl.Basic.STRING,
    Fd: idl.Basic.INT,
    Any: idl.Basic.OBJECT,
    dict: idl.Basic.OBJECT,
}


class NotDescribable(TypeError):
    """A type has no form in the interface language.

    Attributes:
        where: the method, parameter or field.
        kind: the type.
        place: the file and line of the method or class, `file.py:12`, once that is known; the message
            begins with it.
    """

    def __init__(self, where: str, kind: object, why: str = "has no form in the interface language") -> None:
        super().__init__(f"{where}: {getattr(kind, '__name__', kind)!s} {why}")
        self.where = where
        self.kind = kind
        self.place = ""

    def __str__(self) -> str:
        said = str(self.args[0])
        return f"{self.place}: {said}" if self.place else said


class Schema:
    """Collects the named types that an interface needs while its members are described.

    Attributes:
        aliases: their declarations, in the order in which they were met.
    """

    def __init__(self) -> None:
        self.aliases: dict[str, idl.TypeAlias] = {}
        self._kinds: dict[str, object] = {}
        self._open: list[type] = []

    def type_of(self, kind: Any, where: str) -> idl.Type:
        """Return the interface language's type for a Python type.

        Raises:
            NotDescribable: there is none.
        """
        kind = bare(kind)
        if kind in _BASIC:
            return _BASIC[kind]
        origin, arguments = get_origin(kind), get_args(kind)
        if origin in (typing.Union, types.UnionType):
            return self._optional(arguments, kind, where)
        if origin in (list, tuple, Sequence):
            return self._array(arguments, kind, where)
        if origin in (dict, Mapping):
            return self._map(arguments, kind, where)
        if origin in (set, frozenset):
            return self._set(arguments, kind, where)
        if origin is typing.Literal:
            return self._literal(arguments, kind, where)
        if isinstance(kind, type):
            return self._named(kind, where)
        raise NotDescribable(where, kind)

    def fields_of(self, kind: type, where: str) -> idl.Struct:
        """Return the fields of a dataclass or Struct, in their order.

        Raises:
            NotDescribable: a field's type has no form.
        """
        fields = [
            idl.Field(name, self._field(hint, optional=optional, where=f"{where}.{name}"))
            for name, hint, optional in struct_fields(kind)
        ]
        return idl.Struct(tuple(fields))

    def field(self, kind: Any, *, optional: bool, where: str) -> idl.Type:
        """Return the type of a parameter or field; one with a default may be left out."""
        return self._field(kind, optional=optional, where=where)

    def _field(self, kind: Any, *, optional: bool, where: str) -> idl.Type:
        described = self.type_of(kind, where)
        if optional and not isinstance(described, idl.Optional):
            return idl.Optional(described)
        return described

    def _optional(self, arguments: tuple[Any, ...], kind: Any, where: str) -> idl.Type:
        rest = [one for one in arguments if one is not type(None)]
        if len(rest) != 1 or len(rest) == len(arguments):
            raise NotDescribable(where, kind, "is a union of more than one type and None")
        return idl.Optional(self.type_of(rest[0], where))

    def _array(self, arguments: tuple[Any, ...], kind: Any, where: str) -> idl.Type:
        elements = [one for one in arguments if one is not Ellipsis]
        if len(elements) != 1:
            raise NotDescribable(where, kind, "must have elements of one type")
        return idl.Array(self.type_of(elements[0], where))

    def _map(self, arguments: tuple[Any, ...], kind: Any, where: str) -> idl.Type:
        if not arguments or arguments[0] is not str:
            raise NotDescribable(where, kind, "must have str keys")
        if arguments[1] is Any:
            return idl.Basic.OBJECT
        return idl.Map(self.type_of(arguments[1], where))

    def _set(self, arguments: tuple[Any, ...], kind: Any, where: str) -> idl.Type:
        if arguments != (str,):
            raise NotDescribable(where, kind, "must have str elements; others go into a list")
        return idl.Map(idl.Struct())

    def _literal(self, arguments: tuple[Any, ...], kind: Any, where: str) -> idl.Type:
        return idl.Enum(_enum_names(arguments, kind, where))

    def _named(self, kind: type, where: str) -> idl.Type:
        if issubclass(kind, enum.Enum):
            if all(type(member.value) is int for member in kind):
                return idl.Basic.INT
            names = _enum_names(tuple(member.value for member in kind), kind, where)
            return self._declare(kind, where, lambda: idl.Enum(names))
        if typing.is_typeddict(kind):
            return self._in_place(kind, where)
        if is_struct(kind):
            if issubclass(kind, msgspec.Struct) and kind.__struct_config__.array_like:
                raise NotDescribable(where, kind, "is an array on the wire (array_like)")
            return self._declare(kind, where, lambda: self.fields_of(kind, kind.__name__))
        raise NotDescribable(where, kind)

    def _in_place(self, kind: type, where: str) -> idl.Type:
        if kind in self._open:
            raise NotDescribable(where, kind, "holds itself, for which it needs a name: make it a dataclass")
        self._open.append(kind)
        try:
            return self.fields_of(kind, where)
        finally:
            self._open.pop()

    def _declare(self, kind: type, where: str, describe: Any) -> idl.Type:
        name = kind.__name__
        if not idl.is_member_name(name):
            raise NotDescribable(where, kind, "has a name that the interface language does not allow")
        known = self._kinds.setdefault(name, kind)
        if known is not kind:
            raise NotDescribable(where, kind, "shares its name with another type of the interface")
        if name not in self.aliases:
            # Taken first, so that a type may hold lists of itself.
            self.aliases[name] = idl.TypeAlias(name, idl.Struct())
            self.aliases[name] = idl.TypeAlias(name, describe(), own_doc(kind))
        return idl.Named(name)


def bare(kind: Any) -> Any:
    """Return a type without what `Annotated` and `NewType` add to it."""
    while True:
        if get_origin(kind) is typing.Annotated:
            kind = get_args(kind)[0]
        elif isinstance(kind, typing.NewType):
            kind = kind.__supertype__
        else:
            return kind


def holds(kind: Any, sought: type) -> bool:
    """Whether a `sought` can be in a value of a type."""
    return _holds(kind, sought, set())


def _holds(kind: Any, sought: type, seen: set[Any]) -> bool:
    kind = bare(kind)
    if kind is sought:
        return True
    if is_struct(kind):
        if kind in seen:
            return False
        seen.add(kind)
        return any(_holds(of, sought, seen) for _, of, _ in struct_fields(kind))
    return any(_holds(one, sought, seen) for one in get_args(kind))


def _enum_names(values: tuple[Any, ...], kind: Any, where: str) -> tuple[str, ...]:
    for value in values:
        if not isinstance(value, str) or not idl.is_field_name(value):
            raise NotDescribable(where, kind, f"has the member {value!r}, which is not a valid name")
    return values


def is_struct(kind: object) -> bool:
    """Whether `kind` is a dataclass, a msgspec Struct or a TypedDict."""
    return isinstance(kind, type) and (
        issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind) or typing.is_typeddict(kind)
    )


# Each type of an interface is looked through for a dozen questions, and its hints are evaluated each time.
@lru_cache(maxsize=1024)
def struct_fields(kind: type) -> tuple[tuple[str, Any, bool], ...]:
    """Return (name on the wire, type, whether it may be left out) for each field, in their order."""
    if typing.is_typeddict(kind):
        required: frozenset[str] = kind.__required_keys__  # type: ignore[attr-defined]
        return tuple((name, of, name not in required) for name, of in get_type_hints(kind).items())
    if issubclass(kind, msgspec.Struct):
        return tuple((one.encode_name, one.type, not one.required) for one in msgspec.structs.fields(kind))
    assert dataclasses.is_dataclass(kind)
    hints = get_type_hints(kind)
    return tuple(
        (
            one.name,
            hints[one.name],
            one.default is not dataclasses.MISSING or one.default_factory is not dataclasses.MISSING,
        )
        for one in dataclasses.fields(kind)
        if one.init
    )


def own_doc(kind: type) -> str:
    """Return a class's own docstring, not one that was made for it."""
    doc = kind.__dict__.get("__doc__") or ""
    if dataclasses.is_dataclass(kind) and doc.startswith(f"{kind.__name__}("):
        return ""
    import inspect

    return inspect.cleandoc(doc)
