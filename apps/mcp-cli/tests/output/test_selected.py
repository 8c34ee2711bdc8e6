"""`--fields`: paths into a result, through lists, and what is not there."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_cli.output.selected import selected

VALUE = {"a": {"b": 1}, "items": [{"n": 1, "m": 2}, {"n": 3}], "none": None}


@pytest.mark.parametrize(
    ("fields", "chosen", "missing"),
    [
        (("a.b",), 1, []),
        (("items[].n",), [1, 3], []),
        (("a", "none"), {"a": {"b": 1}, "none": None}, []),
        (("items[].m",), None, ["items[].m"]),
        (("a.b.c", "x"), {"a.b.c": None, "x": None}, ["a.b.c", "x"]),
        (("a[]",), None, ["a[]"]),
    ],
)
def test_fields_are_found_by_their_paths(fields: Any, chosen: Any, missing: list[str]) -> None:
    assert selected(VALUE, fields) == (chosen, missing)


@pytest.mark.slow
def test_a_part_of_a_result_is_printed_as_asked(app: Any) -> None:
    assert app.done("call", "fake/typed", "right=true", "--fields", "n") == "1\n"
    absent = app("call", "fake/typed", "right=true", "--fields", "n,x.y")
    assert (absent.code, absent.out) == (0, '{"n":1,"x.y":null}\n')
    assert absent.err == "fake/typed: the result has no x.y\n"
    cut = app("call", "fake/echo", "text=abcdef", "--max-chars", "4")
    assert (cut.code, cut.out, cut.err) == (0, "abcd\n", "(the first 4 of 6 characters)\n")
    assert app.done("call", "fake/echo", "text=abc", "--max-chars", "4") == "abc\n"
    assert app("call", "fake/fail", "--fields", "n").err == "it failed\n"
    assert app("call", "fake/echo", "text=abc", "--max-chars", "0").code == 2
