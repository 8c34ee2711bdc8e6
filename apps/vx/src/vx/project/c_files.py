"""Reads a C project from the disk: its vx.toml, and the files that its patterns mean.

Owns the looking; what the file means is `c_manifest`'s.
"""

from __future__ import annotations

from typing import Final

import msgspec

from vx.project import c_manifest
from vx.project.c_manifest import CManifest
from vx.project.patterns import fits_any
from vx.project.rust_files import read_toml
from vx.project.tree import files_below

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
    manifest = c_manifest.read(read_toml(path))
    files: list[str] | None = None
    sources = {}
    for name, target in manifest.targets.items():
        if all(not any(char in one for char in "*?[") for one in target.sources):
            sources[name] = target.sources
            continue
        if files is None:
            files = files_below(directory)
        sources[name] = tuple(one for one in files if fits_any(target.sources, one))
    return CProject(directory, manifest, sources)
