"""Types of the interface language as JSON Schema."""

import pytest

from daemonry.http.schemas import of_struct, of_type
from daemonry.wire import idl

INT, TEXT = idl.Basic.INT, idl.Basic.STRING
NO_NUL = r"^[^\u0000]*$"
STRING = {"type": "string", "pattern": NO_NUL}
MAP = {"type": "object", "propertyNames": {"pattern": NO_NUL}}


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (TEXT, STRING),
        (idl.Array(TEXT), {"type": "array", "items": STRING}),
        (idl.Optional(TEXT), {"anyOf": [STRING, {"type": "null"}]}),
        (idl.Enum(("a", "b")), {"type": "string", "enum": ["a", "b"]}),
        (idl.Named("Job"), {"$ref": "#/components/schemas/org.x.Job"}),
        (idl.Map(TEXT), {**MAP, "additionalProperties": STRING}),
        (
            idl.Map(idl.Struct()),
            {**MAP, "additionalProperties": {"type": "object", "maxProperties": 0}},
        ),
    ],
)
def test_each_type_has_its_schema(kind, schema):
    assert of_type(kind, "org.x") == schema


def test_integers_are_those_that_a_reply_can_carry():
    schema = of_type(INT, "org.x")
    assert (schema["minimum"], schema["maximum"]) == (-(2**63) + 1, 2**63 - 1)


def test_what_may_be_left_out_is_not_required_and_a_closed_object_has_nothing_else():
    struct = idl.Struct((idl.Field("a", TEXT), idl.Field("b", idl.Optional(TEXT), "Why.")))
    schema = of_struct(struct, "org.x", closed=True)
    assert schema["required"] == ["a"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["b"]["description"] == "Why."
