"""Holding: what a session may cost before somebody has to look at it.

Owns the bounds and the decisions.  A project's own file can lower a bound and never raise one.  No I/O, no
clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from palingenesis.clock_hours import Hours, hours_of
from palingenesis.resume.entry import SessionEntry
from palingenesis.resume.states import Happened, State, after
from palingenesis.verdict.reasons import Reason

DAY_S: Final = 86400.0
MINUTE_S: Final = 60.0
# Half of a minute's errors, one after the other in so short a time, are enough.
RAPID_S: Final = 10.0


class HoldingBounds(msgspec.Struct, frozen=True):
    """The bounds of resuming; 0 means no bound.

    Attributes:
        requests_per_minute: of a session that is at work.
        errors_per_minute: of these, those that end with an error, or break off; half of them in a row
            within `RAPID_S` are as much as all in a minute.
        same_error_times: failures with the same words, one after the other.
        resumes_per_day: runs that are begun for one session in 24 hours.
        quiet: hours in which no run is begun.
        enabled: whether runs are begun at all.
    """

    requests_per_minute: int = 60
    errors_per_minute: int = 5
    same_error_times: int = 5
    resumes_per_day: int = 0
    quiet: tuple[Hours, ...] = ()
    enabled: bool = True


class Project(msgspec.Struct, frozen=True):
    """What a project's `.palingenesis.toml` may say.

    Attributes:
        resume: false for a project whose sessions are not resumed.
        requests_per_minute, errors_per_minute, same_error_times, resumes_per_day, quiet_hours: as in
            `[holding]`.
    """

    resume: bool = True
    requests_per_minute: int = 0
    errors_per_minute: int = 0
    same_error_times: int = 0
    resumes_per_day: int = 0
    quiet_hours: str = ""

    def __post_init__(self) -> None:
        hours_of(self.quiet_hours)


def lowered(bounds: HoldingBounds, project: Project) -> HoldingBounds:
    """Return the bounds of a project: of each pair the one that allows less."""

    def less(ours: int, its: int) -> int:
        return min((one for one in (ours, its) if one > 0), default=0)

    return HoldingBounds(
        less(bounds.requests_per_minute, project.requests_per_minute),
        less(bounds.errors_per_minute, project.errors_per_minute),
        less(bounds.same_error_times, project.same_error_times),
        less(bounds.resumes_per_day, project.resumes_per_day),
        (*bounds.quiet, hours_of(project.quiet_hours)),
        bounds.enabled and project.resume,
    )


def runs_away(
    requests_at_s: Sequence[float], errors_at_s: Sequence[float], bounds: HoldingBounds, since_s: float
) -> str:
    """Return why a session at work is to be held; "" where it is not.

    Args:
        requests_at_s: when it sent requests.
        errors_at_s: when it sent those that ended with an error, or broke off.
        bounds: what is allowed.
        since_s: from when on they count: a minute ago, or when its user released it.
    """
    for times, what, bound in (
        (errors_at_s, "errors", bounds.errors_per_minute),
        (requests_at_s, "requests", bounds.requests_per_minute),
    ):
        count = sum(at_s > since_s for at_s in times)
        if bound and count > bound:
            return f"{count} {what} in a minute, more than {bound}: {_RELEASE}"
    half = max(2, (bounds.errors_per_minute + 1) // 2)
    if bounds.errors_per_minute and _rapid(requests_at_s, errors_at_s, half, since_s):
        return f"{half} errors in a row within {RAPID_S:.0f} s: {_RELEASE}"
    return ""


def _rapid(requests_at_s: Sequence[float], errors_at_s: Sequence[float], count: int, since_s: float) -> bool:
    """Whether the last `count` requests were errors in a short time; one more may be under way."""
    errors = sorted(at_s for at_s in errors_at_s if at_s > since_s)[-count:]
    if len(errors) < count or errors[-1] - errors[0] > RAPID_S:
        return False
    between = sum(errors[0] <= at_s <= errors[-1] for at_s in requests_at_s)
    later = sum(at_s > errors[-1] for at_s in requests_at_s)
    return between <= count and later <= 1


_RELEASE: Final = "`palingenesis release` lets it go on"


def not_before(entry: SessionEntry, bounds: HoldingBounds, now: datetime) -> tuple[float, str] | None:
    """Return until when a try that is due has to wait, and why; None where it may begin."""
    now_s = now.timestamp()
    for hours in bounds.quiet:
        end = hours.end_after(now)
        if end is not None:
            return end.timestamp(), "quiet hours"
    recent = [at_s for at_s in entry.begun_at_s if at_s > now_s - DAY_S]
    if bounds.resumes_per_day and len(recent) >= bounds.resumes_per_day:
        return recent[-bounds.resumes_per_day] + DAY_S, f"{len(recent)} runs were begun in a day"
    return None


def same_again(before: SessionEntry, failed: SessionEntry, said: str, bounds: HoldingBounds) -> SessionEntry:
    """Return the entry after a failed try, given up where its words were the same too often."""
    words = " ".join(said.split())[:200]
    if failed.reason is not Reason.TRANSIENT or not words:
        return failed
    times = before.same_error_times + 1 if words == before.same_error else 1
    noted = msgspec.structs.replace(failed, same_error=words, same_error_times=times)
    state = after(before.state, Happened.TRIES_SPENT)
    if not bounds.same_error_times or times < bounds.same_error_times or state is None:
        return noted
    note = f"the same error {times} times: {words}"
    return msgspec.structs.replace(noted, state=State(state), at_s=0.0, note=note)
