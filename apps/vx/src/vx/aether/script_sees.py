"""What a build script would find with cargo and was not given: hidden files, empty folders, neighbours.

Owns telling which those are, from where it looked in vain, what it listed, and named in its output.  It runs
in a copy of its package; with these in it, it runs once more, until it has found all that it looks for.
And what of the folders that it names is a condition of its result.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Collection, Iterable, Mapping

from vx.aether.folders import below_at_rest
from vx.aether.lookups import ALL_BELOW, MADE
from vx.interfaces import Done, is_sendable
from vx.project.action import Action, Tree, located
from vx.project.tree import MAX_FILES


def not_given(done: Done, root: str, action: Action, given: Collection[str]) -> list[str]:
    """Return the entries that a build script did not get; folders have a slash at their ends.

    Args:
        done: how it ended; `reads` are the paths that its words name.
        root: the source root.
        action: it.
        given: all that it got, likewise.
    """
    assert isinstance(action.sources, Tree)
    own = f"{action.sources.directory}/" if action.sources.origin else ""
    found: dict[str, None] = {}

    def look(path: str) -> None:
        path = posixpath.normpath(path)
        if path.startswith(("/", "../")) or _is_made(path) or not f"{path}/".startswith(own):
            return
        where = _where(root, action, path)
        if os.path.isfile(where):
            found[path] = None
        elif os.path.isdir(where):
            found[f"{path}/"] = None

    for path in (*done.sought, *done.reads):
        look(path)
    for folder in done.opened_folders:
        if not folder.startswith("/") and not _is_made(folder):
            where = _where(root, action, folder)
            for name in _names(where):
                if not (folder == "." and name in MADE):
                    look(f"{folder}/{name}")
    there = {*given, *_above(given), "./"}
    return [path for path in found if is_sendable(path) and path not in there]


def below_named(
    root: str,
    action: Action,
    paths: Iterable[str],
    declared: Mapping[str, str],
    started_ns: int,
    unchanged: Callable[[str], str | None],
) -> dict[str, str] | None:
    """Return what counts of the folders that a build script names: all below; None if that is not known.

    Of the whole package the declared files count, as if it named nothing.

    Args:
        root: the source root.
        action: it.
        paths: those that it names.
        declared: the digests of its inputs.
        started_ns: when it began to run, since 1970.
        unchanged: the digest of a file elsewhere, if it is as it was then.
    """
    assert isinstance(action.sources, Tree)
    found: dict[str, str] = {}
    for path in paths:
        where = _where(root, action, path)
        if path == (action.sources.directory or ".") or not os.path.isdir(where):
            continue
        folder = f"{path}{ALL_BELOW}"
        inside = below_at_rest(folder, where, started_ns)
        if inside is None:
            return None
        found[folder] = inside.names
        for one in inside.paths:
            file = f"{where}/{one}"
            if one.endswith("/") or not is_sendable(file) or not os.path.isfile(file):
                continue
            known = posixpath.normpath(f"{path}/{one}")
            digest = declared.get(known) or unchanged(file)
            if digest is None:
                return None
            found[known] = digest
    return found


def is_beyond(path: str) -> bool:
    """Whether a path that a script names leads out of the source root, in which no copy has it."""
    return path == ".." or path.startswith("../")


def _where(root: str, action: Action, path: str) -> str:
    return located(root, action.sources, path if path != "." else "")


def _is_made(path: str) -> bool:
    """Whether builds made it in the project's root; what git keeps there counts where it is looked for."""
    return path.partition("/")[0] in (".vx", "target")


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))[:MAX_FILES]
    except OSError:
        return []


def _above(paths: Iterable[str]) -> set[str]:
    """Return the folders that are there because something is in them."""
    found: set[str] = set()
    for path in paths:
        above = posixpath.dirname(path.rstrip("/"))
        while above and f"{above}/" not in found:
            found.add(f"{above}/")
            above = posixpath.dirname(above)
    return found
