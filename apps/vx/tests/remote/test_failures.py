"""A remote that fails again and again is left alone for a while."""

from __future__ import annotations

import pytest

from vx.remote.failures import MOST_IN_A_ROW, PAUSE_S, Failures, RemotePaused


def test_one_that_never_answered_is_left_alone_at_once() -> None:
    failures = Failures()
    failures.failed("no route", 10.0)
    with pytest.raises(RemotePaused, match="30 s"):
        failures.check(10.0)
    failures.check(10.0 + PAUSE_S)
    assert (failures.count, failures.skipped) == (1, 1)


def test_three_in_a_row_are_needed_where_it_has_answered() -> None:
    failures = Failures()
    failures.succeeded()
    for _ in range(MOST_IN_A_ROW - 1):
        failures.failed("late", 1.0)
        failures.check(1.0)
    failures.succeeded()
    failures.failed("late", 2.0)
    failures.check(2.0)
    failures.failed("late", 2.0)
    failures.failed("late", 2.0)
    with pytest.raises(RemotePaused):
        failures.check(2.0 + PAUSE_S - 0.1)


def test_after_the_pause_one_more_is_enough() -> None:
    failures = Failures()
    failures.succeeded()
    for _ in range(MOST_IN_A_ROW):
        failures.failed("late", 1.0)
    failures.check(1.0 + PAUSE_S)
    failures.failed("late", 1.0 + PAUSE_S)
    with pytest.raises(RemotePaused):
        failures.check(2.0 + PAUSE_S)


def test_a_damaged_blob_says_nothing_of_the_server() -> None:
    failures = Failures()
    failures.failed("not the blob", 1.0, counts=False)
    failures.check(1.0)


def test_reasons_are_told_once_since_a_number() -> None:
    failures = Failures()
    failures.failed("first", 1.0)
    since = failures.count
    for reason in ("late", "late", "gone"):
        failures.failed(reason, 1.0)
    assert failures.since(since) == ["late", "gone"]
    assert failures.since(failures.count) == []
