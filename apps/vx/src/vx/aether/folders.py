"""The names in folders, for a result that depends on them: a folder that a command lists, a pattern of files.

Owns how names become a digest.  Of a folder of the project all names below it count, as far as an action
may see them; of one elsewhere its own.  A procedural macro lists a folder of the project where it is: what is
in there counts, hidden or empty, under the folder's name with `AS_IT_IS` at its end.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from vx import digests
from vx.aether.lookups import AS_IT_IS, MADE
from vx.file_digests import is_settled, signature_of
from vx.interfaces import is_sendable

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
        return digests.of_bytes("\0".join(names).encode("utf-8", "replace"))
    except OSError:
        return _UNREADABLE


def names_as_they_are(root: str, folder: str) -> str:
    """Return the digest of all names in a folder of the project, which has `AS_IT_IS` at its end."""
    return names_in(f"{root}/{folder}", MADE if folder == f".{AS_IT_IS}" else frozenset())


def digests_of(
    folders: Iterable[str], declared: Mapping[str, str], started_ns: int, root: str = ""
) -> dict[str, str] | None:
    """Return the digest of the names in each folder; None where one has changed since.

    Args:
        folders: each with a slash at its end; relative ones are of the project.
        declared: the files that the action was given.
        started_ns: when it began to run, since 1970.
        root: the source root.
    """
    found = {}
    for folder in folders:
        is_own = not folder.startswith("/")
        if is_own and not folder.endswith(AS_IT_IS):
            found[folder] = names_below(declared, folder)
            continue
        try:
            if not is_settled(signature_of(os.stat(f"{root}/{folder}" if is_own else folder)), started_ns):
                return None
        except OSError:
            return None
        found[folder] = names_as_they_are(root, folder) if is_own else names_in(folder)
    return found
