"""What agents say when they stop: the class of each message, and the instant at which its limit ends."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palingenesis.verdict.messages import MAX_TEXT_CHARS, meaning, normal
from palingenesis.verdict.reasons import Reason
from palingenesis.verdict.reset_time import MAX_AHEAD, from_epoch, reset_of

# When the messages below were written, and the zone of the machine that wrote them.
SAID = datetime(2026, 11, 28, 6, 1, 5, tzinfo=UTC)
LOCAL = ZoneInfo("Europe/Berlin")

# Number, text, class, reset in UTC or null, and when it was written where that matters.
CORPUS = json.loads((Path(__file__).parent / "messages.json").read_text("utf-8"))


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: f"{case[0]}")
def test_class_and_reset_of_each_known_message(case):
    _, text, reason, reset, *said = case
    said_at = utc(said[0]) if said else SAID
    assert meaning(text) is Reason(reason)
    assert reset_of(text, said_at, LOCAL) == (utc(reset) if reset else None)


def test_all_numbers_of_the_corpus_are_there():
    assert {case[0] for case in CORPUS} == set(range(1, 57))


@pytest.mark.parametrize(
    "text", ["", "hello", "42", "resets", "resets 3", "resets 25:00", "resets Foo 3 at 4pm"]
)
def test_words_that_say_nothing(text):
    assert meaning(text) is Reason.UNKNOWN
    assert reset_of(text, SAID, LOCAL) is None


@pytest.mark.parametrize(
    ("span", "ahead"),
    [
        ("8h44m7s", timedelta(hours=8, minutes=44, seconds=7)),
        ("53s", timedelta(seconds=53)),
        ("0s", timedelta(0)),
        ("1d2h", timedelta(days=1, hours=2)),
    ],
)
def test_a_length_of_time_without_blanks(span, ahead):
    """As Gemini CLI passes on what Google's service says to users who have logged in."""
    text = f"[API Error: You have exhausted your capacity on this model. Your quota will reset after {span}.]"
    assert meaning(text) is Reason.RATE_LIMIT
    assert reset_of(text, SAID, LOCAL) == SAID + ahead


def test_a_model_without_capacity_is_no_limit_of_the_account():
    text = "No capacity available for model gemini-3-flash-preview on the server"
    assert meaning(text) is Reason.TRANSIENT


def test_a_zone_that_is_not_known_gives_no_instant():
    """Another zone in its place would be wrong by hours."""
    assert reset_of("limit reached · resets 3pm (Mars/Olympus)", SAID, LOCAL) is None
    assert reset_of("limit reached · resets 3pm (../../etc/passwd)", SAID, LOCAL) is None


def test_a_limit_beyond_eight_days_is_a_misunderstanding():
    assert reset_of("try again in 8 days", SAID, LOCAL) == SAID + timedelta(days=8)
    assert reset_of("try again in 9 days", SAID, LOCAL) is None
    assert reset_of("try again in 99999999999999 days", SAID, LOCAL) is None
    assert reset_of("try again at Dec 31st, 2031 5:57 AM", SAID, LOCAL) is None


