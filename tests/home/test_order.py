"""Who may start now, who must stop first, and rings of needs."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from daemonry.home.order import cycle, in_order, startable, stoppable

SHOP = {"web": ["store", "clock"], "clock": ["store"], "store": [], "other": []}


def test_a_ring_is_told_from_where_it_begins():
    assert cycle({"a": ["b"], "b": ["a"]}) == ["a", "b", "a"]
    assert cycle({"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]}) == ["a", "b", "c", "a"]
    assert cycle({"a": ["a"]}) == ["a", "a"]
    assert cycle(SHOP) == []


def test_two_ways_to_one_are_no_ring():
    assert cycle({"d": ["b", "c"], "b": ["a"], "c": ["a"], "a": []}) == []


def test_all_whose_needs_are_ready_start_at_the_same_time():
    assert startable(SHOP, SHOP, []) == ["store", "other"]
    assert startable(["web", "clock"], SHOP, ["store"]) == ["clock"]
    assert startable(["web"], SHOP, ["store", "clock"]) == ["web"]


def test_nobody_stops_while_one_that_is_there_needs_it():
    assert stoppable(SHOP, SHOP, SHOP) == ["web", "other"]
    assert stoppable(["store", "clock"], SHOP, ["store", "clock"]) == ["clock"]
    assert stoppable(["store"], SHOP, ["store"]) == ["store"]


def test_one_that_is_needed_through_another_that_is_done_stops_last():
    """A store, a job that fills it and is done, and what serves from it."""
    needs = {"web": ["fill"], "fill": ["store"], "store": []}
    assert stoppable(needs, needs, ["web", "store"]) == ["web"]
    assert stoppable(["fill", "store"], needs, ["store"]) == ["fill", "store"]


def test_the_order_keeps_to_the_file_where_it_can():
    assert in_order(SHOP) == ["store", "other", "clock", "web"]


@st.composite
def graphs(draw):
    names = [f"s{number}" for number in range(draw(st.integers(1, 8)))]
    return {name: draw(st.lists(st.sampled_from(names), unique=True)) for name in names}


@given(graphs())
def test_either_there_is_a_ring_or_an_order(needs):
    ring = cycle(needs)
    if ring:
        assert ring[0] == ring[-1]
        assert all(after in needs[before] for before, after in pairwise(ring))
        return
    order = in_order(needs)
    assert sorted(order) == sorted(needs)
    assert all(order.index(needed) < order.index(name) for name in needs for needed in needs[name])
