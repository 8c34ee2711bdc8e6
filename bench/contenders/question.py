"""The question and its answer, the same for every contender: `status`, and five fields."""

from __future__ import annotations

from typing import Any, Final

STATE: Final = "running"
UPTIME_SECS: Final = 12345
CURRENT_SESSION: Final = "session-42"
SAVES_COUNT: Final = 17
TOTAL_RESUMES: Final = 3

METHOD: Final = "org.example.bench.Status"
# The other shapes of a call: how many answers in a list, items of a stream, integers.
ROWS: Final = 20
ITEMS: Final = 100
NUMBERS: Final = 10_000
# Calls ahead of their replies.
PIPELINED: Final = 1000
# What a reply that is an object has, and one that is a mapping has not.
FIRST_FIELD: Final = "state"


def answer() -> dict[str, Any]:
    """Return the five fields, made anew as a program would."""
    return {
        "state": STATE,
        "uptime_secs": UPTIME_SECS,
        "current_session": CURRENT_SESSION,
        "saves_count": SAVES_COUNT,
        "total_resumes": TOTAL_RESUMES,
    }


# The same as Varlink frames, for those that send bytes and look at nothing.
CALL_FRAME: Final = b'{"method":"org.example.bench.Status","parameters":{}}\0'
REPLY_FRAME: Final = (
    b'{"parameters":{"state":"running","uptime_secs":12345,"current_session":"session-42",'
    b'"saves_count":17,"total_resumes":3}}\0'
)
