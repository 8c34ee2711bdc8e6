"""Where sessions are: a pattern, and the files that fit it.

Owns the walk and its bounds.  Names are what the system gives, also where they are not UTF-8.  What
cannot be read is left out.
"""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple

# Directory entries that one walk goes through: 100,000 transcripts in one directory, twice.
MAX_ENTRIES: Final = 250_000
# How the names of palingenesis's own directories beside records begin, in which no session is.
SHARED_PLACE: Final = ".palingenesis"


class Found(NamedTuple):
    """A file that fits a pattern.

    Attributes:
        path: where it is.
        modified_ns, size, inode: what tells a changed file from an unchanged one.
    """

    path: str
    modified_ns: int
    size: int
    inode: int


def find(pattern: str) -> Iterator[Found]:
    """Yield the regular files that fit a pattern of an absolute path with `*`, `?` and `[...]`."""
    first, *parts = pattern.lstrip("/").split("/")
    yield from _below("/", [first, *parts], [MAX_ENTRIES])


def base(pattern: str) -> str:
    """Return the directory that all files that fit a pattern are below: its part without wildcards."""
    parts = os.path.dirname(pattern).split("/")
    plain = []
    for part in parts:
        if _is_wild(part):
            break
        plain.append(part)
    return "/".join(plain) or "/"


def _is_wild(part: str) -> bool:
    return any(sign in part for sign in "*?[")


def _below(directory: str, parts: list[str], left: list[int]) -> Iterator[Found]:
    part, rest = parts[0], parts[1:]
    if not _is_wild(part):
        path = os.path.join(directory, part)
        if rest:
            yield from _below(path, rest, left)
        elif (found := look(path)) is not None:
            yield found
        return
    # A name is matched as the system gives it: bytes that are not UTF-8 are surrogates in it.
    for entry in _entries(directory, left):
        if not fnmatch.fnmatchcase(entry.name, part):
            continue
        if rest:
            if _is_directory(entry):
                yield from _below(entry.path, rest, left)
        elif (found := look(entry.path)) is not None:
            yield found


def named(directory: str, pattern: str) -> Iterator[str]:
    """Yield the paths in one directory whose names fit a pattern."""
    for entry in _entries(directory, [MAX_ENTRIES]):
        if fnmatch.fnmatchcase(entry.name, pattern):
            yield entry.path


def _entries(directory: str, left: list[int]) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                left[0] -= 1
                if left[0] < 0:
                    return
                if not entry.name.startswith(SHARED_PLACE):
                    yield entry
    except OSError:
        return


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def look(path: str) -> Found | None:
    """Return a regular file's signature; None where there is not a regular file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return Found(path, found.st_mtime_ns, found.st_size, found.st_ino)
