"""Which files a C source may include, as far as its text tells.

Owns reading `#include` lines and the order in which folders are searched.  It says too much rather
than too little: conditions are not evaluated, and every folder that has such a file counts.  What
was really read, the compiler tells afterwards.  Pure.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence

import msgspec

_INCLUDE = re.compile(
    rb"^[ \t]*(?:#|%:|\?\?=)[ \t]*(?:include|include_next|import|embed)\b[ \t]*"
    rb"(?:\"([^\"\n]+)\"|<([^>\n]+)>|([^\s]))?",
    re.MULTILINE,
)
_INCBIN = re.compile(rb"\.incbin\b")


class Includes(msgspec.Struct, frozen=True):
    """What a file says that it includes.

    Attributes:
        names: as they are written.
        computed: whether there is one that only the preprocessor can tell.
    """

    names: tuple[str, ...]
    computed: bool


def includes_of(text: bytes) -> Includes:
    """Return what a C file says that it includes."""
    text = text.replace(b"\\\r\n", b"").replace(b"\\\n", b"")  # lines may be continued anywhere
    names: dict[str, None] = {}
    computed = bool(_INCBIN.search(text))
    for quoted, angled, other in _INCLUDE.findall(text):
        if quoted or angled:
            names[(quoted or angled).decode("utf-8", "surrogateescape")] = None
        elif other:
            computed = True
    return Includes(tuple(names), computed)


def reachable(
    source: str,
    include: Sequence[str],
    includes: Callable[[str], Includes | None],
    everything: Callable[[], Iterable[str]],
) -> list[str]:
    """Return the files of a project that a source may include, itself first.

    Args:
        source: the file, relative to the project.
        include: the folders that are searched.
        includes: tells of a path what the file there includes; None where there is none.
        everything: all files of the project; asked for when one includes what cannot be told.
    """
    found: dict[str, None] = {}
    waiting = [source]
    while waiting:
        path = waiting.pop()
        told = None if path in found else includes(path)
        if told is None:
            continue
        found[path] = None
        if told.computed:
            return list(dict.fromkeys((source, *found, *everything())))
        for name in told.names:
            waiting += _candidates(posixpath.dirname(path), name, include)
    return list(found)


def shadows(reads: Iterable[str], include: Sequence[str]) -> set[str]:
    """Return the paths at which a new file would be read in the place of one of `reads`.

    Args:
        reads: what was read: relative to the project, or absolute for the system's.
        include: the folders of the project that are searched.
    """
    reads = list(reads)
    folders = {*include, *(posixpath.dirname(one) for one in reads if not one.startswith("/"))}
    found: set[str] = set()
    for path in reads:
        for name in _names(path, folders):
            found.update(posixpath.normpath(posixpath.join(folder, name)) for folder in folders)
    return {one for one in found if not one.startswith("..")} - set(reads)


def _names(path: str, folders: Iterable[str]) -> set[str]:
    """Return how a file may have been named in an `#include`."""
    if path.startswith("/"):
        pieces = path.split("/")
        return {"/".join(pieces[-count:]) for count in (1, 2, 3) if count < len(pieces)}
    inside = {
        path[len(one) + 1 :] if one else path for one in folders if not one or path.startswith(one + "/")
    }
    return inside | {posixpath.basename(path)}


def _candidates(folder: str, name: str, include: Sequence[str]) -> list[str]:
    paths = [posixpath.normpath(posixpath.join(one, name)) for one in (folder, *include)]
    return [one for one in paths if not one.startswith(("..", "/"))]
