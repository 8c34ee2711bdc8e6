"""Which tools the configuration shows: by globs, and disabled wins."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase


def hidden_by(tool: str, allowed: Sequence[str], disabled: Sequence[str]) -> str:
    """Return the rule that hides a tool, for people; "" if it is shown."""
    for pattern in disabled:
        if fnmatchcase(tool, pattern):
            return f'disabled_tools has "{pattern}"'
    if allowed and not any(fnmatchcase(tool, pattern) for pattern in allowed):
        return "allowed_tools has no pattern for it"
    return ""
