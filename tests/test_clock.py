"""Deadlines on a clock that the test owns: nothing here waits."""

import time

import pytest

from daemonry import clock
from daemonry.clock import Deadline


class Clock:
    def __init__(self):
        self.now_s = 1000.0
        self.slept = []

    def sleep(self, delay_s):
        self.slept.append(delay_s)
        self.now_s += delay_s


@pytest.fixture
def ticking(monkeypatch):
    ticking = Clock()
    monkeypatch.setattr(clock, "monotonic", lambda: ticking.now_s)
    monkeypatch.setattr(clock, "sleep", ticking.sleep)
    return ticking


def test_a_deadline_counts_down_and_never_below_nothing(ticking):
    deadline = Deadline(5.0)
    assert (deadline.remaining_s(), deadline.expired) == (5.0, False)
    ticking.now_s += 2
    assert (deadline.remaining_s(), deadline.expired) == (3.0, False)
    ticking.now_s += 4
    assert (deadline.remaining_s(), deadline.expired) == (0.0, True)
    assert deadline.timeout_s == 5.0


def test_a_deadline_of_nothing_has_come_at_once(ticking):
    assert Deadline(0.0).expired


def test_never_is_a_deadline_too(ticking):
    deadline = Deadline(None)
    ticking.now_s += 1e9
    assert (deadline.at_s, deadline.remaining_s(), deadline.expired) == (None, None, False)
    assert deadline.sleep(7.0)
    assert ticking.slept == [7.0]


def test_sleeping_stops_at_the_deadline_and_tells(ticking):
    """Whoever retries in a loop learns from the sleep itself that there is no time left."""
    deadline = Deadline(5.0)
    assert deadline.sleep(4.0)
    assert not deadline.sleep(4.0)
    assert not deadline.sleep(4.0)
    assert ticking.slept == [4.0, 1.0, 0.0]


def test_the_clock_is_the_monotonic_one():
    """Fault 21: a jump of the wall clock must not end, or prolong, any wait."""
    assert clock.monotonic is time.monotonic
