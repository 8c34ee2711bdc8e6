"""Reads a Rust project from the disk: its manifests, and those that they name.

Owns finding: the workspace of a package, its members, path dependencies, which targets are there by
their places.  What the manifests mean is `cargo_manifest`'s.
"""

from __future__ import annotations

import functools
import os
import posixpath
from collections.abc import Collection, Iterable, Iterator
from typing import Final

import msgspec

from daemonry.errors import ConfigError
from daemonry.typed_toml import ConfigText, decode, parse
from vx import digests
from vx.interfaces import is_sendable
from vx.project import cargo_checks, cargo_manifest, cargo_shapes
from vx.project.cargo_manifest import CargoManifest, Package, Workspace
from vx.project.errors import ProjectInvalid, invalid, unsupported
from vx.project.patterns import is_plain, matches
from vx.project.rust_plan import RustProject

MANIFEST: Final = "Cargo.toml"
# A workspace of a thousand members has 50 KiB.
MAX_MANIFEST_BYTES: Final = 1 << 20

# Tables of a cargo configuration that do not change a compilation, as far as vx goes.
_CONFIG_INERT: Final = frozenset(
    (
        *("alias", "cache", "cargo-new", "credential-alias", "doc", "future-incompat-report", "http"),
        *("install", "net", "registries", "registry", "resolver", "source", "term"),
    )
)
_CONFIG_BUILD_INERT: Final = frozenset(
    ("jobs", "incremental", "target", "target-dir", "build-dir", "dep-info-basedir")
)


def open_project(
    directory: str, *, cargo_home: str, packages: Iterable[str] = (), workspace: bool = False
) -> RustProject:
    """Return the project of the package, or workspace, at `directory`.

    Args:
        directory: has a Cargo.toml; absolute.
        cargo_home: where cargo keeps its configuration.
        packages: the names of the packages to build; none for the usual.
        workspace: whether all members are.

    Raises:
        ProjectInvalid, Unsupported: see `cargo_manifest`.
        OSError: a manifest cannot be read.
    """
    return _ManifestReader(directory).read(cargo_home, tuple(packages), workspace=workspace)


