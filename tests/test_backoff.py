"""Waits between attempts: where they start, where they stop growing, how they are spread."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.backoff import delays, jittered


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0.1, 1.0), [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]),
        ((1.0, 10.0, 3.0), [1.0, 3.0, 9.0, 10.0, 10.0, 10.0]),
        ((5.0, 1.0), [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ((0.5, 10.0, 1.0), [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]),
    ],
)
def test_delays_grow_to_the_limit_and_stay_there(arguments, expected):
    assert list(islice(delays(*arguments), 6)) == pytest.approx(expected)


def test_delays_never_end():
    """A loop over them ends at its deadline, not by running out of waits."""
    assert next(islice(delays(0.001, 0.05), 100_000, None)) == 0.05


@given(st.floats(0, 1e6), st.floats(0, 1, exclude_max=True), st.floats(0, 1))
def test_jitter_only_shortens_and_only_by_its_share(delay_s, dice, share):
    assert delay_s * (1 - share) <= jittered(delay_s, dice, share) <= delay_s


def test_jitter_without_luck_changes_nothing():
    assert jittered(2.0, 0.0) == 2.0
    assert jittered(2.0, 0.5) == pytest.approx(1.75)
