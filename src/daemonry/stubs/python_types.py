"""Types of a description as Python: the annotation, the reader and the writer of each, as source text.

Owns the records: each struct of the description, named or in place, becomes a class.
Pure: descriptions in, text out.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from daemonry.stubs.names import IN_RECORDS, Taken, python_name
from daemonry.wire import idl

_ANNOTATIONS: Final = {
    idl.Basic.BOOL: "bool",
    idl.Basic.INT: "int",
    idl.Basic.FLOAT: "float",
    idl.Basic.STRING: "str",
    idl.Basic.OBJECT: "dict[str, Any]",
    idl.Basic.ANY: "Any",
}
_READERS: Final = {
    idl.Basic.BOOL: "_c.boolean",
    idl.Basic.INT: "_c.integer",
    idl.Basic.FLOAT: "_c.number",
    idl.Basic.STRING: "_c.string",
    idl.Basic.OBJECT: "_c.mapping",
    idl.Basic.ANY: "_c.anything",
}
STRING_SET: Final = idl.Map(idl.Struct())


@dataclass(frozen=True)
class RecordClass:
    """A class for a struct: its name in Python, its fields with their names there, and its docstring."""

    name: str
    fields: tuple[tuple[str, idl.Field], ...]
    doc: str


@dataclass
class Types:
    """The types of one interface, by the names that they have in Python.

    Attributes:
        names: the names of the module that are taken.
        records: the classes to write, in order; those of structs in place come before who holds them.
        enums: the named enums: their names in Python, and the values.
    """

    names: Taken = field(default_factory=Taken)
    records: dict[str, RecordClass] = field(default_factory=dict)
    enums: dict[str, idl.TypeAlias] = field(default_factory=dict)
    _known: dict[str, str] = field(default_factory=dict)  # Python's names by the description's
    _aliases: dict[str, idl.TypeAlias] = field(default_factory=dict)
    _in_place: dict[tuple[str, idl.Struct], str] = field(default_factory=dict)

    def declare(self, aliases: Iterable[idl.TypeAlias]) -> None:
        """Name all declared types first, since they may hold each other; then write their records."""
        for alias in aliases:
            self._known[alias.name] = self.names.take(python_name(alias.name))
            self._aliases[alias.name] = alias
        for alias in aliases:
            name = self._known[alias.name]
            if isinstance(alias.type, idl.Enum):
                self.enums[name] = alias
            else:
                self._record(name, alias.type, alias.doc)

    def named_like(self, struct: idl.Struct) -> str:
        """Return the name of the declared type with exactly these fields; "" for none."""
        bare = _bare(struct)
        for name, alias in self._aliases.items():
            if isinstance(alias.type, idl.Struct) and _bare(alias.type) == bare:
                return self._known[name]
        return ""

    def record(self, name: str, struct: idl.Struct, doc: str = "") -> str:
        """Have a class written for a struct, by a name like this one, and return its name."""
        key = (name, struct)
        if key not in self._in_place:
            self._in_place[key] = self.names.take(name)
            self._record(self._in_place[key], struct, doc)
        return self._in_place[key]

    def _record(self, name: str, struct: idl.Struct, doc: str) -> None:
        for one in struct.fields:  # structs in place first
            self.annotation(one.type, inner_path(name, one))
        self.records[name] = RecordClass(name, tuple(python_fields(struct, IN_RECORDS)), doc)

    # --- a type, three ways -------------------------------------------------------------------

    def annotation(self, kind: idl.Type, path: str) -> str:
        """Return a type as an annotation; `path` names a struct that stands in place."""
        if isinstance(kind, idl.Basic):
            return _ANNOTATIONS[kind]
        if isinstance(kind, idl.Named):
            return self._known[kind.name]
        if isinstance(kind, idl.Enum):
            return f"Literal[{', '.join(map(repr, kind.names))}]"
        if isinstance(kind, idl.Struct):
            return self.record(path, kind)
        if kind == STRING_SET:
            return "set[str]"
        inner = self.annotation(kind.element, path)
        if isinstance(kind, idl.Optional):
            return f"{inner} | None"
        return f"list[{inner}]" if isinstance(kind, idl.Array) else f"dict[str, {inner}]"

    def reader(self, kind: idl.Type, path: str) -> str:
        """Return the expression of a function that reads a value of a type."""
        if isinstance(kind, idl.Basic):
            return _READERS[kind]
        if isinstance(kind, idl.Named):
            declared = self._aliases[kind.name].type
            if isinstance(declared, idl.Enum):
                return self.reader(declared, path)
            return f"{self._known[kind.name]}.from_json"
        if isinstance(kind, idl.Enum):
            return f"_c.one_of({', '.join(map(repr, kind.names))})"
        if isinstance(kind, idl.Struct):
            return f"{self.record(path, kind)}.from_json"
        if kind == STRING_SET:
            return "_c.names"
        how = {idl.Optional: "optional", idl.Array: "array", idl.Map: "under_names"}[type(kind)]
        return f"_c.{how}({self.reader(kind.element, path)})"

    def writer(self, kind: idl.Type, value: str, depth: int = 0) -> str:
        """Return the expression of a value of a type as JSON; the value's own where it is JSON already."""
        if isinstance(kind, idl.Named):
            declared = self._aliases[kind.name].type
            return value if isinstance(declared, idl.Enum) else f"{value}.to_json()"
        if isinstance(kind, idl.Struct):
            return f"{value}.to_json()"
        if isinstance(kind, idl.Basic | idl.Enum):
            return value
        if kind == STRING_SET:
            return f"{{_name: {{}} for _name in {value}}}"
        each = f"_each{depth}"
        if isinstance(kind, idl.Optional):
            inner = self.writer(kind.element, value, depth)
            return value if inner == value else f"None if {value} is None else {inner}"
        inner = self.writer(kind.element, each, depth + 1)
        if inner == each:
            return value
        if isinstance(kind, idl.Array):
            return f"[{inner} for {each} in {value}]"
        return f"{{_key{depth}: {inner} for _key{depth}, {each} in {value}.items()}}"


def inner_path(owner: str, field: idl.Field) -> str:
    """Return the name of a struct that stands in place, as the type of a field of `owner`."""
    return owner + field.name[:1].upper() + field.name[1:]


def python_fields(struct: idl.Struct, kept: Container[str] = ()) -> Iterator[tuple[str, idl.Field]]:
    """Yield a struct's fields with their names in Python, none of `kept`: those without a default first."""
    taken = Taken()
    named = [(taken.take(python_name(one.name, kept)), one) for one in struct.fields]
    yield from (pair for pair in named if not isinstance(pair[1].type, idl.Optional))
    yield from (pair for pair in named if isinstance(pair[1].type, idl.Optional))


def _bare(struct: idl.Struct) -> tuple[tuple[str, idl.Type], ...]:
    return tuple((one.name, one.type) for one in struct.fields)
