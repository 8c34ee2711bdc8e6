"""Which tools the configuration shows: by globs, and disabled wins."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase


def hidden_by(tool: str, allowed: Sequence[str], disabled: Sequence[str]) -> str:
    """Return the rule that hides a tool, for people; "" if it is shown."""
    for pattern in disabled:
        if fnmatchcase(tool, pattern):
            return f'disabled_tools has "{pattern}"'
    if allowed and not any(fnmatchcase(tool, pattern) for pattern in allowed):
        return "allowed_tools has no pattern for it"
    return ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like `name`; "" if none is."""
    known = list(known)
    folded = {one.casefold(): one for one in known}
    found = difflib.get_close_matches(name.casefold(), folded, 1)
    return folded[found[0]] if found else ""
