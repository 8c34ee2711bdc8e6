"""File name patterns: `*` and `?` within a name, `[...]`, and `**` for any folders between.

Owns their meaning, which is gitignore's, and nothing else.  Pure.
"""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Sequence


def matches(pattern: str, path: str) -> bool:
    """Whether a relative path fits a pattern; a pattern that names a folder takes all that is in it."""
    return _fits(tuple(pattern.strip("/").removeprefix("./").split("/")), tuple(path.split("/")))


def is_plain(pattern: str) -> bool:
    """Whether a pattern means one name alone, its own."""
    return not any(char in pattern for char in "*?[")


def fits_any(patterns: Sequence[str], path: str) -> bool:
    """Whether a path fits one of them."""
    return any(matches(one, path) for one in patterns)


@functools.lru_cache(maxsize=4096)
def _fits(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    if not pattern:
        return True  # the rest of the path is inside
    if pattern[0] == "**":
        return any(_fits(pattern[1:], path[skip:]) for skip in range(len(path) + (len(pattern) == 1)))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and _fits(pattern[1:], path[1:])
