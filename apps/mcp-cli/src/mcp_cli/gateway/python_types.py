"""Schemas as Python's types: what annotations say, with a TypedDict for each object that names its fields.

Owns the classes of one generated module and their names.  What no type of Python says (patterns, bounds) is
left to the check of a call.  Pure.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from daemonry.terminal_text import printable
from mcp_cli.pool import arguments
from mcp_cli.pool.arguments import followed

_SIMPLE: Final = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
}
MAX_DEPTH: Final = 8
# The classes of one tool; an object beyond them is a plain dict.
MAX_CLASSES: Final = 100
# What may stand in a class's body as it is: none that would hide a type from the fields behind it.
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_TYPES: Final = frozenset(("Any", "Literal", "NotRequired", "bool", "dict", "float", "int", "list", "str"))

Objects = Callable[[Mapping[str, Any], Mapping[str, Any], str], str | None]


def type_of(kind: Any, schema: Mapping[str, Any], objects: Objects | None = None, where: str = "") -> str:
    """Return a schema's type as Python writes it.

    Args:
        kind: the schema.
        schema: the whole that it is a part of, where its `$ref`s lead.
        objects: names the class of an object; None where each is a `dict`.
        where: the name that such a class has, where nothing names it better.
    """
    return _type(kind, schema, objects, where, 0)


def _type(kind: Any, schema: Mapping[str, Any], objects: Objects | None, where: str, depth: int) -> str:
    if isinstance(kind, Mapping) and isinstance(kind.get("$ref"), str):
        where = _camel(kind["$ref"].rpartition("/")[2]) or where
    kind = followed(kind, schema)
    if depth > MAX_DEPTH or not kind:
        return "Any"
    if "enum" in kind or "const" in kind:
        return _literal(kind)
    for union in ("anyOf", "oneOf"):
        if isinstance(kind.get(union), list):
            return _union([_type(one, schema, objects, where, depth + 1) for one in kind[union]])
    found = kind.get("type")
    if isinstance(found, list):
        return _union([_type({**kind, "type": one}, schema, objects, where, depth + 1) for one in found])
    if found == "array":
        return f"list[{_type(kind.get('items') or {}, schema, objects, where, depth + 1)}]"
    if found == "object":
        named = objects(kind, schema, where) if objects is not None and arguments.properties(kind) else None
        return named or f"dict[str, {_further(kind, schema, objects, where, depth + 1)}]"
    return _SIMPLE.get(str(found), "Any")


def _further(
    kind: Mapping[str, Any], schema: Mapping[str, Any], objects: Objects | None, where: str, depth: int
) -> str:
    """Return the type of the values of an object that names no fields."""
    further = kind.get("additionalProperties")
    return _type(further, schema, objects, where, depth) if isinstance(further, dict) and further else "Any"


def _literal(kind: Mapping[str, Any]) -> str:
    values = kind.get("enum") or [kind.get("const")]
    if isinstance(values, list) and all(isinstance(value, str | int | bool | None) for value in values):
        return f"Literal[{', '.join(ascii(value) for value in values)}]"
    return "Any"


def _union(kinds: list[str]) -> str:
    if not kinds or "Any" in kinds:
        return "Any"
    different = list(dict.fromkeys(kinds))
    if "None" in different:
        different = [one for one in different if one != "None"] + ["None"]
    return " | ".join(different)


class Classes:
    """The TypedDicts of one generated module.

    Args:
        used: the names that are the module's already.
    """

    def __init__(self, used: set[str]) -> None:
        self._used = used
        self._made: dict[int, str] = {}
        self._kept: list[Any] = []
        self._texts: list[str] = []
        self._left = MAX_CLASSES

    @property
    def text(self) -> str:
        """The classes, as Python."""
        return "".join(self._texts)

    def begin(self) -> None:
        """Begin another tool."""
        self._left = MAX_CLASSES

    def parameter(self, kind: Any, schema: Mapping[str, Any], tool: str, name: str) -> str:
        """Return the type of a tool's parameter."""
        return type_of(kind, schema, self._objects_of(_camel(tool)), _camel(name))

    def output(self, tool: Mapping[str, Any], name: str) -> str | None:
        """Return the type of a tool's structured result; None where it promises none."""
        schema = tool.get("outputSchema")
        if not isinstance(schema, Mapping):
            return None
        return type_of(schema, schema, self._objects_of(_camel(name)), "Output")

    def input(self, tool: str, fields: list[tuple[str, str, bool]]) -> None:
        """Add the class of all that a tool takes.

        Args:
            tool: its name.
            fields: of each the name, the type, and whether it is required.
        """
        if fields:
            self._add(self._name(_camel(tool) + "Input"), fields)

    def _objects_of(self, tool: str) -> Objects:
        return lambda kind, schema, where: self._class(kind, schema, tool, where)

    def _class(self, kind: Mapping[str, Any], schema: Mapping[str, Any], tool: str, where: str) -> str | None:
        if id(kind) in self._made:  # a schema that leads back to itself, or to a definition of before
            return self._made[id(kind)]
        if self._left == 0:
            return None
        self._left -= 1
        name = self._name(tool + (where or "Object"))
        self._made[id(kind)] = name
        self._kept.append(kind)  # or another object could get its id
        required = arguments.required(kind)
        objects = self._objects_of(tool)
        fields = [
            (field, type_of(inner, schema, objects, where + _camel(field)), field in required)
            for field, inner in arguments.properties(kind).items()
        ]
        self._add(name, fields)
        return name

    def _name(self, wanted: str) -> str:
        wanted = wanted if wanted[:1].isalpha() else f"T{wanted}"
        name, number = wanted, 2
        while name in self._used:
            name = f"{wanted}{number}"
            number += 1
        self._used.add(name)
        return name

    def _add(self, name: str, fields: list[tuple[str, str, bool]]) -> None:
        said = [(field, kind if required else f"NotRequired[{kind}]") for field, kind, required in fields]
        if all(_plain(field) for field, _ in said):
            body = "".join(f"    {field}: {kind}\n" for field, kind in said)
            self._texts.append(f"\n\nclass {name}(TypedDict):\n{body}")
        else:
            # Such names no class can have; types are texts here, for they may name what comes later.
            body = "".join(f"        {field!a}: {kind!a},\n" for field, kind in said)
            self._texts.append(f"\n\n{name} = TypedDict(\n    {name!a},\n    {{\n{body}    }},\n)\n")


def _plain(field: str) -> bool:
    return bool(_FIELD.match(field)) and field not in _TYPES and not keyword.iskeyword(field)


def _camel(name: str) -> str:
    """Return a name as those of classes are written, of ASCII letters and digits."""
    words = re.findall(r"[A-Za-z0-9]+", printable(name))
    return "".join(word[:1].upper() + word[1:] for word in words)
