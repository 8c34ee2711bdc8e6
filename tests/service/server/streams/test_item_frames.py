"""Results of a stream that are written in one step are written as one by one, or left to that."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.service.server.streams.item_frames import ItemFrames
from daemonry.wire.varlink import CONTINUES_END, REPLY_HEAD, decode_reply


class Row(msgspec.Struct):
    name: str
    size: int
    share: float = 0.5


INTEGERS = st.integers(-(2**64), 2**64)
FLOATS = st.floats() | st.sampled_from([1e16, 1e-5, 0.0, -0.0, math.inf])
TEXTS = st.text(max_size=4) | st.sampled_from(["\0", "\\u0000", "a\nb", '"', "\ud800", "é", "\x7f"])
# By the type that is declared: the values of it, and some that are not.
KINDS = {
    int: INTEGERS | st.booleans() | TEXTS,
    str: TEXTS | st.none(),
    float: FLOATS | INTEGERS,
    bool: st.booleans() | INTEGERS,
    list[int]: st.lists(INTEGERS, max_size=3),
    dict[str, str]: st.dictionaries(TEXTS, TEXTS, max_size=2),
    Row: st.builds(Row, TEXTS, INTEGERS, FLOATS),
    int | None: INTEGERS | st.none(),
}


def unchecked(_parameters: bytes) -> None:
    pass


@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(st.data())
def test_all_at_once_is_one_after_the_other(kind: Any, data: Any) -> None:
    frames = ItemFrames.of(kind, "" if kind is Row else "item", unchecked)
    results = data.draw(st.lists(KINDS[kind], max_size=6))
    found = frames.frames(results)
    if found is None:
        return
    singly = [frames.frame(result) for result in results]
    assert found == b"".join(frame or b"" for frame in singly)
    assert None not in singly
    for frame in found.split(b"\0")[:-1]:
        assert decode_reply(frame).continues


@pytest.mark.parametrize(
    ("kind", "results"),
    [
        (int, [0, -1, 2**63 - 1]),
        (str, ["a", "a\nb", 'q"', "é", ""]),
        (float, [0.5, 1.0]),
        (bool, [True, False]),
        (Row, [Row("a", 1), Row("b\n", 2, 0.25)]),
    ],
    ids=str,
)
def test_usual_ones_take_one_step(kind: Any, results: list[Any]) -> None:
    """Of a method that has no field of its own for its reply, too."""
    frames = ItemFrames.of(kind, "" if kind is Row else "item", unchecked)
    found = frames.frames(results)
    assert found is not None
    assert found.count(CONTINUES_END) == found.count(REPLY_HEAD) == len(results)
    assert frames.frames(results[:1]) == frames.frame(results[0])


@pytest.mark.parametrize(
    ("kind", "odd"), [(int, 2**63), (int, "1"), (int, True), (str, "\0"), (str, "\ud800"), (float, math.nan)]
)
def test_an_odd_one_among_them_has_all_looked_at(kind: Any, odd: Any) -> None:
    usual = {int: 1, str: "a", float: 0.5}[kind]
    frames = ItemFrames.of(kind, "item", unchecked)
    assert frames.frames([usual, usual]) is not None
    assert frames.frames([usual, odd, usual]) is None


def test_none_of_a_method_whose_results_only_it_can_judge() -> None:
    frames = ItemFrames()
    assert (frames.frames([]), frames.frames([1]), frames.frame(1)) == (b"", None, None)
