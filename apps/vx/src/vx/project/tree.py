"""The files below a directory that belong to a project.

Owns which do not: hidden ones, what builds make, and other packages below.  Never follows a link to
a directory: it could lead anywhere, also round.
"""

from __future__ import annotations

import os
from typing import Final

from vx.project.errors import Unsupported

MADE_BY_BUILDS: Final = frozenset(("target", "node_modules", "__pycache__"))
# More is hardly a package's source, and each compiler would be given all of it.
MAX_FILES: Final = 20_000


def files_below(directory: str, *, stop_at: str = "", whole: bool = False) -> list[str]:
    """Return the files below `directory`, as relative paths, sorted.

    Args:
        directory: absolute.
        stop_at: the name of a file that marks a directory below as another package's.
        whole: whether hidden files count, too, and folders that are called like those that builds make.

    Raises:
        OSError: a directory cannot be read.
        Unsupported: there are too many.
    """
    found: list[str] = []
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        entries = list(os.scandir(f"{directory}/{inside}"))
        if inside and stop_at and any(one.name == stop_at for one in entries):
            continue
        for entry in entries:
            if entry.name.startswith(".") and not whole:
                continue
            if entry.is_dir(follow_symlinks=False):
                if whole or entry.name not in MADE_BY_BUILDS or (inside and entry.name == "target"):
                    waiting.append(f"{inside}{entry.name}/")
            elif entry.is_file():
                found.append(inside + entry.name)
        if len(found) > MAX_FILES:
            raise Unsupported(
                directory,
                f"a package of more than {MAX_FILES} files",
                "name those that are compiled in [package.metadata.vx] inputs",
            )
    return sorted(found)


def shown(path: str) -> str:
    r"""Return a path as a message has it: a byte that is not UTF-8 is `\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
