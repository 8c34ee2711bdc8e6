"""Which changes of a tool's schemas a pin tells."""

from __future__ import annotations

import pytest

from mcp_cli.pool.definitions.pins import difference

TEXT = {"type": "string"}


def definition(**fields):
    return {
        "inputSchema": {"type": "object", "properties": {"a": TEXT, "title": TEXT}, "required": ["a"]}
    } | fields


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"properties": {"a": TEXT, "title": TEXT, "b": TEXT}}, "inputSchema.properties.b is new"),
        ({"properties": {"a": TEXT}}, "inputSchema.properties.title is gone"),
        (
            {"properties": {"a": {"type": "integer"}, "title": TEXT}},
            'inputSchema.properties.a.type was "string" and is "integer"',
        ),
        ({"required": ["a", "title"]}, 'inputSchema.required was ["a"] and is ["a", "title"]'),
        ({"additionalProperties": False}, "inputSchema.additionalProperties is new"),
        ({"properties": {"title": TEXT, "a": TEXT}}, ""),
        ({"properties": {"a": {"description": "which", **TEXT}, "title": TEXT}, "title": "words"}, ""),
    ],
)
def test_a_change_is_told_with_its_place_and_words_are_none(changed, told):
    found = definition()
    found["inputSchema"] = {**found["inputSchema"], **changed}
    assert difference(definition(), found) == told


def test_of_many_changes_a_few_are_told_and_the_rest_counted():
    found = definition(inputSchema={"type": "array"}, outputSchema={"type": "object"})
    assert difference(definition(), found).endswith("inputSchema.required is gone")
    pinned = definition(outputSchema={"type": "object", "minItems": True})
    told = difference(pinned, {"inputSchema": {}, "outputSchema": {"type": "object", "minItems": 1}})
    assert told.endswith("inputSchema.required is gone, and 1 more")


def test_an_output_schema_that_was_not_pinned_may_come():
    assert difference(definition(), definition(outputSchema={"type": "object"})) == ""
    assert difference(definition(outputSchema=TEXT), definition()) == (
        'outputSchema was {"type": "string"} and is nothing'
    )
