"""Places of keys in JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from mcp_cli.config import json_text


@pytest.mark.parametrize("piece", ["/*", '\\"', "//", ",", "[", '{"a":', "/* */", '"'])
def test_hostile_json_is_refused_in_linear_time(fault_in, piece):
    """Half a million of what has no end: quadratic time would take hours, and the test's limit is minutes."""
    assert fault_in('{"a' + piece * 500_000, "m.json").startswith("m.json")
    assert fault_in("{" + piece * 500_000, "m.json").startswith("m.json")


JSON_VALUES = some.recursive(
    some.integers(0, 9) | some.text(some.sampled_from('a":,{}[]\\/* é\n'), max_size=6),
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(some.text(some.sampled_from('ab":,{}[]\\ '), max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


def paths_in(value, above=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in items:
        yield (*above, key), key, one
        yield from paths_in(one, (*above, key))


@given(JSON_VALUES, some.sampled_from([None, 1, "\t"]))
def test_every_key_of_json_is_found_where_it_is_written(value, indent):
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    seen = set()
    for path, key, one in paths_in(value):
        found = json_text.find(text, path)
        rest = "\n".join(text.split("\n")[found.line - 1 :])[found.column - 1 :]
        written, end = json.JSONDecoder().raw_decode(rest)
        assert written == (one if isinstance(key, int) else key)
        assert isinstance(key, int) or rest[end] == ":"
        assert isinstance(key, int) or found not in seen
        seen.add(found)
