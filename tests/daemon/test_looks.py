"""When a look is due: at once when it is called for, never more often than by the clock."""

import pytest

from daemonry import clock
from daemonry.runtime.looks import DueLook, earliest


@pytest.fixture
def now(monkeypatch):
    class Clock:
        at_s = 1000.0

    monkeypatch.setattr(clock, "monotonic", lambda: Clock.at_s)
    return Clock


def test_nothing_is_due_before_it_is_called_for(now):
    looked = []
    look = DueLook(lambda: bool(looked.append(now.at_s)), 5.0)
    look.run_if_due(now.at_s)
    assert (looked, look.due_at_s) == ([], None)
    look.call_for()
    look.run_if_due(now.at_s)
    assert (looked, look.due_at_s) == ([1000.0], None)


def test_calls_that_come_often_are_answered_as_often_as_by_the_clock(now):
    look = DueLook(lambda: False, 5.0)
    look.call_for()
    look.run_if_due(now.at_s)
    now.at_s = 1001.0
    look.call_for()
    assert look.due_at_s == 1005.0
    look.call_for(2.0)
    assert look.due_at_s == 1005.0


@pytest.mark.parametrize("why", ["amiss", "no notices"])
def test_while_something_is_amiss_the_clock_calls(now, why):
    look = DueLook(lambda: why == "amiss", 5.0)
    look.by_clock = why == "no notices"
    look.call_for()
    look.run_if_due(now.at_s)
    assert look.due_at_s == 1005.0


def test_one_that_fails_is_tried_again(now):
    def fail():
        raise OSError("no disk")

    look = DueLook(fail, 5.0)
    look.call_for()
    with pytest.raises(OSError, match="no disk"):
        look.run_if_due(now.at_s)
    assert look.due_at_s == 1005.0


def test_the_earliest_of_some_moments():
    assert earliest(None, 2.0, 1.0) == 1.0
    assert earliest(None) is None
