"""What is found wrong with tools."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcp_cli.cli.check import safe_tool
from mcp_cli.pool import arguments
from mcp_cli.pool.definitions.lint import LONG_CHARS, findings

GOOD = {
    "name": "add",
    "description": "Adds",
    "inputSchema": {"type": "object", "properties": {"a": {"type": "integer", "description": "one"}}},
}


def of(*tools: Any) -> list[tuple[str, str, str]]:
    return [tuple(one) for one in findings([(json.dumps(tool), tool) for tool in tools])]  # type: ignore[misc]


def test_a_good_tool_has_no_finding() -> None:
    assert of(GOOD) == []


def with_schema(**schema: Any) -> dict[str, Any]:
    return {**GOOD, "inputSchema": {"type": "object", **schema}}


@pytest.mark.parametrize(
    ("tool", "level", "text"),
    [
        ({**GOOD, "name": "a b"}, "error", "its name is not"),
        ({**GOOD, "name": "a.b"}, "advice", "many models"),
        ({**GOOD, "description": " "}, "advice", "no description"),
        ({**GOOD, "inputSchema": {}}, "error", '"type": "object"'),
        ({**GOOD, "outputSchema": {"type": 7}}, "error", "outputSchema is not a valid JSON Schema"),
        ({**GOOD, "description": "x" * LONG_CHARS}, "advice", "characters"),
        (with_schema(properties={"a": {"type": "string"}}), "advice", "the parameter has no description"),
        (with_schema(properties={"a": {"$ref": "#/$defs/A"}}), "error", "leads nowhere"),
        (
            with_schema(properties={"a": {"type": "integer", "default": "x", "title": "A"}}),
            "error",
            "its default does not fit",
        ),
        (
            with_schema(properties={"a": {"type": "integer", "title": "A"}}, required=["a", "b"]),
            "error",
            "no property says what it is",
        ),
        (
            with_schema(
                properties={"a": {"pattern": "^\\d{4}$", "type": "string", "title": "A"}}, required=["a"]
            ),
            "advice",
            "no example",
        ),
    ],
)
def test_what_is_wrong_is_found(tool: Any, level: str, text: str) -> None:
    assert any(one[0] == level and text in one[2] for one in of(tool)), of(tool)


def test_two_tools_of_one_name_are_found() -> None:
    assert [one[:2] for one in of(GOOD, GOOD)] == [("error", "add")]


@pytest.mark.slow
def test_a_server_is_checked_and_loaded(app: Any) -> None:
    done = app("check", "fake", "--load", "3", "--json")
    facts = done.json()
    assert (done.code, facts["tools"], facts["load"]["pings"]) == (0, app.tools, 3)
    assert "calls" not in facts["load"]
    assert "no tool was called: none" in app("check", "fake", "--load", "1").out
    assert {one["level"] for one in facts["findings"]} == {"advice"}
    assert app("check", "fake", "--strict").code == 1
    assert app("check", "fake", "--load", "0").code == 2
    app.servers(bad=["--lists", '"result":{"tools":[{"name":"a b","inputSchema":{}}]}'])
    wrong = app("check", "bad")
    assert (wrong.code, "its name is not 1 to 128" in wrong.out) == (1, True)


SAFE = {"name": "now", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}


@pytest.mark.parametrize(
    "tools",
    [
        [{**SAFE, "annotations": {}}],
        [{**SAFE, "annotations": {"readOnlyHint": "yes"}}],
        [{**SAFE, "inputSchema": {"type": "object", "required": ["a"]}}],
        [{**SAFE, "execution": {"taskSupport": "required"}}],
        [],
    ],
    ids=["undeclared", "not a boolean", "needs an argument", "needs a task", "none"],
)
def test_a_load_calls_no_tool_that_may_change_something(tools: Any) -> None:
    assert safe_tool(tools) == ""
    assert safe_tool([*tools, SAFE]) == "now"


def test_a_load_calls_a_tool_that_reads_only(app: Any) -> None:
    listed = json.dumps({"tools": [{**SAFE, "name": "raw"}, {"name": "slow", "inputSchema": {}}]})
    app.servers(fake=["--lists", f'"result":{listed}'])
    done = app("check", "fake", "--load", "3", "--json")
    assert (done.json()["load"]["calls"]["tool"], done.json()["load"]["calls"]["calls"]) == ("raw", 3)
    assert "  3 calls of raw: median " in app("check", "fake", "--load", "3").out


def test_a_schema_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly all the time of a check of 10,000 tools goes into it."""
    made: list[Any] = []
    real = arguments.validator_of
    monkeypatch.setattr(arguments, "validator_of", lambda schema: made.append(schema) or real(schema))
    number = {"type": "integer", "default": 3, "title": "A"}
    assert of(with_schema(properties={"a": number, "b": number}, required=["a"])) == []
    assert len(made) == 1