def test_the_field_s_classic_a_day_too_many():
    """In Tokyo "8pm (Asia/Tokyo)", read in the evening, is an hour away and not 25."""
    said_at = datetime(2026, 3, 1, 19, 0, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert reset_of("resets 8pm (Asia/Tokyo)", said_at, LOCAL) == said_at + timedelta(hours=1)


def test_a_stale_message_is_about_its_own_day():
    """A "resets 3am" that was written yesterday at 1 am: past, and not tomorrow."""
    said_at = utc("2026-11-27 01:00")
    assert reset_of("5-hour limit reached ∙ resets 3am (UTC)", said_at, LOCAL) == utc("2026-11-27 03:00")


def test_a_message_in_the_minute_of_its_own_reset_is_not_a_day_early():
    said_at = utc("2026-11-28 07:59:30")
    assert reset_of("resets 7:59am (UTC)", said_at, LOCAL) == utc("2026-11-28 07:59")


def test_a_date_over_the_new_year():
    said_at = utc("2026-12-30 12:00")
    assert reset_of("resets Jan 2, 7am (UTC)", said_at, LOCAL) == utc("2027-01-02 07:00")


def test_summer_time_begins_and_ends():
    berlin = ZoneInfo("Europe/Berlin")
    before_gap = datetime(2026, 3, 29, 1, 0, tzinfo=berlin)
    assert reset_of("resets 3:30am (Europe/Berlin)", before_gap, UTC) == utc("2026-03-29 01:30")
    assert reset_of("resets 2:30am (Europe/Berlin)", before_gap, UTC) == utc("2026-03-29 01:30")
    before_fold = utc("2026-10-24 23:00")
    first, second = utc("2026-10-25 00:30"), utc("2026-10-25 01:30")
    assert reset_of("resets 2:30am (Europe/Berlin)", before_fold, UTC) == first
    assert reset_of("resets 2:30am (Europe/Berlin)", first + timedelta(minutes=10), UTC) == second


_zones = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia",
     "America/Sao_Paulo", "Asia/Kathmandu", "Africa/Casablanca", "Pacific/Chatham", "America/St_Johns"]
)  # fmt: skip
_instants = st.integers(int(utc("2024-01-01").timestamp()), int(utc("2032-01-01").timestamp())).map(
    lambda second: datetime.fromtimestamp(second, UTC)
)


@given(_instants, _zones, st.integers(1, 12), st.integers(0, 59), st.sampled_from(["am", "pm", "AM", "PM"]))
def test_a_time_of_day_is_the_next_such_instant(said_at, zone, hour, minute, half):
    instant = reset_of(f"resets {hour}:{minute:02}{half} ({zone})", said_at, UTC)
    assert instant is not None
    ahead = instant - said_at
    assert timedelta(minutes=-1) < ahead <= timedelta(days=1, hours=2)
    shown = instant.astimezone(ZoneInfo(zone))
    wanted = (hour % 12 + (12 if half.lower() == "pm" else 0), minute)
    if (shown.hour, shown.minute) != wanted:  # only in a gap, where no clock shows it
        naive = shown.replace(tzinfo=None, hour=wanted[0], minute=wanted[1])
        for fold in (0, 1):
            there = naive.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC).astimezone(ZoneInfo(zone))
            assert (there.hour, there.minute) != wanted
    else:
        # No earlier minute since the message was written shows the same time.
        minutes = int(ahead.total_seconds() // 60)
        for back in range(1, minutes, 7):
            earlier = (instant - timedelta(minutes=back)).astimezone(ZoneInfo(zone))
            assert (earlier.hour, earlier.minute) != wanted or earlier.astimezone(UTC) <= said_at


@given(_instants, _zones, st.integers(1, 7 * 24 * 60))
def test_a_date_and_time_as_agents_write_it_is_read_back(said_at, zone, ahead):
    """Written from the instant in the zone, read to the same instant, but for the hour that exists twice."""
    meant = (said_at + timedelta(minutes=ahead)).replace(second=0, microsecond=0)
    shown = meant.astimezone(ZoneInfo(zone))
    text = f"resets {shown:%b} {shown.day}, {shown:%I:%M%p} ({zone})"
    found = reset_of(text, said_at, UTC)
    assert found is not None
    assert found == meant or abs(found - meant) <= timedelta(hours=1)
    if found != meant:
        assert shown.replace(fold=0).utcoffset() != shown.replace(fold=1).utcoffset()


@given(st.text(max_size=300), _instants)
def test_no_text_breaks_it(text, said_at):
    meaning(text)
    found = reset_of("limit reached " + text, said_at, LOCAL)
    assert found is None or found - said_at <= MAX_AHEAD


def test_epochs():
    assert from_epoch(SAID.timestamp(), SAID) == SAID
    assert from_epoch(SAID.timestamp() * 1000, SAID) == SAID
    for value in (None, True, "1795852777", -1, 0, 5, 1e300, float("nan"), float("inf"), {}):
        assert from_epoch(value, SAID) is None
    assert from_epoch(SAID.timestamp() + 9 * 86400, SAID) is None


def test_a_long_text_is_cut():
    assert len(normal("x " * 10 * MAX_TEXT_CHARS)) <= MAX_TEXT_CHARS
