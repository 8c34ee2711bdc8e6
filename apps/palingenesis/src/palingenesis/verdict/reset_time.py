"""When a limit ends, from the words of the message that announced it.

Owns the forms in which agents write it: an epoch, a length of time, a time of day, a date.  Fields of
the agent's own record come first (see `judge`); words are for where there is no such field.

A time of day is the next such instant after the message was written, not after now: a message from
yesterday that says "3am" means this morning, which is past, and not tomorrow.  A wall clock that skips
the time (the start of summer time) gives the instant that the clock before the change would have shown;
of two equal times (its end) the first that is still to come counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from palingenesis.verdict.messages import normal

# A weekly limit and a day: anything beyond is a misunderstanding.
MAX_AHEAD: Final = timedelta(days=8)
# A time written to the minute may be up to a minute before the true one.
_PRECISION: Final = timedelta(minutes=1)
# Where the daily quotas of Google's interface end, by its documentation.
_PACIFIC: Final = "America/Los_Angeles"

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_EPOCH: Final = re.compile(r"limit reached\|(\d{10})\b")
_MARK: Final = r"(?:resets?(?: on| at)?|try again at|reset on|continue automatically at)"
_DAY: Final = (
    r"(?:(?P<month>[A-Z][a-z]{2,8})\.? (?P<day>\d{1,2})(?:st|nd|rd|th)?(?:, (?P<year>\d{4}))?(?:,| at)? )?"
)
_CLOCK: Final = r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))? ?(?P<half>[ap]m)?"
_ZONE: Final = r"(?: \((?P<zone>[^()]{1,64})\))?"
_AT: Final = re.compile(rf"\b{_MARK} {_DAY}{_CLOCK}(?![\w:]){_ZONE}", re.IGNORECASE)
_IN: Final = re.compile(
    r"\b(?:(?:try again|retry|retrying|resets?|available)(?: in| after)|wait) "
    r"(?P<span>(?:(?:and )?\d+(?:\.\d+)? ?"
    r"(?:days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s|ms)(?![a-z]),? ?)+)",
    re.IGNORECASE,
)
_PART: Final = re.compile(r"(\d+(?:\.\d+)?) ?(ms|[dhms])", re.IGNORECASE)
_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DAILY: Final = re.compile(r"exhausted your daily quota", re.IGNORECASE)


def reset_of(text: str, said_at: datetime, local: tzinfo) -> datetime | None:
    """Return the instant at which the limit in `text` ends, in UTC; None where the words tell none.

    Args:
        text: the message.
        said_at: when it was written; aware.
        local: the zone of the times that name none.

    The result may be past by now: then the limit has ended.  It is never more than `MAX_AHEAD` after
    `said_at`, and never more than a minute before, but for an epoch.
    """
    found = normal(text)
    if epoch := _EPOCH.search(found):
        return _bounded(datetime.fromtimestamp(int(epoch[1]), UTC), said_at)
    if span := _IN.search(found):
        return _bounded(_plus(said_at, _seconds(span["span"])), said_at)
    if clock := _AT.search(found):
        return _bounded(_at_clock(clock, said_at, local), said_at)
    if _DAILY.search(found):
        return _bounded(_next(time(0), said_at, ZoneInfo(_PACIFIC)), said_at)
    return None


def from_epoch(value: object, said_at: datetime) -> datetime | None:
    """Return the instant of an epoch field, in seconds or milliseconds; None for any other value.

    An instant more than `MAX_AHEAD` after `said_at` is a misreading: None.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1e9 <= value < 1e14:
        return None
    return _bounded(datetime.fromtimestamp(value / 1000 if value >= 1e11 else value, UTC), said_at)


def _bounded(instant: datetime | None, said_at: datetime) -> datetime | None:
    if instant is None or instant - said_at > MAX_AHEAD:
        return None
    return instant.astimezone(UTC)


def _plus(said_at: datetime, span_s: float) -> datetime | None:
    return said_at + timedelta(seconds=span_s) if span_s <= 2 * MAX_AHEAD.total_seconds() else None


def _seconds(span: str) -> float:
    return sum(float(number) * _UNIT_S[unit.lower()] for number, unit in _PART.findall(span))


def _at_clock(found: re.Match[str], said_at: datetime, local: tzinfo) -> datetime | None:
    clock = _clock(found)
    zone = _zone(found["zone"]) if found["zone"] else local
    if clock is None or zone is None:
        return None
    if found["month"] is None:
        return _next(clock, said_at, zone)
    month = found["month"][:3].lower()
    if month not in _MONTHS:
        return None
    return _on(_MONTHS.index(month) + 1, found, clock, said_at, zone)


def _clock(found: re.Match[str]) -> time | None:
    hour, minute = int(found["hour"]), int(found["minute"] or 0)
    half = (found["half"] or "").lower()
    if not half and found["minute"] is None:
        return None  # a bare number is not a time of day
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "pm" else 0)
    return time(hour, minute) if hour < 24 and minute < 60 else None


def _zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        return None  # to guess another zone would be wrong by hours


def _next(clock: time, said_at: datetime, zone: tzinfo) -> datetime | None:
    today = said_at.astimezone(zone).date()
    days = (today + timedelta(days=ahead) for ahead in (-1, 0, 1, 2))
    return _first(said_at, (instant for day in days for instant in _instants(day, clock, zone)))


def _on(month: int, found: re.Match[str], clock: time, said_at: datetime, zone: tzinfo) -> datetime | None:
    this_year = said_at.astimezone(zone).year
    years = [int(found["year"])] if found["year"] else [this_year - 1, this_year, this_year + 1]
    instants: list[datetime] = []
    for year in years:
        try:
            day = date(year, month, int(found["day"]))
            instants += _instants(day, clock, zone)
        except (ValueError, OverflowError):
            continue  # the 29th of February of another year
    return _first(said_at, iter(instants))


def _first(said_at: datetime, instants: Iterator[datetime]) -> datetime | None:
    return min((one for one in instants if one > said_at - _PRECISION), default=None)


def _instants(day: date, clock: time, zone: tzinfo) -> list[datetime]:
    """Return when the zone's wall clock shows this: once, twice, or, in a gap, as the clock before it."""
    both = [datetime.combine(day, clock, zone).replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
    shown = [one for one in both if one.astimezone(zone).replace(tzinfo=None) == datetime.combine(day, clock)]
    return shown or both[:1]
