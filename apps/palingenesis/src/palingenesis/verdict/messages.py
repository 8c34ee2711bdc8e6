"""What an agent's error message means, by its words.

Owns the table of messages that were seen in agents' releases, old and new, and the normal form in
which they are compared: agents change apostrophes, dots and dashes between releases.  Whether a text
is an error message at all is the reader's to know: a model's answer may quote any of these.
"""

from __future__ import annotations

import re
from typing import Final

from palingenesis.verdict.reasons import Reason

# Error messages are a line or two; some carry a whole HTML page behind them.
MAX_TEXT_CHARS: Final = 2_000

_SAME: Final = str.maketrans(
    {
        "\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u201c": '"', "\u201d": '"',
        "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-", "\u2212": "-",
        "\u2219": "\u00b7", "\u2022": "\u00b7", "\u22c5": "\u00b7",
        "\u00a0": " ", "\u202f": " ", "\u2009": " ",
    }
)  # fmt: skip

# The first that matches counts.
_TABLE: Final = tuple(
    (reason, re.compile("|".join(patterns), re.IGNORECASE))
    for reason, patterns in (
        (Reason.PROGRESS, (
            r"^reconnecting\.\.\. \d+/\d+",
            r"^attempt \d+ failed\b.*\bretrying after\b",
            r"set to continue automatically",
            r"usage limit reset \u00b7 continuing automatically",
        )),
        (Reason.USER_EXIT, (
            r"^\[request interrupted by user",
            r"^(?:\W )?conversation interrupted - tell the model",
        )),
        (Reason.CREDIT, (
            r"credit balance is too low",
            r"monthly spend limit",
            r"out of (?:usage )?credits",
            r"spend cap",
            r"quota exceeded\. check your plan and billing",
            r"exceeded your current quota, please check your plan and billing details\.?(?!.*retry in)",
            r"insufficient_quota",
        )),
        (Reason.LOGIN, (
            r"(?:invalid|incorrect) api key",
            r"not logged in",
            r"please run /login",
            r"oauth token (?:has expired|revoked)",
            r"\b401 unauthorized",
        )),
        (Reason.CONTEXT, (
            r"prompt is too long",
            r"conversation too long",
            r"ran out of room in the model's context window",
            r"exceeds the context window",
            r"maximum context length is \d+",
            r"session too large to compact",
            r"input token count .{0,40}exceeds the maximum",
            r"context_length_exceeded",
        )),
        (Reason.TRANSIENT, (
            r"not your usage limit",
            r"\boverloaded\b",
            r"\b50[0234] (?:internal server error|bad gateway|service unavailable|gateway timeout)",
            r"connection dropped",
            r"\beconnreset\b",
            r"server error mid-response",
            r"exceeded the \d+ output token maximum",
            r"model is at capacity",
            r"no capacity available for model",
            r"currently experiencing high demand",
            r"stream disconnected before completion",
        )),
        (Reason.RATE_LIMIT, (
            r"you've hit your\b.{0,60}\blimit\b",
            r"you've reached your\b.{0,60}\blimit\b",
            r"you've hit a rate limit\b",
            r"you've exceeded your\b.{0,60}\blimits?\b",
            r"out of extra usage",
            r"\blimit reached\b",
            r"rate limit",
            r"\b429\b",
            r"too many requests",
            r"exhausted your (?:daily quota|quota|capacity)",
            r"exceeded your current quota",
        )),
    )
)  # fmt: skip


def normal(text: str) -> str:
    """Return `text` in the form that is compared: plain quotes, dashes, dots and blanks, bounded."""
    return " ".join(text[: 2 * MAX_TEXT_CHARS].translate(_SAME).split())[:MAX_TEXT_CHARS]


def meaning(text: str) -> Reason:
    """Return what an error message means; `UNKNOWN` where its words are not known."""
    found = normal(text)
    return next((reason for reason, pattern in _TABLE if pattern.search(found)), Reason.UNKNOWN)
