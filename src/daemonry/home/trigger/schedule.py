"""When a service runs by the clock: `every`, `at`, or cron's words.

Owns the next moment, in local time.  Waiting for it is `triggers`'s.  Cron's words are read by cronsim, of
the extra `schedule`.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

_TIME: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\Z")


class ScheduleInvalid(ValueError):
    """The words mean no moment; with the reason."""


class Schedule(Struct, frozen=True):
    """When a service runs.

    Attributes:
        every_s: so long after its last start, in seconds; 0 for a schedule of another kind.
        at: times of the day, as (hour, minute).
        cron: the five words of crontab(5), or "".
    """

    every_s: float = 0.0
    at: tuple[tuple[int, int], ...] = ()
    cron: str = ""

    def next_after(self, last: datetime) -> datetime:
        """Return the first moment after `last`.

        Raises:
            ScheduleInvalid: there is none, or cron's words cannot be read.
        """
        if self.every_s:
            return last + timedelta(seconds=self.every_s)
        if self.at:
            days = (last.replace(second=0, microsecond=0) + timedelta(days=day) for day in (0, 1))
            found = [day.replace(hour=hour, minute=minute) for day in days for hour, minute in self.at]
            return min(moment for moment in found if moment > last)
        return _next_of_cron(self.cron, last)


def parse_time(text: str) -> tuple[int, int]:
    """Return (hour, minute) of a time such as "03:30".

    Raises:
        ScheduleInvalid: it is not a time of a day.
    """
    found = _TIME.match(text)
    if found is None:
        raise ScheduleInvalid(f"{text!r} is not a time of day: try 03:30")
    return int(found[1]), int(found[2])


def _next_of_cron(words: str, last: datetime) -> datetime:
    try:
        from cronsim import CronSim, CronSimError
    except ImportError:
        raise ScheduleInvalid('cron\'s words need: pip install "daemonry[schedule]"') from None
    try:
        return next(CronSim(words, last))
    except CronSimError as error:
        raise ScheduleInvalid(f"{words!r}: {error}; try five words such as */5 * * * *") from None
    except StopIteration:
        raise ScheduleInvalid(f"{words!r} means no moment of the next years") from None
