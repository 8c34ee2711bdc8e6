"""A tool's arguments, made of words and checked, by its schema."""

from __future__ import annotations

import json
from contextlib import nullcontext, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as some

from mcp_cli.cli import describe
from mcp_cli.client import api
from mcp_cli.gateway import generate
from mcp_cli.pool import arguments

SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "share": {"type": "number"},
        "dry_run": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "numbers": {"type": "array", "items": {"$ref": "#/$defs/number"}},
        "where": {"type": "object"},
        "level": {"enum": ["low", "high"]},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "either": {"type": ["number", "string"]},
        "any": {},
    },
    "required": ["text"],
    "$defs": {"number": {"type": "number"}},
}


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (["text=7"], {"text": "7"}),
        (["text="], {"text": ""}),
        (["text=a=b"], {"text": "a=b"}),
        (["--text", "a", "--count", "-3"], {"text": "a", "count": -3}),
        (["--text=x", "--count=3"], {"text": "x", "count": 3}),
        (["share=3"], {"share": 3}),
        (["share=1e3"], {"share": 1000.0}),
        (["--dry_run"], {"dry_run": True}),
        (["--dry-run"], {"dry_run": True}),
        (["--dryRun", "false"], {"dry_run": False}),
        (["--no-dry-run", "--text", "x"], {"dry_run": False, "text": "x"}),
        (["--dry-run", "text=x"], {"dry_run": True, "text": "x"}),
        (["dry_run=yes"], {"dry_run": True}),
        (["tags=a"], {"tags": ["a"]}),
        (["tags=a", "tags=b"], {"tags": ["a", "b"]}),
        (['tags=["a", "b"]'], {"tags": ["a", "b"]}),
        (["tags=[]"], {"tags": []}),
        (["numbers=1", "numbers=2.5"], {"numbers": [1, 2.5]}),
        (['where={"a": 1}'], {"where": {"a": 1}}),
        (["level=high"], {"level": "high"}),
        (["maybe=null"], {"maybe": None}),
        (["maybe=4"], {"maybe": 4}),
        (["either=4"], {"either": 4}),
        (["either=x"], {"either": "x"}),
        (["any=4"], {"any": 4}),
        (["any=four"], {"any": "four"}),
        (["text:=4"], {"text": 4}),
    ],
)
def test_words_are_read_as_the_schema_wants_them(words, made):
    assert arguments.coerce(words, SCHEMA) == made


@pytest.mark.parametrize(
    ("words", "said", "nearest"),
    [
        (["cuont=1"], "cuont: is not a parameter: did you mean 'count'?", "count"),
        (["count=x"], "count: must be a whole number, not 'x'", ""),
        (["count=1.5"], "count: must be a whole number, not '1.5'", ""),
        (["dry_run=perhaps"], "dry_run: must be true or false, not 'perhaps'", ""),
        (["numbers=x"], "numbers: must be a list, not 'x'", ""),
        (["where=[1]"], "where: must be an object, not '[1]'", ""),
        (["text=1", "text=2"], "text: is given twice", ""),
        (["text"], "'text' is not key=value, --key value or a JSON object; did you mean text=...?", "text"),
        (["--count"], "count: needs a value (a whole number)", ""),
        (["text:={"], "text: is not JSON", ""),
    ],
)
def test_a_word_that_does_not_fit_is_told(words, said, nearest):
    with pytest.raises(arguments.Bad) as raised:
        arguments.coerce(words, SCHEMA)
    assert str(raised.value).startswith(said)
    assert raised.value.nearest == nearest


def test_a_tool_that_names_no_parameters_takes_any_if_it_says_so():
    assert arguments.coerce(["a=1", "--b"], {"type": "object"}) == {"a": 1, "b": True}
    assert arguments.coerce(["a=x"], {"properties": {}, "additionalProperties": True}) == {"a": "x"}
    with pytest.raises(arguments.Bad):
        arguments.coerce(["a=1"], {"type": "object", "properties": {}})


@pytest.mark.parametrize(
    ("value", "parameter", "reason"),
    [
        ({"txt": "x"}, "txt", "is not a parameter: did you mean 'text'?"),
        ({}, "text", "is missing (string)"),
        ({"text": 1}, "text", "must be text, not 1"),
        ({"text": "x", "tags": ["a", 2]}, "tags[1]", "must be text, not 2"),
        ({"text": "x", "level": "hihg"}, "level", 'must be one of "low", "high"; did you mean \'high\'?'),
        ({"text": "x", "numbers": ["a"]}, "numbers[0]", 'must be a number, not "a"'),
    ],
)
def test_what_does_not_fit_the_schema_is_told_with_the_parameter(value, parameter, reason):
    with pytest.raises(arguments.Bad) as raised:
        arguments.check(value, SCHEMA)
    assert (raised.value.parameter, raised.value.reason) == (parameter, reason)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "nonsense"},
        {"$ref": "https://example.org/none"},
        {"properties": {"a": {"$ref": "#/nowhere"}}},
        {"required": 7},
        {"properties": ["a"], "required": {"a": 1}},
        {"properties": {"a": {"anyOf": 7, "type": {}}}},
    ],
)
def test_a_schema_that_cannot_be_used_checks_nothing(schema):
    arguments.check({"a": 1}, schema)
    assert arguments.coerce(["a=1"], schema) == {"a": 1}


_KEYS = ["type", "properties", "required", "items", "enum", "const", "anyOf", "oneOf", "$ref", "a"]
_LEAVES = some.sampled_from(
    [None, True, 0, -1, 2.5, "", "x", "array", "object", "string", "integer", "#", "#/properties/a", "#/a"]
)


def _of(inner):
    return some.lists(inner, max_size=3) | some.dictionaries(some.sampled_from(_KEYS), inner, max_size=4)


@given(some.dictionaries(some.sampled_from(_KEYS), some.recursive(_LEAVES, _of, max_leaves=12)))
def test_no_schema_breaks_what_reads_it(schema):
    """It is what somebody's server says: a call or a listing is not to end in a traceback."""
    for value in ({}, {"a": 1}, {"a": []}):
        with suppress(arguments.Bad):
            arguments.check(value, schema)
    for word in ("a=1", "a=x", "--a"):
        with suppress(arguments.Bad):
            arguments.coerce([word], schema)
    describe.signature({"name": "x", "json": json.dumps({"inputSchema": schema})})
    api.signature(schema)
    text = generate.module("x", [{"name": "x", "inputSchema": schema}], "")
    compile(text, "generated", "exec")


def test_a_list_of_itself_is_described():
    schema = {"properties": {"a": {"type": "array", "items": {"$ref": "#/properties/a"}}}}
    assert arguments.described(schema["properties"]["a"], schema) == "any" + "[]" * 9


@given(some.dictionaries(some.sampled_from(["text", "any", "either"]), some.text()))
def test_any_text_passes_through_a_text_parameter(values):
    made = arguments.coerce([f"{key}={value}" for key, value in values.items() if key == "text"], SCHEMA)
    assert made == {key: value for key, value in values.items() if key == "text"}


@given(some.recursive(some.none() | some.booleans() | some.integers() | some.text(), some.lists))
def test_no_value_breaks_the_check(value):
    fits = isinstance(value, dict)
    with nullcontext() if fits else pytest.raises(arguments.Bad, match="where: must be an object"):
        arguments.check({"text": "x", "any": value, "where": value}, SCHEMA)
