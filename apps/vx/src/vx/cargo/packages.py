"""The packages of a unit graph: where they are, and what their manifests say.

Owns reading them.  Which packages there are, cargo has said.
"""

from __future__ import annotations

import os

import msgspec

from daemonry.typed_toml import ConfigText
from vx.cargo.ask import MANIFEST, package_dir
from vx.cargo.graph import CargoPackage, Graph, package_id
from vx.project import cargo_manifest, cargo_shapes
from vx.project.rust_files import read_toml, with_readme


def read_packages(graph: Graph) -> dict[str, CargoPackage]:
    """Return the packages of a graph by their ids.

    Raises:
        ProjectInvalid: a manifest says what cannot be.
        OSError: one cannot be read.
    """
    found: dict[str, CargoPackage] = {}
    for unit in graph.units:
        if unit.pkg_id not in found:
            one = package_id(unit.pkg_id)
            directory = package_dir(unit.target.src_path)
            source = read_toml(f"{directory}/{MANIFEST}")
            shared = _workspace_of(directory, source) if cargo_manifest.inherits(source.values) else None
            facts = cargo_manifest.facts(source, shared, one.name, one.version)
            env = with_readme(facts.env, directory, source)
            found[unit.pkg_id] = CargoPackage(one, directory, msgspec.structs.replace(facts, env=env))
    return found


def workspace_root(directory: str) -> str:
    """Return the directory of the workspace that a package belongs to; its own where it belongs to none.

    Raises:
        ProjectInvalid, OSError: a manifest cannot be read.
    """
    source = read_toml(f"{directory}/{MANIFEST}")
    cargo_shapes.check(source)
    if "workspace" in source.values:
        return directory
    named = source.values.get("package", {}).get("workspace")
    if named is not None:
        return os.path.normpath(os.path.join(directory, named))
    above = directory
    while (parent := os.path.dirname(above)) != above:
        above = parent
        if not os.path.isfile(f"{above}/{MANIFEST}"):
            continue
        found = read_toml(f"{above}/{MANIFEST}")
        cargo_shapes.check(found)
        if "workspace" in found.values:
            out = [os.path.normpath(f"{above}/{one}") for one in found.values["workspace"].get("exclude", [])]
            inside = any(directory == one or directory.startswith(f"{one}/") for one in out)
            return directory if inside else above
    return directory


def is_release(directory: str, profile: str) -> bool:
    """Whether a profile is release, or follows from it, as the manifest of a workspace's root has it."""
    known = read_toml(f"{directory}/{MANIFEST}").values.get("profile", {})
    seen: set[str] = set()
    while profile not in ("dev", "release", "test", "bench") and profile not in seen:
        seen.add(profile)
        profile = known.get(profile, {}).get("inherits", "dev")
    return profile in ("release", "bench")


def _workspace_of(directory: str, source: ConfigText) -> dict[str, object] | None:
    above = source.values["package"].get("workspace")
    if "workspace" in source.values:
        return dict(source.values["workspace"])
    if isinstance(above, str):
        directory = os.path.normpath(os.path.join(directory, above, "x"))
    while (parent := os.path.dirname(directory)) != directory:
        directory = parent
        if os.path.isfile(f"{directory}/{MANIFEST}"):
            found = read_toml(f"{directory}/{MANIFEST}")
            if "workspace" in found.values:
                cargo_shapes.check(found)
                return dict(found.values["workspace"])
    return None
