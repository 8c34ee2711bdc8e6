"""From packages to actions: which crates are compiled, with which options, after which others.

Owns the compiler's command line, which follows cargo's where there is a choice, and the names of the
parts that a key is made of.  Pure: a project and tools in, a plan out.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

import msgspec

from vx import digests
from vx.project.action import DEPS_DIR, Action, Need, Plan, Tree
from vx.project.cargo_manifest import Package, Target
from vx.project.environment import BOOTSTRAP
from vx.project.errors import ProjectInvalid, Unsupported
from vx.project.features import FeatureOptions, Resolved, known_features, resolve
from vx.project.profile import BuildProfile, rustc_options
from vx.project.rust_compile import (
    Crate,
    RustTools,
    compile_action,
    feature_options,
    is_whole,
    known_cfgs,
)


class RustProject(msgspec.Struct, frozen=True):
    """Packages, and how they hang together.

    Attributes:
        project_dir: the workspace's root, or the package's directory; absolute.
        root: a directory above all packages; absolute.
        packages: by directory, relative to `root`.
        links: for each package, the directories of its dependencies by their names.
        selected: the packages to build.
        profiles: dev and release.
    """

    project_dir: str
    root: str
    packages: dict[str, Package]
    links: dict[str, dict[str, str]]
    selected: tuple[str, ...]
    profiles: dict[str, BuildProfile]


def plan(
    project: RustProject, tools: RustTools, profile: str, wanted: FeatureOptions, flags: Sequence[str] = ()
) -> Plan:
    """Return the actions of a build.

    Args:
        project: the project to build.
        tools: by what.
        profile: dev or release.
        wanted: the features asked for.
        flags: further options for the compiler (RUSTFLAGS).

    Raises:
        ProjectInvalid: dependencies go round in a circle, or a feature does not exist.
        Unsupported: a library that is needed cannot be linked into another.
    """
    planner = _RustPlanner(
        project, tools, profile, resolve(project.packages, project.links, project.selected, wanted), flags
    )
    for where in project.selected:
        planner.add_package(where)
    first = project.packages[project.selected[0]].name
    name = first if len(project.selected) == 1 else posixpath.basename(project.project_dir) or first
    return Plan(
        name, project.project_dir, project.root, tools.triple, profile, tuple(planner.actions.values())
    )


class _RustPlanner:
    def __init__(
        self, project: RustProject, tools: RustTools, profile: str, on: Resolved, flags: Sequence[str]
    ) -> None:
        self.actions: dict[str, Action] = {}
        self._project = project
        self._tools = tools
        self._profile = profile
        self._options = project.profiles[profile]
        self._on = on
        self._flags = tuple(flags)
        self._cwd = posixpath.relpath(project.project_dir, project.root)
        self._under_way: list[str] = []
        # Of each library: all that linking with it needs, itself included.
        self._behind: dict[str, dict[tuple[str, str], Need]] = {}

    def add_package(self, where: str) -> None:
        package = self._project.packages[where]
        if package.library is not None:
            self._add_library(where)
        for target in package.targets:
            if target.kind == "bin" and set(target.required_features) <= self._on.features[where]:
                self._add(where, target)

    def _add_library(self, where: str) -> None:
        target = self._project.packages[where].library
        if target is None:
            raise ProjectInvalid(f"{where}/Cargo.toml", "is needed as a dependency and has no library")
        if where in self._under_way:
            circle = [*self._under_way[self._under_way.index(where) :], where]
            names = " -> ".join(self._project.packages[one].name for one in circle)
            raise ProjectInvalid(f"{where}/Cargo.toml", f"dependencies go round in a circle: {names}")
        if where not in self._behind:
            self._under_way.append(where)
            self._behind[where] = {}
            self._add(where, target)
            self._under_way.pop()

    def _add(self, where: str, target: Target) -> None:
        package = self._project.packages[where]
        _check_version(where, package, self._tools.rustc.name)
        externs, needs = self._externs(where, target)
        tag = digests.of_bytes(f"{package.name} {where} {target.kind} {target.name}".encode())[:16]
        profile = rustc_options(self._options, executable=is_whole(target.crate_types))
        crate = Crate(
            id=_id(package, where, target),
            title=f"{package.name} ({'lib' if target.kind == 'lib' else 'bin ' + target.name})",
            name=target.crate_name,
            edition=package.edition,
            root_file=posixpath.normpath(posixpath.join(where, target.path)),
            crate_types=target.crate_types,
            tag=tag,
            options={
                "profile": [*profile, *package.lints],
                "features": feature_options(self._on.features[where]),
                "cfg": known_cfgs(known_features(package)),
            },
            flags=self._flags,
            sources=Tree("" if where == "." else where, package.inputs),
            env=self._env(package, where, target),
            cwd=self._cwd,
            externs=tuple(externs),
            needs=needs,
            platform=self._tools.triple,
            placed_as=target.name if where in self._project.selected else None,
        )
        action = self.actions[crate.id] = compile_action(crate, self._tools)
        if target.kind == "lib":
            library = next((one for one in action.outputs if one.endswith(".rlib")), None)
            self._behind[where] = dict(needs)
            if library is not None:
                own = Need(action.id, library, f"{DEPS_DIR}/{posixpath.basename(library)}")
                self._behind[where][action.id, library] = own

    def _externs(
        self, where: str, target: Target
    ) -> tuple[list[tuple[str, str]], dict[tuple[str, str], Need]]:
        """Return the names and files of the crates that this one uses, and all that is needed for them."""
        package = self._project.packages[where]
        externs: list[tuple[str, str]] = []
        needs: dict[tuple[str, str], Need] = {}
        used = [
            (one.name if one.name != one.package else "", self._project.links[where][one.name])
            for one in package.dependencies
            if one.name in self._on.dependencies[where]
        ]
        if target.kind == "bin" and package.library is not None:
            used.append(("", where))
        for renamed, other in sorted(used, key=lambda one: (one[1], one[0])):
            if other != where:
                self._add_library(other)
            library = self._project.packages[other].library
            if library is None:
                raise Unsupported(f"{other}/Cargo.toml", "depending on a package without a library")
            own = [
                need
                for need in self._behind[other].values()
                if need.action == _id(self._project.packages[other], other, library)
            ]
            if not own:
                if other == where:
                    continue  # a program beside a library that only other languages link
                types = ", ".join(library.crate_types)
                raise Unsupported(f"{other}/Cargo.toml", f"depending on a library of type {types}")
            needs.update(self._behind[other])
            called = (renamed or library.crate_name).replace("-", "_")
            externs.append((called, own[0].path))
        return externs, needs

    def _env(self, package: Package, where: str, target: Target) -> dict[str, str]:
        absolute = posixpath.normpath(posixpath.join(self._project.root, where))
        env = {
            **self._tools.env,
            **({BOOTSTRAP: self._tools.bootstrap} if self._tools.bootstrap else {}),
            **package.env,
            "CARGO_CRATE_NAME": target.crate_name,
            "CARGO_MANIFEST_DIR": absolute,
            "CARGO_MANIFEST_PATH": posixpath.join(absolute, "Cargo.toml"),
        }
        if where in self._project.selected:
            env["CARGO_PRIMARY_PACKAGE"] = "1"
        return {**env, "CARGO_BIN_NAME": target.name} if target.kind == "bin" else env


def _check_version(where: str, package: Package, compiler: str) -> None:
    """Refuse a package that says that it needs a newer compiler (`rust-version`)."""
    needed = package.env.get("CARGO_PKG_RUST_VERSION", "")
    has = compiler.rpartition(" ")[2].partition("-")[0]
    if needed and _numbers(needed) > _numbers(has):
        raise ProjectInvalid(
            posixpath.normpath(f"{where}/Cargo.toml"),
            f"{package.name} needs rustc {needed}, and this is {compiler}",
        )


def _numbers(version: str) -> list[int]:
    return [int(one) for one in version.partition("-")[0].split(".") if one.isdigit()]


def _id(package: Package, where: str, target: Target) -> str:
    place = "" if where == "." else f" ({where})"
    return f"{package.name}{place} {target.kind} {target.name}"
