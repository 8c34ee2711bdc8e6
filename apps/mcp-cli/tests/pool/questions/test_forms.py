"""What a person writes in a form's fields, and what is sent for it."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_cli.pool.arguments import Bad
from mcp_cli.pool.questions import forms

TITLED = {"type": "string", "oneOf": [{"const": "#f00", "title": "Red"}, {"const": "#00f", "title": "Blue"}]}
NAMED = {"type": "string", "enum": ["r", "b"], "enumNames": ["Red", "Blue"]}
SEVERAL = {"type": "array", "items": {"anyOf": TITLED["oneOf"]}, "minItems": 1, "maxItems": 2}
PLAIN = {"type": "array", "items": {"type": "string", "enum": ["a", "b", "c"]}}
COUNT = {"type": "integer", "minimum": 1, "maximum": 5}


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (TITLED, "Red", "#f00"),
        (TITLED, "blue", "#00f"),
        (TITLED, "#00f", "#00f"),
        (TITLED, "2", "#00f"),
        (NAMED, "Blue", "b"),
        (SEVERAL, "Red, 2", ["#f00", "#00f"]),
        (PLAIN, "a,c", ["a", "c"]),
        ({"type": "integer", "enum": [3, 1]}, "1", 1),  # a value before its place in the list
        ({"type": "boolean"}, "y", True),
        (COUNT, "5", 5),
        ({"type": "string", "format": "email"}, "a@b.ch", "a@b.ch"),
        ({"type": "string", "format": "uri"}, "https://x.test/a", "https://x.test/a"),
        ({"type": "string", "format": "date"}, "2026-02-28", "2026-02-28"),
        ({"type": "string", "format": "date-time"}, "2026-02-28T10:00:00Z", "2026-02-28T10:00:00Z"),
        ({"type": "string"}, "7", "7"),
    ],
)
def test_a_field_is_read_as_its_schema_has_it(kind: Any, given: str, value: Any) -> None:
    assert forms.read("f", kind, given) == value


@pytest.mark.parametrize("name", ["a=b", "a.b", "--json", "a:", "", "\x1b"])
def test_a_field_of_any_name_can_be_filled_in(name: str) -> None:
    assert forms.read(name, {"type": "string"}, "x=1") == "x=1"


ASKED = {"requestedSchema": {"type": "object", "properties": {"n": COUNT}, "required": ["n"]}}
DEPLOY = {"requestedSchema": {"type": "object", "properties": {"action": {"type": "string"}}}}


@pytest.mark.parametrize(
    ("answer", "asked", "result"),
    [
        ({"n": 1}, ASKED, {"action": "accept", "content": {"n": 1}}),
        ({"action": "accept", "content": {"n": 1}}, ASKED, {"action": "accept", "content": {"n": 1}}),
        ({"action": "cancel"}, ASKED, {"action": "cancel"}),
        ({"action": "accept"}, {"mode": "url"}, {"action": "accept"}),
        ({"action": "up"}, DEPLOY, {"action": "accept", "content": {"action": "up"}}),
        ({"action": "decline", "content": {}}, DEPLOY, {"action": "decline", "content": {}}),
    ],
)
def test_an_answer_is_a_whole_result_or_its_content(answer: Any, asked: Any, result: Any) -> None:
    assert forms.result_of(answer, asked) == result


@pytest.mark.parametrize("answer", [{}, {"n": 9}, {"action": "accept"}, {"action": "accept", "content": 7}])
def test_a_whole_result_is_checked_against_the_form_as_its_content_is(answer: Any) -> None:
    with pytest.raises(Bad):
        forms.result_of(answer, ASKED)


@pytest.mark.parametrize(
    ("kind", "given", "reason"),
    [
        (TITLED, "Rad", "did you mean 'Red'"),
        (TITLED, "3", "is not one of Red, Blue"),
        (SEVERAL, "Red, Green", "'Green' is not one of"),
        (SEVERAL, "Red,Blue,Red", "too long"),
        (COUNT, "6", "maximum of 5"),
        ({"type": "string", "format": "email"}, "nobody", "is not a valid email"),
        ({"type": "string", "format": "uri"}, "no uri", "is not a valid uri"),
        ({"type": "string", "format": "date"}, "2026-02-30", "is not a valid date"),
        ({"type": "string", "format": "date-time"}, "2026-02-28 10:00", "is not a valid date-time"),
        ({"type": "string", "minLength": 3}, "ab", "too short"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(kind: Any, given: str, reason: str) -> None:
    with pytest.raises(Bad, match=reason):
        forms.read("f", kind, given)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (TITLED, "a number or a name"),
        (SEVERAL, "numbers or names, with commas, 1 to 2 of them"),
        (PLAIN, "numbers or names, with commas"),
        (COUNT, "integer, 1 to 5"),
        ({"type": "string", "format": "email", "maxLength": 9}, "string (email), at most 9 characters"),
    ],
)
def test_a_field_says_what_it_takes(kind: Any, words: str) -> None:
    assert forms.hint(kind, {}) == words
