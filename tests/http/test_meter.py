"""Counts of calls: bounded names, six outcomes, two minutes."""

from daemonry.http.meter import BOUNDS_S, KEPT_S, UNKNOWN, Durations, Meter
from daemonry.service.server.tap import TapEvent


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


def ended(meter, method="org.example.a.B", error=None, seconds=0.001, event="end"):
    meter.tell(TapEvent(0.0, event, 1, method, "tcp", seconds, error))


def test_calls_are_counted_by_method_and_outcome():
    meter = Meter(lambda name: name == "org.example.a.B", Clock())
    ended(meter)
    ended(meter, error="org.daemonry.Control.Failed")
    ended(meter, error="org.example.a.NoSuch")
    ended(meter, error="org.daemonry.Control.Paused")
    ended(meter, error="org.varlink.service.InvalidParameter")
    ended(meter, event="cancelled")
    assert {outcome for _, outcome in meter.ended} == {
        "ok",
        "failed",
        "error",
        "refused",
        "invalid",
        "cancelled",
    }
    assert sum(meter.durations["org.example.a.B"].counts) == 6


def test_names_that_nobody_serves_count_as_one():
    """Or a caller could make the daemon keep as many names as it likes."""
    meter = Meter(lambda name: False, Clock())
    for number in range(1000):
        ended(meter, f"org.evil.x{number}.Y")
    assert list(meter.ended) == [(UNKNOWN, "ok")]
    assert len(meter.durations) == 1


def test_only_the_last_two_minutes_are_kept():
    clock = Clock()
    meter = Meter(lambda name: True, clock)
    for _ in range(10 * KEPT_S):
        clock.now_s += 1
        ended(meter)
    assert len(meter.recent()) == KEPT_S
    clock.now_s += 3600
    assert meter.recent() == []


def test_a_share_of_durations_is_the_bound_that_it_stays_below():
    durations = Durations()
    assert durations.share(0.5) is None
    for seconds in (0.00001, 0.0002, 0.0003, 100.0):
        durations.add(seconds)
    assert durations.share(0.5) == BOUNDS_S[1]
    assert durations.share(0.95) == 2 * BOUNDS_S[-1]
