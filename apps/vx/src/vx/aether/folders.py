"""The names in folders, for a result that depends on them: a folder that a command lists, a pattern of files.

Owns how names become a digest.  Of a folder of the project all names below it count, as far as an action
may see them; of one elsewhere its own.  A procedural macro lists a folder of the project where it is: what is
in there counts, hidden or empty, under the folder's name with `AS_IT_IS` at its end.  So it is of one that a
build script lists; of one that it names in `rerun-if-changed` all that is below, with `ALL_BELOW`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from vx import digests
from vx.aether.lookups import ALL_BELOW, AS_IT_IS, MADE
from vx.file_digests import is_settled, signature_of
from vx.interfaces import is_sendable
from vx.project.tree import MAX_FILES

# Stands for the names of a folder that cannot be read.
_UNREADABLE: Final = "no folder"


def names_below(paths: Iterable[str], folder: str) -> str:
    """Return the digest of those of the paths that are below a folder, which ends with a slash."""
    prefix = "" if folder == "./" else folder
    names = [path for path in paths if path.startswith(prefix) and is_sendable(path)]
    return digests.of_bytes("\n".join(sorted(names)).encode())


def names_in(folder: str, without: AbstractSet[str] = frozenset()) -> str:
    """Return the digest of the names in a folder where it is."""
    try:
        names = sorted(set(os.listdir(folder)) - without)
        return digests.of_bytes("\0".join(names).encode("utf-8", "surrogateescape"))
    except OSError:
        return _UNREADABLE


def names_as_they_are(folder: str, where: str) -> str:
    """Return the digest of all names in a folder, or below it.

    Args:
        folder: as an action knows it, with `AS_IT_IS` or `ALL_BELOW` at its end.
        where: its absolute path.
    """
    if not folder.endswith(ALL_BELOW):
        return names_in(where, _without(folder))
    return _digest_of(_below(where, _without(folder)))


class FolderBelow(NamedTuple):
    """All that is below a folder: paths relative to it, a slash at the ends of folders'; and their digest."""

    paths: list[str]
    names: str


def below_at_rest(folder: str, where: str, started_ns: int) -> FolderBelow | None:
    """Return what is below a folder; None for too much, or where names have changed since.

    Args:
        folder: as an action knows it, with `ALL_BELOW` at its end.
        where: its absolute path.
        started_ns: since when, since 1970.
    """
    found = _below(where, _without(folder))
    folders = [where, *(f"{where}/{one}" for one in found or () if one.endswith("/"))]
    try:
        rests = all(_rests(one, started_ns) for one in folders)  # after the look: a change shows in the times
    except OSError:
        return None
    return FolderBelow(found, _digest_of(found)) if found is not None and rests else None


def digests_of(
    folders: Iterable[str], declared: Mapping[str, str], started_ns: int, located: Callable[[str], str]
) -> dict[str, str] | None:
    """Return the digest of the names in each folder; None where one has changed since.

    Args:
        folders: each with a slash at its end; relative ones are of the project.
        declared: the files that the action was given.
        started_ns: when it began to run, since 1970.
        located: where a folder is.
    """
    found = {}
    for folder in folders:
        is_as_it_is = folder.endswith(AS_IT_IS)
        if not folder.startswith("/") and not is_as_it_is:
            found[folder] = names_below(declared, folder)
            continue
        where = located(folder)
        names = names_in(where, _without(folder) if is_as_it_is else frozenset())
        try:
            if not _rests(where, started_ns):
                return None
        except FileNotFoundError:
            if not is_as_it_is or not _rests(_nearest(where), started_ns):
                return None
        except OSError:
            return None
        found[folder] = names
    return found


def _without(folder: str) -> frozenset[str]:
    return MADE if folder.partition("/")[0] == "." else frozenset()


def _below(where: str, without: AbstractSet[str]) -> list[str] | None:
    found: list[str] = []
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            entries = list(os.scandir(f"{where}/{inside}"))
        except OSError:
            continue  # its name counts
        for one in entries:
            if not inside and one.name in without:
                continue
            is_folder = one.is_dir(follow_symlinks=False)
            found.append(f"{inside}{one.name}/" if one.is_dir() else inside + one.name)
            if is_folder:
                waiting.append(found[-1])
        if len(found) > MAX_FILES:
            return None
    return sorted(found)


def _digest_of(names: list[str] | None) -> str:
    if names is None:
        return _UNREADABLE
    return digests.of_bytes("\0".join(names).encode("utf-8", "surrogateescape"))


def _rests(path: str, started_ns: int) -> bool:
    return is_settled(signature_of(os.stat(path)), started_ns)


def _nearest(path: str) -> str:
    while not os.path.exists(path):
        path = os.path.dirname(path.rstrip("/"))
    return path