class _ManifestReader:
    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._home = directory  # the workspace's root
        self._workspace: Workspace | None = None
        self._manifests: dict[str, CargoManifest] = {}
        self._packages: dict[str, Package] = {}
        self._links: dict[str, dict[str, str]] = {}

    def read(self, cargo_home: str, names: tuple[str, ...], *, workspace: bool) -> RustProject:
        manifest = self._manifest(self._directory)
        self._find_workspace(manifest)
        root_manifest = self._manifest(self._home)
        check_configs(self._directory, cargo_home)
        members = self._members(root_manifest)
        for member in members:
            self._read_package(member)
        selected = self._selected(manifest, members, names, workspace=workspace)
        root = os.path.commonpath([self._home, *self._packages])
        return RustProject(
            self._home,
            root,
            {posixpath.relpath(where, root): package for where, package in self._packages.items()},
            {
                posixpath.relpath(where, root): {
                    name: posixpath.relpath(other, root) for name, other in links.items()
                }
                for where, links in self._links.items()
            },
            tuple(posixpath.relpath(where, root) for where in selected),
            root_manifest.profiles,
        )

    def _manifest(self, directory: str) -> CargoManifest:
        found = self._manifests.get(directory)
        if found is None:
            path = f"{directory}/{MANIFEST}"
            found = self._manifests[directory] = cargo_manifest.read(read_toml(path))
        return found

    # --- the workspace ----------------------------------------------------------------------------

    def _find_workspace(self, manifest: CargoManifest) -> None:
        if manifest.workspace is not None:
            self._workspace = manifest.workspace
            return
        above = manifest.table["package"].get("workspace")
        if above is not None:
            self._home = os.path.normpath(os.path.join(self._directory, above))
            self._workspace = self._manifest(self._home).workspace
            if self._workspace is None:
                raise invalid(manifest.source, ("package", "workspace"), f"{above} is not a workspace")
            return
        for parent in _parents(self._directory):
            if not os.path.exists(f"{parent}/{MANIFEST}"):
                continue
            source = read_toml(f"{parent}/{MANIFEST}")
            if "workspace" not in source.values:
                continue
            cargo_shapes.check(source)
            inside = os.path.relpath(self._directory, parent)
            if any(_is_below(inside, one) for one in source.values["workspace"].get("exclude", [])):
                return
            self._home, self._workspace = parent, self._manifest(parent).workspace
            return

    def _members(self, root: CargoManifest) -> list[str]:
        """Return the directories of the members: those named, and path dependencies below the root."""
        if self._workspace is None:
            return [self._home]
        found: dict[str, None] = {self._home: None} if root.has_package else {}
        for pattern in self._workspace.members:
            for directory in _expand(self._home, pattern):
                found[directory] = None
        waiting = list(found)
        while waiting:
            for other in self._path_dependencies(waiting.pop()):
                if other not in found and other.startswith(self._home + "/"):
                    found[other] = None
                    waiting.append(other)
        out = {os.path.normpath(f"{self._home}/{one}") for one in self._workspace.exclude}
        members = [one for one in found if one not in out]
        if self._directory != self._home and self._directory not in members:
            raise ProjectInvalid(
                f"{self._directory}/{MANIFEST}",
                f"is below the workspace {self._home} and no member of it: add it to workspace.members, or to"
                " workspace.exclude",
            )
        return members

    def _path_dependencies(self, directory: str) -> list[str]:
        table = self._manifest(directory).table
        found = []
        for name, written in table.get("dependencies", {}).items():
            given, base = written, directory
            if isinstance(given, dict) and given.get("workspace") is True and self._workspace is not None:
                given, base = self._workspace.dependencies.get(name), self._home
            if isinstance(given, dict) and isinstance(given.get("path"), str):
                found.append(os.path.normpath(os.path.join(base, given["path"])))
        return found

    # --- packages ---------------------------------------------------------------------------------

    def _read_package(self, directory: str) -> None:
        if directory in self._packages:
            return
        try:
            manifest = self._manifest(directory)
        except FileNotFoundError:
            raise ProjectInvalid(f"{directory}/{MANIFEST}", "is not there") from None
        if not manifest.has_package:
            raise ProjectInvalid(manifest.path, "is a workspace and no package")
        package = cargo_manifest.package(manifest, _conventional_files(directory), self._workspace)
        cargo_checks.check(manifest, package, in_workspace=self._workspace is not None)
        env = with_readme(package.env, directory, manifest.source)
        self._packages[directory] = msgspec.structs.replace(package, env=env)
        links = self._links[directory] = {}
        for one in package.dependencies:
            if one.refused:
                continue
            base = self._home if one.from_workspace else directory
            other = os.path.normpath(os.path.join(base, one.path))
            self._read_package(other)
            if self._packages[other].name != one.package:
                raise invalid(
                    manifest.source,
                    ("dependencies", one.name),
                    f"the package at {one.path} is {self._packages[other].name}",
                )
            links[one.name] = other

    def _selected(
        self, manifest: CargoManifest, members: list[str], names: tuple[str, ...], *, workspace: bool
    ) -> list[str]:
        if names:
            by_name = {self._packages[one].name: one for one in members}
            for name in names:
                if name not in by_name:
                    known = ", ".join(sorted(by_name))
                    raise ProjectInvalid(manifest.path, f"no package is called {name!r}; there are {known}")
            return [by_name[name] for name in names]
        if workspace or self._workspace is None:
            return members
        if self._directory != self._home:
            return [self._directory]
        if self._workspace.default_members:
            return [
                one for pattern in self._workspace.default_members for one in _expand(self._home, pattern)
            ]
        return [self._home] if manifest.has_package else members


def _conventional_files(directory: str) -> set[str]:
    found = {
        name for name in ("src/lib.rs", "src/main.rs", "build.rs") if os.path.isfile(f"{directory}/{name}")
    }
    try:
        entries = list(os.scandir(f"{directory}/src/bin"))
    except OSError:
        return found
    for entry in entries:
        if entry.name.endswith(".rs") and entry.is_file():
            found.add(f"src/bin/{entry.name}")
        elif os.path.isfile(f"{entry.path}/main.rs"):
            found.add(f"src/bin/{entry.name}/main.rs")
    return set(filter(is_sendable, found))  # cargo passes over a program whose name is not UTF-8


