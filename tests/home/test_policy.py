"""Restart, leave it, or give up: by policy, end, and what happened lately."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.home.policy import GiveUp, Leave, Policy, Restart, When, after_end


def policy(when=When.ON_FAILURE, delay_s=1.0, delay_most_s=8.0, most=5, within_s=60.0):
    return Policy(when, delay_s, delay_most_s, most, within_s)


@pytest.mark.parametrize(
    ("when", "failed", "decided"),
    [
        (When.ALWAYS, True, Restart(1.0)),
        (When.ALWAYS, False, Restart(1.0)),
        (When.ON_FAILURE, True, Restart(1.0)),
        (When.ON_FAILURE, False, Leave()),
        (When.NEVER, True, GiveUp(0)),
        (When.NEVER, False, Leave()),
    ],
)
def test_the_policy_says_after_which_ends(when, failed, decided):
    assert after_end(policy(when), failed, [], 100.0, 0.0) == decided


def test_each_restart_waits_twice_as_long_up_to_the_most():
    waits = [after_end(policy(), True, [99.0] * count, 100.0, 0.0).delay_s for count in range(5)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0]


def test_the_dice_shorten_a_wait_so_that_not_all_come_at_once():
    assert after_end(policy(), True, [], 100.0, 0.5).delay_s == pytest.approx(0.875)


def test_too_many_within_the_span_are_given_up():
    assert after_end(policy(), True, [50.0, 60.0, 70.0, 80.0, 90.0], 100.0, 0.0) == GiveUp(5)


def test_what_is_longer_ago_does_not_count():
    assert after_end(policy(), True, [40.0, 60.0, 70.0, 80.0, 90.0], 100.0, 0.0) == Restart(8.0)
    assert after_end(policy(), True, [1.0] * 5, 100.0, 0.0) == Restart(1.0)


def test_none_may_be_too_many_already():
    assert after_end(policy(When.ALWAYS, most=0), False, [], 100.0, 0.0) == GiveUp(0)


@given(st.lists(st.floats(0, 1e6)), st.floats(0, 1e6), st.floats(0, 1, exclude_max=True), st.booleans())
def test_a_wait_is_never_longer_than_the_most_and_never_nothing(restarts_s, now_s, dice, failed):
    decided = after_end(policy(When.ALWAYS, most=10**6), failed, restarts_s, now_s, dice)
    assert 0 < decided.delay_s <= 8.0
