"""What goes first, and what never does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vx.cass.eviction import USE_STEP_S, StoredFile, choose, is_held

S = 1_000_000_000


def entry(used_s: int, size: int = 10) -> StoredFile:
    return StoredFile(used_s * S, size, "blob", f"{used_s:064x}")


def test_a_store_within_its_bound_loses_nothing() -> None:
    assert choose([entry(1), entry(2)], 20, None).victims == []


def test_the_least_recently_used_go_until_the_rest_fits() -> None:
    choice = choose([entry(3), entry(1), entry(2), entry(4)], 25, None)
    assert [one.used_ns // S for one in choice.victims] == [1, 2]
    assert choice.held == 0


def test_what_a_hold_may_need_stays_even_above_the_bound() -> None:
    used = [100, 200, 200 + USE_STEP_S, 300]
    choice = choose([entry(one) for one in used], 0, (200 + USE_STEP_S) * S)
    assert [one.used_ns // S for one in choice.victims] == [100]
    assert choice.held == 3


def test_without_a_hold_nothing_is_held() -> None:
    assert not is_held(5, None)


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 50)), max_size=30),
    st.integers(0, 600),
    st.none() | st.integers(0, 1000),
)
def test_it_removes_enough_or_all_it_may_and_nothing_in_vain(
    items: list[tuple[int, int]], limit: int, held_s: int | None
) -> None:
    entries = [
        StoredFile(used * S, size, "blob", f"{number:064x}") for number, (used, size) in enumerate(items)
    ]
    held_ns = None if held_s is None else held_s * S
    victims = choose(entries, limit, held_ns).victims
    left = sum(one.size for one in entries) - sum(one.size for one in victims)
    kept = set(entries) - set(victims)
    assert not any(is_held(one.used_ns, held_ns) for one in victims)
    assert left <= limit or all(is_held(one.used_ns, held_ns) for one in kept)
    if victims:
        assert left + victims[-1].size > limit
        assert all(max(victims) <= one for one in kept)
