"""Reads a C project from the disk: its vx.toml, and the files that its patterns mean.

Owns the looking; what the file means is `c_manifest`'s.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Final

import msgspec

from vx.interfaces import is_sendable
from vx.project import c_manifest, c_plan
from vx.project.c_manifest import CManifest
from vx.project.errors import ProjectInvalid, invalid
from vx.project.patterns import fits_any, is_plain
from vx.project.rust_files import read_toml
from vx.project.tree import files_below, shown

MANIFEST: Final = "vx.toml"


class CProject(msgspec.Struct, frozen=True):
    """A C project.

    Attributes:
        directory: where it is; absolute.
        manifest: its vx.toml.
        sources: the files of each target, relative to it.
    """

    directory: str
    manifest: CManifest
    sources: dict[str, tuple[str, ...]]


def open_project(directory: str) -> CProject:
    """Return the project at `directory`, which has a vx.toml.

    Raises:
        ProjectInvalid, Unsupported: see `c_manifest`.
        OSError: it cannot be read.
    """
    path = f"{directory}/{MANIFEST}"
    source = read_toml(path)
    manifest = c_manifest.read(source)
    files: tuple[str, ...] | None = None
    sources = {}
    for name, target in manifest.targets.items():
        if all(map(is_plain, target.sources)):
            sources[name] = target.sources
            for number, one in enumerate(target.sources):
                if one.endswith(c_plan.SOURCE_ENDINGS) and not os.path.exists(f"{directory}/{one}"):
                    raise invalid(source, ("targets", name, "sources", number), f"{one!r} is not there")
        else:
            if files is None:
                files = tuple(files_below(directory))
            sources[name] = _fitting(target.sources, files)
            for one in sources[name]:
                if not is_sendable(one):
                    reason = f"'{shown(one)}' has a name that is not UTF-8: rename it"
                    raise invalid(source, ("targets", name, "sources"), reason)
        for one in target.file_flags.keys() - set(sources[name]):
            where = ("targets", name, "file-flags", one)
            raise invalid(source, where, f"{one!r} is not one of the target's sources")
    return CProject(directory, manifest, sources)


def refused(directory: str) -> list[ProjectInvalid]:
    """Return all that `open_project` would refuse of a vx.toml's flags.

    Raises:
        ProjectInvalid, OSError: it cannot be read.
    """
    return c_manifest.refused(read_toml(f"{directory}/{MANIFEST}"))


@functools.lru_cache(maxsize=16)
def _fitting(patterns: tuple[str, ...], files: tuple[str, ...]) -> tuple[str, ...]:
    """Return the files that fit a pattern; the same files as before are not looked at one by one."""
    return tuple(one for one in files if fits_any(patterns, one))


def installed(directory: str, made: Mapping[str, str]) -> dict[str, list[str]] | None:
    """Return the files that a project's `[install]` names, absolute, by folder; None where it has none.

    Args:
        directory: the project's.
        made: where what the build made is, by its name.

    Raises:
        ProjectInvalid: a name matches nothing, or it cannot be read.
    """
    path = f"{directory}/{MANIFEST}"
    manifest = c_manifest.read(read_toml(path))
    if manifest.install is None:
        return None
    targets = {name: made[c_plan.file_of(one)] for name, one in manifest.targets.items()}
    found: dict[str, list[str]] = {}
    for folder, names in manifest.install.items():
        some = found.setdefault(folder, [])
        for name in names:
            if name in targets or name in made:
                some.append(targets.get(name) or made[name])
                continue
            files = [f"{directory}/{one}" for one in files_below(directory) if fits_any([name], one)]
            if not files:
                raise ProjectInvalid(path, f"install.{folder}: {name!r} is not a target and matches no file")
            some += files
    return found
