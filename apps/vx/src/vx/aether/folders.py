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
from typing import Final

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
    without = MADE if folder.partition("/")[0] == "." else frozenset()
    if not folder.endswith(ALL_BELOW):
        return names_in(where, without)
    found = below(where, without)
    if found is None:
        return _UNREADABLE
    return digests.of_bytes("\0".join(found).encode("utf-8", "surrogateescape"))


def below(where: str, without: AbstractSet[str] = frozenset()) -> list[str] | None:
    """Return all paths below a folder, those of folders with a slash at their ends; None for too many."""
    found: list[str] = []
    for directory, folders, names in os.walk(where):
        if directory == where:
            folders[:] = [one for one in folders if one not in without]
        found += [os.path.relpath(f"{directory}/{one}", where) for one in names]
        found += [os.path.relpath(f"{directory}/{one}", where) + "/" for one in folders]
        if len(found) > MAX_FILES:
            return None
    return sorted(found)


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
        if not folder.startswith("/") and not folder.endswith(AS_IT_IS):
            found[folder] = names_below(declared, folder)
            continue
        where = located(folder)
        try:
            if not all(is_settled(signature_of(os.stat(one)), started_ns) for one in _listed(folder, where)):
                return None
        except FileNotFoundError:
            above = _nearest(where)
            if not folder.endswith(AS_IT_IS) or not is_settled(signature_of(os.stat(above)), started_ns):
                return None
        except OSError:
            return None
        found[folder] = names_as_they_are(folder, where) if folder.endswith(AS_IT_IS) else names_in(folder)
    return found


def _nearest(path: str) -> str:
    while not os.path.exists(path):
        path = os.path.dirname(path.rstrip("/"))
    return path


def _listed(folder: str, where: str) -> list[str]:
    if not folder.endswith(ALL_BELOW):
        return [where]
    return [where, *(f"{where}/{one}" for one in below(where) or () if one.endswith("/"))]