def _expand(base: str, pattern: str) -> list[str]:
    """Return the directories that a member pattern means."""
    found = fitting(base, pattern)
    if is_plain(pattern):
        return found
    return [one for one in found if os.path.isfile(f"{one}/{MANIFEST}")]


def fitting(base: str, pattern: str) -> list[str]:
    """Return the directories that a member pattern fits, with a manifest or not.

    Args:
        base: of the workspace's root; absolute.
        pattern: relative to it.
    """
    if is_plain(pattern):
        return [os.path.normpath(f"{base}/{pattern}")]
    found = [""]
    for piece in pattern.rstrip("/").split("/"):
        found = [f"{above}/{name}" for above in found for name in _names(base + above, piece)]
    return [os.path.normpath(base + inside) for inside in sorted(found)]


def _names(directory: str, piece: str) -> list[str]:
    if is_plain(piece):
        return [piece]
    try:
        found = [one.name for one in os.scandir(directory) if one.is_dir() and matches(piece, one.name)]
    except OSError:
        return []
    return list(filter(is_sendable, found))  # cargo passes over others


def _parents(directory: str) -> Iterable[str]:
    while (above := os.path.dirname(directory)) != directory:
        directory = above
        yield directory


def _is_below(path: str, above: str) -> bool:
    above = os.path.normpath(above)
    return path == above or path.startswith(above + "/")


def check_configs(directory: str, cargo_home: str, followed: Collection[str] = ()) -> None:
    """Refuse settings of cargo outside the manifests on which the result would depend.

    Args:
        directory: of the project.
        cargo_home: where cargo keeps its configuration.
        followed: tables that are followed.

    Raises:
        Unsupported, ProjectInvalid: a configuration changes the result, or cannot be read.
    """
    for error in refused_configs(directory, cargo_home, followed):
        raise error


def refused_configs(directory: str, cargo_home: str, followed: Collection[str]) -> Iterator[ProjectInvalid]:
    """Return all that `check_configs` would refuse, one after the other."""
    for path in config_files(directory, cargo_home):
        try:
            yield from _refused_config(read_toml(path), followed)
        except ProjectInvalid as error:
            yield error


def config_files(directory: str, cargo_home: str) -> Iterator[str]:
    """Yield the configurations that cargo reads for a project, those that count before others first.

    Args:
        directory: of the project.
        cargo_home: where cargo keeps its own.
    """
    places = [f"{one}/.cargo" for one in (directory, *_parents(directory))]
    for place in dict.fromkeys((*places, cargo_home)):
        for name in ("config", "config.toml"):  # cargo takes the old name where both are there
            path = f"{place}/{name}"
            if os.path.isfile(path):
                yield path
                break


def _refused_config(source: ConfigText, followed: Collection[str]) -> Iterator[ProjectInvalid]:
    for key, content in source.values.items():
        if key == "build" and isinstance(content, dict):
            for inner in content:
                if inner not in _CONFIG_BUILD_INERT:
                    yield unsupported(
                        source,
                        ("build", inner),
                        f"build.{inner}",
                        "RUSTFLAGS and RUSTC are read from the environment",
                    )
        elif key not in _CONFIG_INERT and key not in followed:
            yield unsupported(source, (key,), f"[{key}]")


def with_readme(env: dict[str, str], directory: str, source: ConfigText) -> dict[str, str]:
    """Return a package's variables with the file that cargo takes for the readme where none is named."""
    if source.values["package"].get("readme", True) is True:
        for name in ("README.md", "README.txt", "README"):
            if os.path.isfile(f"{directory}/{name}"):
                return {**env, "CARGO_PKG_README": name}
    return env


def read_toml(path: str) -> ConfigText:
    """Return what a TOML file holds.

    Raises:
        ProjectInvalid: it is not TOML, or beyond the bounds.
        OSError: it cannot be read.
    """
    with open(digests.open_file(path), "rb") as file:
        data = file.read(MAX_MANIFEST_BYTES + 1)
    try:
        return _parsed(data, path)
    except ConfigError as error:
        raise ProjectInvalid.of(error) from None


@functools.lru_cache(maxsize=512)
def _parsed(data: bytes, path: str) -> ConfigText:
    # Shared by all callers: nobody changes the object.
    return parse(decode(data, path, MAX_MANIFEST_BYTES), path)
