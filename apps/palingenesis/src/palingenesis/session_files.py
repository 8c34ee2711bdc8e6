"""Session files on the disk: finding them, telling old from new, reading their first bytes.

Owns what a look at the disk tells.  Functions that block and keep nothing; what the files held
at the last look is kept by `watch`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Final, NamedTuple

from palingenesis.sessions import (
    MAX_FRONT_MATTER_BYTES,
    FrontMatterInvalid,
    front_matter,
    is_searched,
    is_session_name,
)

# Directory entries that one look goes through; a home directory given by mistake has millions.
MAX_ENTRIES: Final = 100_000
# Of a directory full of other Markdown, how many files are opened to find its newest session.
MAX_OPENED: Final = 1_000


class Signature(NamedTuple):
    """What tells a saved file from an unchanged one: a `chmod` changes none of these."""

    modified_ns: int
    size: int
    inode: int


Signatures = dict[str, Signature]


def signature(path: str) -> Signature | None:
    """Return a regular file's signature; None where there is not a regular file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return Signature(found.st_mtime_ns, found.st_size, found.st_ino)


def scan(directory: str) -> Signatures:
    """Return the signatures of all files below `directory` that can be sessions.

    What cannot be read is left out; so is what comes after `MAX_ENTRIES`.
    """
    found: Signatures = {}
    entries = 0
    for parent, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if is_searched(name)]
        entries += len(directories) + len(names)
        for name in names:
            path = os.path.join(parent, name)
            if is_session_name(name) and (known := signature(path)) is not None:
                found[path] = known
        if entries >= MAX_ENTRIES:
            break
    return found


def is_within(path: str, directory: str) -> bool:
    """Whether `scan(directory)` would come by `path`, as far as the directories above it tell."""
    *parents, _ = os.path.relpath(path, directory).split("/")
    return all(map(is_searched, parents))


def changed(before: Mapping[str, Signature], now: Mapping[str, Signature]) -> list[str]:
    """Return the files that are new or differ, the one that changed last at the end."""
    return sorted((path for path in now if before.get(path) != now[path]), key=lambda path: now[path])


class FileVerdict(NamedTuple):
    """Whether a file is a session.

    Attributes:
        is_session: it begins with front matter, good or bad.
        trouble: a fault that a person should hear of, or "".
    """

    is_session: bool
    trouble: str


def judge(path: str) -> FileVerdict:
    """Return whether the file at `path` is a session, from its first bytes."""
    try:
        found = front_matter(_head(path))
    except FrontMatterInvalid as error:
        return FileVerdict(True, str(error))
    except OSError as error:
        return FileVerdict(False, f"cannot be read: {error.strerror}")
    except Exception as error:  # noqa: BLE001  # whatever a file holds, it ends no daemon
        return FileVerdict(False, f"cannot be judged: {type(error).__name__}: {error}")
    if found is None:
        return FileVerdict(False, "no session: it does not begin with front matter")
    return FileVerdict(True, "")


def _head(path: str) -> bytes:
    # Not blocking: between the look and the opening the file may have become a pipe.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        return file.read(MAX_FRONT_MATTER_BYTES) or b""


def newest(known: Mapping[str, Signature]) -> str | None:
    """Return the session that changed last, of the files in `known`."""
    latest = sorted(known, key=lambda path: known[path], reverse=True)
    return next((path for path in latest[:MAX_OPENED] if judge(path).is_session), None)
