"""The manifests that cargo reads beside those of what it builds.

A member that is not built, or a package that is only named by its path, has a say all the same: its
requirements decide versions in Cargo.lock, and one that cannot be read is an error.  Owns finding them, from
the manifests and configurations that name them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from vx.project.errors import ProjectInvalid
from vx.project.patterns import is_plain
from vx.project.rust_files import MANIFEST, config_files, fitting, read_toml

# The largest workspaces have some thousand; of more, the rest is not looked at.
_MOST: Final = 20_000


class Neighbours(NamedTuple):
    """Where manifests are, or may come; absolute.

    Attributes:
        packages: directories of them.
        above: directories in which another member may come.
    """

    packages: tuple[str, ...]
    above: tuple[str, ...]


def neighbours(directory: str, cargo_home: str) -> Neighbours:
    """Return the directories of all packages that a project names, itself or by another.

    Args:
        directory: of the project.
        cargo_home: where cargo keeps its configuration.
    """
    found: dict[str, None] = {}
    above: dict[str, None] = {}
    seen: set[str] = set()
    waiting = [directory, *_parents(directory)]
    for path in config_files(directory, cargo_home):
        base = os.path.dirname(os.path.dirname(path))
        waiting += [os.path.normpath(f"{base}/{one}") for one in _named(_values(path))]
    while waiting and len(seen) < _MOST:
        one = waiting.pop()
        real = os.path.realpath(one)  # a link to a directory above it would never end
        if real in seen:
            continue
        seen.add(real)
        values = _values(f"{one}/{MANIFEST}")
        found[one] = None
        waiting += [os.path.normpath(os.path.join(one, path)) for path in _named(values)]
        for pattern in _members(values):
            fits = fitting(one, pattern)
            waiting += fits
            above |= dict.fromkeys((_fixed(one, pattern), *map(os.path.dirname, fits)))
    return Neighbours(tuple(found), tuple(above))


def _values(path: str) -> dict[str, Any]:
    try:
        return read_toml(path).values
    except (ProjectInvalid, OSError, ValueError):
        return {}  # none, or cargo says why


def _named(table: object) -> Iterator[str]:
    """Yield the paths in a table, of packages and of sources alike."""
    if not isinstance(table, dict):
        return
    for key, content in table.items():
        if key in ("path", "workspace") and isinstance(content, str):
            if not content.endswith(".rs"):  # a target's own
                yield content
        elif key == "paths" and isinstance(content, list):
            yield from (one for one in content if isinstance(one, str))
        else:
            yield from _named(content)


def _members(values: dict[str, Any]) -> list[str]:
    table = values.get("workspace")
    members = table.get("members") if isinstance(table, dict) else None
    return [one for one in members if isinstance(one, str)] if isinstance(members, list) else []


def _fixed(base: str, pattern: str) -> str:
    """Return the directory below which a pattern looks."""
    pieces = pattern.split("/")[:-1]
    return os.path.normpath("/".join([base, *itertools.takewhile(is_plain, pieces)]))


def _parents(directory: str) -> list[str]:
    above = os.path.dirname(directory)
    return [] if above == directory else [above, *_parents(above)]
