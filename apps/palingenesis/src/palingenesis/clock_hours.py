"""Hours of the day, such as "22:00-07:00": no notices are sent then, or no runs are begun.

Owns the form and the reckoning, over midnight too.  No clock: the local time is given.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

import msgspec

_FORM: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)


class Hours(msgspec.Struct, frozen=True):
    """Hours of the day, from one minute of it to another; none where both are the same."""

    begin_min: int = 0
    end_min: int = 0

    def end_after(self, now: datetime) -> datetime | None:
        """Return when the hours end that `now` is in; None where it is in none."""
        minute = now.hour * 60 + now.minute
        if self.begin_min <= self.end_min:
            inside = self.begin_min <= minute < self.end_min
        else:
            inside = minute >= self.begin_min or minute < self.end_min
        if not inside:
            return None
        end = now.replace(hour=self.end_min // 60, minute=self.end_min % 60, second=0, microsecond=0)
        return end if end > now else end + timedelta(days=1)


def hours_of(text: str) -> Hours:
    """Return the hours that a text names; "" names none.

    Raises:
        ValueError: it is something else.
    """
    if not text:
        return Hours()
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a span of hours: write it as 22:00-07:00")
    begin_h, begin_m, end_h, end_m = map(int, found.groups())
    return Hours(begin_h * 60 + begin_m, end_h * 60 + end_m)
