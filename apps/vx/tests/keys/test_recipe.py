"""Keys and entries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vx.keys.recipe import (
    MAX_ENTRIES,
    Conditions,
    InputRecord,
    holding,
    recipe_key,
    result_key,
    why_not,
    with_entry,
)

TEXTS = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4)


def world(files: dict[str, str], env: dict[str, str] | None = None) -> Conditions:
    return Conditions(files.get, files.__contains__, env or {})


def test_an_entry_holds_while_all_of_it_does() -> None:
    entry = InputRecord({"a": "1", "b": "2"}, ["c"], {"E": None, "F": "x"}, "key")
    assert holding([entry], world({"a": "1", "b": "2", "other": "3"}, {"F": "x"})) is entry
    assert why_not(entry, world({"a": "1", "b": "9"}, {"F": "x"})) == ["b changed"]
    assert why_not(entry, world({"b": "2"}, {"F": "x"})) == ["a is gone"]
    assert why_not(entry, world({"a": "1", "b": "2", "c": "new"}, {"F": "x"})) == ["c is new"]
    assert why_not(entry, world({"a": "1", "b": "2"}, {"E": "", "F": "x"})) == ["variable E"]
    assert why_not(entry, world({})) == ["variable F", "a is gone", "b is gone"]


def test_the_newest_entry_that_holds_is_taken() -> None:
    older, newer = InputRecord({"a": "1"}, [], {}, "old"), InputRecord({}, [], {}, "new")
    assert holding([older, newer], world({"a": "1"})) is newer
    assert holding([newer, older], world({"a": "2"})) is newer
    assert holding([older], world({})) is None


def test_entries_are_bounded_and_each_is_kept_once() -> None:
    entries: list[InputRecord] = []
    for number in range(40):
        entries = with_entry(entries, InputRecord({"a": str(number)}, [], {}, str(number)))
    assert [one.result for one in entries] == [str(number) for number in range(40 - MAX_ENTRIES, 40)]
    again = with_entry(entries, InputRecord({"a": "30"}, [], {}, "again"))
    assert len(again) == MAX_ENTRIES
    assert [one.result for one in again].count("30") == 0
    assert again[-1].result == "again"


@given(TEXTS, TEXTS)
def test_recipes_differ_where_their_parts_do(one: dict[str, str], other: dict[str, str]) -> None:
    assert (recipe_key(one) == recipe_key(other)) is (one == other)


@given(TEXTS, TEXTS, TEXTS)
def test_results_differ_where_what_was_read_does(
    files: dict[str, str], others: dict[str, str], env: dict[str, str]
) -> None:
    assert (result_key("r", files, [], env) == result_key("r", others, [], env)) is (files == others)
    assert (result_key("r", files, [], env) == result_key("r", files, [], others)) is (env == others)
    assert result_key("r", files, [], env) != result_key("s", files, [], env)
    assert result_key("r", files, [], env) != result_key("r", files, ["a"], env)


def test_the_order_of_parts_is_nothing() -> None:
    assert recipe_key({"a": "1", "b": "2"}) == recipe_key({"b": "2", "a": "1"})
