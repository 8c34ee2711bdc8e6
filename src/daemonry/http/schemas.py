"""Types of the interface language as JSON Schema.

Owns that translation and nothing else.  Pure.
"""

from __future__ import annotations

from typing import Any, Final

from daemonry.wire import idl

# What a reply can carry, in either direction from 0.
_MOST: Final = 2**63 - 1
# Messages end with a NUL character, so that no string has one.
_NO_NUL: Final = r"^[^\u0000]*$"
_BASIC: Final[dict[idl.Basic, dict[str, Any]]] = {
    idl.Basic.BOOL: {"type": "boolean"},
    idl.Basic.INT: {"type": "integer", "format": "int64", "minimum": -_MOST, "maximum": _MOST},
    idl.Basic.FLOAT: {"type": "number"},
    idl.Basic.STRING: {"type": "string", "pattern": _NO_NUL},
    idl.Basic.OBJECT: {"type": "object"},
    idl.Basic.ANY: {},
}


# Its strings, each with `{}` under it.
_STRING_SET: Final = idl.Map(idl.Struct())


def component_name(interface: str, name: str) -> str:
    """Return the name of an alias among the components of the document."""
    return f"{interface}.{name}"


def of_type(kind: idl.Type, interface: str) -> dict[str, Any]:
    """Return the schema of a type that stands in `interface`."""
    if isinstance(kind, idl.Basic):
        return dict(_BASIC[kind])
    if isinstance(kind, idl.Named):
        return {"$ref": f"#/components/schemas/{component_name(interface, kind.name)}"}
    if isinstance(kind, idl.Array):
        return {"type": "array", "items": of_type(kind.element, interface)}
    if kind == _STRING_SET:
        return _map_of({"type": "object", "maxProperties": 0})
    if isinstance(kind, idl.Map):
        return _map_of(of_type(kind.element, interface))
    if isinstance(kind, idl.Optional):
        return {"anyOf": [of_type(kind.element, interface), {"type": "null"}]}
    if isinstance(kind, idl.Enum):
        return {"type": "string", "enum": list(kind.names)}
    return of_struct(kind, interface)


def _map_of(values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "propertyNames": {"pattern": _NO_NUL}, "additionalProperties": values}


def of_struct(struct: idl.Struct, interface: str, *, closed: bool = False) -> dict[str, Any]:
    """Return the schema of an object; a `closed` one has no other fields."""
    made: dict[str, Any] = {
        "type": "object",
        "properties": {
            field.name: _with_doc(of_type(field.type, interface), field.doc) for field in struct.fields
        },
    }
    required = [field.name for field in struct.fields if not isinstance(field.type, idl.Optional)]
    if required:
        made["required"] = required
    if closed:
        made["additionalProperties"] = False
    return made


def _with_doc(schema: dict[str, Any], doc: str) -> dict[str, Any]:
    if not doc:
        return schema
    return {"allOf": [schema], "description": doc} if "$ref" in schema else {**schema, "description": doc}
