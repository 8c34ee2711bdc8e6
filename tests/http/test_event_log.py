"""The ring of events: bounded, and each client knows what it has missed."""

from hypothesis import given
from hypothesis import strategies as st

from daemonry.http.event_log import EventLog


@given(st.integers(0, 60), st.integers(1, 20), st.integers(0, 60))
def test_missed_and_there_are_all_that_stand_behind_a_place(count, kept, place):
    log = EventLog("run", kept)
    for number in range(count):
        log.add("call", str(number))
    place = min(place, log.last)
    missed, events = log.since(place)
    assert missed + len(events) == log.last - place
    assert [one.number for one in events] == list(range(place + missed + 1, log.last + 1))
    assert len(events) <= kept


def test_a_client_that_comes_again_goes_on_where_it_was():
    log = EventLog("ab12", 4)
    log.add("state", "{}")
    assert log.place_of(log.id_of(1)) == 1


def test_numbers_of_another_process_or_of_nobody_are_no_place():
    log = EventLog("ab12", 4)
    log.add("state", "{}")
    for text in ("", "1", "cd34-1", "ab12-", "ab12-2", "ab12--1", "ab12-\u0661", "ab12-" + "9" * 40):
        assert log.place_of(text) is None, text
