"""Where a tool looked for a file in vain: there a new one would be read, so that its result depends on that.

Owns which paths those are, from the sources that were read and from the sandbox, and looking whether nothing
is there still.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from vx.aether.lookups import Lookups
from vx.file_digests import FileDigests, is_settled, signature_of
from vx.project import c_includes
from vx.project.action import Action, TranslationUnit, Tree, located
from vx.project.c_includes import Includes

# File systems of the kernel's; a job that opens a file there is not kept, for the sandbox sees it.
_MADE_UP: Final = ("/proc/", "/sys/", "/dev/")
# Where gcc looks for a directory for its temporary files: changed many times a second on a busy machine.
_TEMPORARY: Final = frozenset({"/tmp", "/var/tmp", "/usr/tmp"})


class LeftOut(Exception):
    """A tool ran without files that it looks for: a header of the system includes one of the project's.

    Attributes:
        paths: those, relative to the source root.
    """

    def __init__(self, paths: list[str]) -> None:
        super().__init__(", ".join(paths))
        self.paths = paths


class VainPaths(NamedTuple):
    """Where a tool looked for a file and there is none.

    Attributes:
        paths: nothing is there.
        folders: a directory is there; with what `FileDigests` says of one.
    """

    paths: set[str]
    folders: dict[str, str]


def vain_paths(
    action: Action,
    told: Mapping[str, Includes],
    files: Iterable[str],
    asked_only: Collection[str] = (),
    seen: Lookups | None = None,
) -> set[str]:
    """Return where a new file would be read in the place of one that was, or of none.

    Args:
        action: what ran.
        told: what each source that was read says.
        files: all that was read, or may have been.
        asked_only: those of `files` that may have been asked for only.
        seen: its look-ups; None where they are not known.
    """
    if isinstance(action.sources, TranslationUnit):
        unit = action.sources
        known = set(files)
        headers = c_includes.precompiled(unit.path, told, known, unit.folders, unit.forced)
        found = c_includes.vain(
            told,
            known,
            unit.folders,
            unit.forced,
            unit.macros,
            asked_only,
            source=unit.path,
            seen=seen is not None and c_includes.are_seen(unit.folders, [*seen.sought, *seen.inside]),
        )
        return found | headers | set(unit.folders.missing)
    if isinstance(action.sources, Tree):
        return {_other_module(path) for path in files if path.endswith(".rs")}
    return set()


def still_absent(
    file_digests: FileDigests,
    root: str,
    action: Action,
    vain: set[str],
    silent: set[str],
    declared: Mapping[str, str],
    started_ns: int,
) -> VainPaths | None:
    """Return at which paths nothing is; None where something came to one since the tool began.

    Raises:
        LeftOut: at a path of `vain` is a file that the tool was not given.
    """
    is_unit = isinstance(action.sources, TranslationUnit)
    absent = VainPaths(set(), {})
    left_out: list[str] = []
    is_settled_all = True
    for path in (vain | silent) - declared.keys():  # of those it was there, and was not read
        where = located(root, action.sources, path)
        try:
            found = os.stat(where)
        except OSError:
            absent.paths.add(path)
            continue
        if is_made_up(path):
            continue
        if is_unit and path in vain and not path.startswith("/") and stat.S_ISREG(found.st_mode):
            left_out.append(path)
        is_directory = stat.S_ISDIR(found.st_mode)
        if is_directory:  # in vain, as long as it stays one
            absent.folders[path] = file_digests.digest(where) or ""
        if not (is_directory and _was_there(where, root)):
            is_settled_all = is_settled_all and is_settled(signature_of(found), started_ns)
    if left_out:
        raise LeftOut(sorted(left_out))
    return absent if is_settled_all else None


def is_made_up(path: str) -> bool:
    """Whether the kernel makes a file's content when it is read: `<paths.h>` names some, and none rests.

    Behind a link, too: /etc/mtab is one to /proc/mounts.
    """
    return path.startswith("/") and os.path.exists(path) and os.path.realpath(path).startswith(_MADE_UP)


def _was_there(directory: str, root: str) -> bool:
    """Whether a directory was there all the time, however often others change its entries.

    It holds the project, or is where a compiler asks for room: a sandbox has a place of its own for that.
    """
    return directory in _TEMPORARY or f"{root}/".startswith(f"{directory.rstrip('/')}/")


def _other_module(path: str) -> str:
    """Return the other path at which Rust looks for a module: both at once are an error."""
    if path.endswith("/mod.rs"):
        return path.removesuffix("/mod.rs") + ".rs"
    return path.removesuffix(".rs") + "/mod.rs"
