"""A tool's signature: nested fields with their bounds, and an example that a call's own check lets pass."""

from __future__ import annotations

import math
import shlex
from typing import Any

import pytest

from mcp_cli.pool import arguments
from mcp_cli.pool.definitions import signature

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 18}},
    "required": ["name", "age"],
}
TOOL = {
    "type": "object",
    "properties": {
        "entities": {"type": "array", "items": {"$ref": "#/$defs/Person"}, "minItems": 1},
        "p": {"$ref": "#/$defs/Person", "description": "who\npays"},
        "colour": {"oneOf": [{"const": "r", "title": "Red"}], "default": "r"},
        "mail": {"type": "string", "format": "email"},
    },
    "required": ["p", "entities"],
    "$defs": {"Person": PERSON},
}


def test_nested_fields_have_their_paths_types_and_bounds() -> None:
    assert [one[:3] for one in signature.fields(TOOL)] == [
        ("entities", "object[], 1 or more", True),
        ("entities[].name", "string, at least 1 characters", True),
        ("entities[].age", "integer, at least 18", True),
        ("p", "object", True),
        ("p.name", "string, at least 1 characters", True),
        ("p.age", "integer, at least 18", True),
        ("colour", '"r"', False),
        ("mail", "string (email)", False),
    ]
    assert [one.about for one in signature.fields(TOOL) if one.about] == ["who pays", '(default "r")']


def test_a_schema_that_refers_to_itself_ends() -> None:
    inner = {"$ref": "#/$defs/T"}
    node = {"properties": {"t": inner, "u": inner, "v": inner}, "type": "object"}
    tree = {**node, "required": ["t"], "$defs": {"T": node}}
    assert len(signature.fields(tree)) == signature.MOST_FIELDS + 1
    assert signature.example(tree) is not None


def of(kind: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": kind}, "required": ["a"]}


@pytest.mark.parametrize(
    "schema",
    [
        TOOL,
        of({"type": "string", "format": "date-time"}),
        of({"type": "string", "minLength": 40}),
        of({"type": "string", "maxLength": 2}),
        of({"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}),
        of({"type": "integer", "exclusiveMaximum": -3}),
        of({"type": "integer", "multipleOf": 7, "minimum": 8}),
        of({"type": "array", "items": {"type": "string"}, "minItems": 2}),
        of({"type": ["null", "boolean"]}),
        of({"anyOf": [{"type": "object", "properties": {"b": PERSON}, "required": ["b"]}, {"type": "null"}]}),
        of({"type": "string", "pattern": "^x", "examples": ["x'y z"]}),
        of({}),
        {},
    ],
)
def test_the_example_passes_the_check_of_a_call(schema: Any) -> None:
    words = signature.example(schema)
    assert words is not None
    given = shlex.split(" ".join(words))
    if len(given) == 1 and given[0].startswith("{"):
        import json

        arguments.check(json.loads(given[0]), schema)
    else:
        arguments.check(arguments.coerce(given, schema), schema)


def test_no_example_is_better_than_one_that_is_refused() -> None:
    assert signature.example(of({"type": "string", "pattern": "^[0-9]{4}$"})) is None


@pytest.mark.parametrize(
    "number",
    [
        {"minimum": 10**400, "multipleOf": 0.5},
        {"exclusiveMinimum": 10**400, "multipleOf": 0.5},
        {"minimum": math.inf},
        {"minimum": 1e300, "multipleOf": 1e-300},
        {"minimum": 1e308, "multipleOf": 1e308},
    ],
)
def test_bounds_beyond_all_numbers_have_no_example_and_break_nothing(number: Any) -> None:
    for kind in ("integer", "number"):
        words = signature.example(of({"type": kind, **number}))
        assert words is None or words[0].startswith("a=")


def test_an_example_of_more_values_than_anybody_reads_is_none() -> None:
    """Objects that need eight of themselves each are 300,000 within six levels."""
    names = [f"p{n}" for n in range(8)]
    inner = {name: {"$ref": "#/$defs/o"} for name in names}
    own = {"type": "object", "properties": inner, "required": names}
    assert signature.example({**of({"$ref": "#/$defs/o"}), "$defs": {"o": own}}) is None


def test_fields_of_objects_are_given_by_their_path() -> None:
    assert arguments.coerce(["p.name=Ada", "p.age=36", "mail=a@b.ch"], TOOL) == {
        "p": {"name": "Ada", "age": 36},
        "mail": "a@b.ch",
    }
    assert arguments.coerce(["--p.age=36", "--p.name", "Ada"], TOOL)["p"] == {"age": 36, "name": "Ada"}
    with pytest.raises(arguments.Bad, match="did you mean 'name'"):
        arguments.coerce(["p.nam=Ada"], TOOL)
    with pytest.raises(arguments.Bad, match="is given twice"):
        arguments.coerce(["p.name=Ada", "p.name=Bob"], TOOL)
    with pytest.raises(arguments.Bad, match="is given twice"):
        arguments.coerce(['p={"name":"Ada"}', "p.age=3"], TOOL)
    # A parameter whose own name has a dot is that one, and what takes any name gets it as it is.
    dotted = {"properties": {"p.name": {"type": "string"}, "p": PERSON}, "type": "object"}
    assert arguments.coerce(["p.name=x"], dotted) == {"p.name": "x"}
    assert arguments.coerce(["q.r=1"], {"type": "object"}) == {"q.r": 1}
