"""How Codex tells its quota: one request to `codex app-server`, and what its answer means.

Owns the messages (checked with the version that the profile names).  The server makes the request with its
user's own login; palingenesis reads no credentials.  Who uses an API key gets an error, which tells nothing.
"""

from __future__ import annotations

import json
from typing import Any, Final

from palingenesis.evidence.json_lines import instant, line_of, number, table
from palingenesis.evidence.quota_answer import UNKNOWN, Quota

_ASKED: Final = 2
_CLIENT: Final = {"name": "palingenesis", "version": "1"}
_MESSAGES: Final[tuple[dict[str, Any], ...]] = (
    {"id": 1, "method": "initialize", "params": {"clientInfo": _CLIENT}},
    {"method": "initialized"},
    {"id": _ASKED, "method": "account/rateLimits/read"},
)
REQUEST: Final = b"".join(json.dumps(one).encode() + b"\n" for one in _MESSAGES)
_WINDOWS: Final = ("primary", "secondary")


def answer_of(line: bytes) -> Quota | None:
    """Return what one line of the server answers; None for a line that is not the answer."""
    message = line_of(line) or {}
    if message.get("id") != _ASKED:
        return None
    return _quota(table(message.get("result"))) if "result" in message else UNKNOWN


def _quota(result: dict[str, Any]) -> Quota:
    """Return what the limits come to: the service's own word first, the windows that are full then."""
    limits = table(result.get("rateLimits"))
    full = [one for name in _WINDOWS if _is_full(one := table(limits.get(name)))]
    allowed = result.get("ordinaryUsageAllowed")
    if allowed is True:
        return Quota(ended=True)
    if allowed is False or full or limits.get("rateLimitReachedType") is not None:
        resets_at_s = [at_s for one in full if (at_s := instant(number(one.get("resetsAt")))) is not None]
        return Quota(ended=False, resets_at_s=max(resets_at_s, default=None))
    known = any(number(table(limits.get(name)).get("usedPercent")) is not None for name in _WINDOWS)
    return Quota(ended=True) if known else UNKNOWN


def _is_full(window: dict[str, Any]) -> bool:
    used = number(window.get("usedPercent"))
    return used is not None and used >= 100
