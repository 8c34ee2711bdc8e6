"""What a job looked for, by the paths that its action knows; and which of it a result depends on.

Owns which look-ups count.  A dependency file names the files that were read, and the sandbox all look-ups: of
the file that the assembler took in, of a header in each folder, of the program that a `configure` did not
find.  Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from vx.aether import undeclared
from vx.interfaces import Done
from vx.project.action import Action, named

_OWN = ".vx/"
# At the end of a folder of the project that was listed where it is: all that is there counts.
AS_IT_IS: Final = "//"
# Likewise, of one that a build script names: all that is below it.
ALL_BELOW: Final = "///"
# What builds and git make in the root of a project, whose names say nothing of a source.
MADE: Final = frozenset((".git", ".vx", "target"))


class Lookups(NamedTuple):
    """What a job looked for: relative paths are of its inputs, absolute ones elsewhere.

    Attributes:
        opened: files elsewhere that it opened, absolute.
        inside: its inputs that it opened.
        folders: directories whose names it read, each with a slash at its end.
        sought: paths at which nothing was.
    """

    opened: list[str]
    inside: list[str]
    folders: list[str]
    sought: list[str]


def lookups_of(done: Done, root: str, action: Action) -> Lookups | None:
    """Return what a job looked for, as far as it counts; None where that is not known.

    Args:
        done: how it ended.
        root: the source root.
        action: what ran.
    """
    if done.opened is None:
        return None
    if action.silent:  # all of its inputs count as it is, and nothing else of the project is given to it
        inside, sought = [], [one for one in done.sought if one.startswith("/")]
    else:
        inside, sought = done.opened_inside, done.sought
    of_system = undeclared.counting(action)
    folders = _as_they_are(done.opened_folders, root) if action.reads_all else []
    if action.kind == "script":
        folders += [f"{one}{AS_IT_IS}" for one in done.opened_folders if _is_own(one)]
    if action.asks:
        folders += [f"{one}/" for one in done.opened_folders if one.startswith("/") and of_system(f"{one}/")]
    return Lookups(
        done.opened,
        _known(inside),
        _known(folders),
        _known(named(root, action.sources, one) for one in sought if _counts(one, of_system)),
    )


def _as_they_are(folders: Iterable[str], root: str) -> list[str]:
    """Return the folders of the project that a macro listed where they are."""
    inside = [one[len(root) + 1 :] or "." for one in folders if f"{one}/".startswith(f"{root}/")]
    return [f"{one}{AS_IT_IS}" for one in inside if _is_own(one)]


def _is_own(folder: str) -> bool:
    return not folder.startswith("/") and folder.partition("/")[0] not in MADE


def _known(paths: Iterable[str]) -> list[str]:
    return sorted({one for one in paths if not one.startswith(_OWN)})


def _counts(path: str, of_system: Callable[[str], bool]) -> bool:
    return not path.startswith("/") or of_system(path) or not undeclared.is_no_content(path)
