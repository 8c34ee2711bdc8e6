"""A server's schema that would take for ever to check against holds nobody up."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from mcp_cli import bounded
from mcp_cli.pool import arguments, checking
from mcp_cli.pool.definitions import schemas
from mcp_cli.pool.tools import ListedTool

# Two to the power of the text's length.
SLOW_PATTERN = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
VALUE = {"a": "a" * 60 + "b"}
# Each definition asks the next one twice.
DOUBLING = {
    "type": "object",
    "properties": {"a": {"$ref": "#/$defs/d0"}},
    "$defs": {
        **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(24)},
        "d24": {"type": "string"},
    },
}


@pytest.fixture(autouse=True)
def soon(monkeypatch) -> None:
    monkeypatch.setattr(bounded, "MOST_CPU_S", 0.05)


@pytest.mark.parametrize("schema", [SLOW_PATTERN, DOUBLING, {"patternProperties": {"^(a+)+$": {}}}])
def test_arguments_are_sent_unchecked_where_a_check_would_take_too_long(schema) -> None:
    value = VALUE if "properties" in schema else {"a" * 60 + "b": 1}
    assert arguments.check(value, schema) is False
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_a_check_in_time_leaves_no_timer_and_the_handler_that_was_there() -> None:
    before = signal.getsignal(signal.SIGVTALRM)
    assert arguments.check({"a": "aaa"}, SLOW_PATTERN) is True
    with pytest.raises(arguments.Bad):
        arguments.check({"a": "b"}, SLOW_PATTERN)
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGVTALRM) == before


def compute(until_s: float) -> None:
    while time.process_time() < until_s:
        pass


def swallowed(ends: list[float], until_s: float) -> None:
    """Take two ends for nothing, as code that is not Python may."""
    while len(ends) < 2 and time.process_time() < until_s:
        with contextlib.suppress(bounded.TookTooLong):
            compute(until_s)  # Python 3.13 has the jump back of a loop in this place outside of the block
        ends.append(time.process_time())


def taken_for_another(until_s: float) -> None:
    try:
        compute(until_s)
    except bounded.TookTooLong:
        raise KeyError("name") from None


def test_an_end_that_a_library_swallows_comes_again_and_is_told() -> None:
    """The maps of `referencing`, which are not of Python, may take it for a name that is not there."""
    before = signal.getsignal(signal.SIGVTALRM)
    until_s = time.process_time() + 1
    ends: list[float] = []
    with pytest.raises(bounded.TookTooLong), bounded.in_time():
        swallowed(ends, until_s)
    assert len(ends) == 2
    assert ends[1] < until_s
    with pytest.raises(bounded.TookTooLong), bounded.in_time():
        taken_for_another(time.process_time() + 1)
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGVTALRM) == before


def test_an_output_schema_that_takes_too_long_is_tried_once_and_named() -> None:
    tool = ListedTool("t", output_schema=msgspec.Raw(json.dumps(SLOW_PATTERN).encode()))
    structured = json.dumps(VALUE).encode()
    assert schemas.output_fault(tool, structured) == schemas.TOO_LONG
    assert tool.validator is False
    assert schemas.output_fault(tool, structured) == schemas.TOO_LONG


# Each step leads back to eight others: eight levels of it are 16 million.
LEADS_BACK = {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#/properties/a"}] * 8}}}


def test_references_that_lead_back_are_followed_once_for_the_words_of_a_call() -> None:
    with bounded.in_time():
        assert arguments.coerce(["a=7"], LEADS_BACK) == {"a": 7}
        assert arguments.described(arguments.properties(LEADS_BACK)["a"], LEADS_BACK) == "any"


def test_a_schema_that_takes_too_long_to_be_understood_checks_nothing() -> None:
    """The daemon of all servers was held for 25 s by 20,000 parameters."""
    schema = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(2_000)}}
    tool = ListedTool("t", input_schema=msgspec.Raw(json.dumps(schema).encode()))
    kept: Any = SimpleNamespace(server=SimpleNamespace(name="s"))
    assert checking._arguments(kept, tool, '{"p1": 5}', None, check=True) == {"p1": 5}
    assert tool.checks is False


def test_in_another_thread_a_check_is_made_without_the_bound() -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(arguments.check({"a": "aaa"}, SLOW_PATTERN)))
    thread.start()
    thread.join()
    assert found == [True]
