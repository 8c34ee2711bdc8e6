"""From a directory and a request to a plan: which kind of project it is, and which reader reads it.

Owns the choice.  A Rust project whose manifests say all (path dependencies alone) is read here and needs no
cargo; any other is resolved by cargo.  What neither does is refused before anything runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from daemonry.spelling import did_you_mean
from vx.cargo import configured
from vx.cargo import plan as cargo_plan
from vx.cargo.ask import Cargo, CargoAnswer, Question, cargo_home
from vx.cargo.graph import CargoPackage
from vx.cargo.packages import is_release, read_packages, workspace_root
from vx.cargo.surroundings import Setting
from vx.cargo.vendored import VendoredCrates
from vx.project import c_files, c_plan, environment, response_files, rust_files, rust_plan
from vx.project.action import Plan, Tool
from vx.project.c_compilations import Compilations
from vx.project.errors import ProjectInvalid, Unsupported
from vx.project.features import FeatureOptions
from vx.project.profile import DEV, RELEASE
from vx.project.rust_compile import RustTools
from vx.project.toolchain import CompilerMissing
from vx.project.tools import Tools, cargo_path

# What cargo takes for this machine's platform.
HOST: Final = "host-tuple"
# Of a profile or a platform: each is a folder's name, too.
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
# Projects and profiles of C whose last plan is kept in part; of a thousand sources each takes a megabyte.
MAX_KEPT: Final = 16
# Tables of a cargo configuration that cargo follows when it resolves a project.
FOLLOWED: Final = frozenset(("profile", "patch", "paths"))


class NoProject(Exception):
    """There is no project in a directory, nor above it; the text says so."""


class Request(msgspec.Struct, frozen=True):
    """The request of a caller; see `Aether.build`."""

    directory: str
    environment: dict[str, str]
    umask: int
    profile: str
    packages: tuple[str, ...] = ()
    workspace: bool = False
    wanted: FeatureOptions = FeatureOptions()
    targets: tuple[str, ...] = ()
    platform: str = ""
    locked: bool = False
    offline: bool = False
    why_not: bool = False
    rebuild: int = 0
    test: bool = False
    tests: tuple[str, ...] = ()


class Planner:
    """Reads projects.

    Args:
        tools: the compilers.
        cargo: what cargo said of projects.
        vendored: compares vendored crates with their checksums.
    """

    def __init__(self, tools: Tools, cargo: Cargo, vendored: VendoredCrates) -> None:
        self._tools = tools
        self._cargo = cargo
        self._vendored = vendored
        self._earlier: dict[tuple[str, str], Compilations] = {}

    def plan(self, directory: str, request: Request, fetching: Callable[[], None]) -> Plan:
        """Return the plan of the project in a directory.

        Args:
            directory: has a manifest; absolute.
            request: the caller's.
            fetching: is called before anything is fetched.

        Raises:
            ProjectInvalid, ToolMissing, OSError: it cannot be built.
        """
        if os.path.exists(f"{directory}/{c_files.MANIFEST}"):
            return self._plan_c(directory, request)
        if request.test:
            raise Unsupported(
                f"{directory}/{rust_files.MANIFEST}",
                "running a crate's tests",
                "`vx build --tests` builds them",
            )
        environment.check_rust(request.environment)
        plan = self._plan_rust(directory, request, fetching)
        variables = environment.readable(request.environment) | plan.variables
        return msgspec.structs.replace(plan, variables=variables)

    def check_sources(self, plan: Plan) -> None:
        """Refuse vendored crates that are edited, as cargo does; a build that finds all needs no look.

        Raises:
            ProjectInvalid: a crate is not what its checksums say.
        """
        self._vendored.check(plan.vendored)

    def why_not(self, directory: str, request: Request, fetching: Callable[[], None]) -> list[str]:
        """Return all that keeps a project from being built, as far as it can be known before.

        Args: as `plan`.
        """
        env = request.environment
        found: list[Exception] = []
        is_rust = not os.path.exists(f"{directory}/{c_files.MANIFEST}")
        if is_rust:
            found += environment.refused_of_rust(env)
            found += rust_files.refused_configs(directory, cargo_home(env, directory), FOLLOWED)
        try:
            if not is_rust:
                found += c_files.refused(directory)
                found += environment.refused_of_c(env)
                found += environment.refused_flags_of_c(_flags_of_c(directory, env))
            found += self._vendored.refused(self.plan(directory, request, fetching).vendored)
        except (ProjectInvalid, CompilerMissing, OSError) as error:
            found.append(error)
            if is_rust:
                found += self._refused_units(directory, request, fetching)
        return list(dict.fromkeys(map(str, found)))

    def project_dir_of(self, directory: str) -> str:
        """Return where a project's `.vx` is, also of one that cannot be built."""
        try:
            return (
                directory if os.path.exists(f"{directory}/{c_files.MANIFEST}") else workspace_root(directory)
            )
        except (ProjectInvalid, OSError):
            return directory

    def _refused_units(
        self, directory: str, request: Request, fetching: Callable[[], None]
    ) -> list[Exception]:
        flags = environment.rust_flags(request.environment)
        try:
            request = self._with_platform(directory, request)
            answer, packages, *_ = self._graph(directory, request, flags, None, fetching)
        except (ProjectInvalid, CompilerMissing, OSError) as error:
            return [error]
        return [*cargo_plan.refused(answer.graph, packages), *self._vendored.refused(answer.vendored)]

    # --- Rust -------------------------------------------------------------------------------------

    def _plan_rust(self, directory: str, request: Request, fetching: Callable[[], None]) -> Plan:
        env = request.environment
        request = self._with_platform(directory, request)
        plain = request.profile in (DEV, RELEASE) and not (request.targets or request.platform)
        flags = environment.rust_flags(env)
        refused: Unsupported | None = None
        if plain:
            try:
                project = rust_files.open_project(
                    directory,
                    cargo_home=cargo_home(env, directory),
                    packages=request.packages,
                    workspace=request.workspace,
                )
                tools = self._tools.rust(env, project.project_dir, flags)
                plan = rust_plan.plan(project, tools, request.profile, request.wanted, flags)
                # For `env!("CARGO")`, though none is asked here.
                named = {"CARGO": path} if (path := cargo_path(env, tools.sysroot)) else {}
                return msgspec.structs.replace(plan, variables=named)
            except Unsupported as error:
                refused = error
        return self._plan_by_cargo(directory, request, flags, refused, fetching)

    def _plan_by_cargo(
        self,
        directory: str,
        request: Request,
        flags: Sequence[str],
        refused: Unsupported | None,
        fetching: Callable[[], None],
    ) -> Plan:
        root = workspace_root(directory)
        rust_files.check_configs(directory, cargo_home(request.environment, directory), FOLLOWED)
        answer, packages, tools, cargo = self._graph(directory, request, flags, refused, fetching)
        own = [one.directory for one in packages.values() if one.id.is_path]
        platforms = {unit.platform or "" for unit in answer.graph.units}
        setting = Setting(
            project_dir=root,
            root=os.path.commonpath([root, *own]),
            profile=request.profile,
            is_release=is_release(root, request.profile),
            tools=tools,
            cargo=cargo.path,
            cfgs={one: self._tools.cfgs(tools, one, flags) for one in platforms},
            flags=tuple(flags),
            target=request.platform,
        )
        plan = cargo_plan.plan(answer.graph, packages, setting)
        return msgspec.structs.replace(plan, vendored=answer.vendored)

    def _graph(
        self,
        directory: str,
        request: Request,
        flags: Sequence[str],
        refused: Unsupported | None,
        fetching: Callable[[], None],
    ) -> tuple[CargoAnswer, dict[str, CargoPackage], RustTools, Tool]:
        """Return cargo's description of a project, and the tools that compile it."""
        env = request.environment
        for what, value in (("--profile", request.profile), ("--target", request.platform)):
            if value and not _NAME.fullmatch(value):
                raise ProjectInvalid(
                    f"{directory}/{rust_files.MANIFEST}", f"{what} {value!r} is not a valid name"
                )
        tools = self._tools.rust(env, workspace_root(directory), flags)
        cargo = self._tools.cargo(env, tools.sysroot)
        if cargo is None:
            raise refused or CompilerMissing("cargo is not on the PATH: install Rust (https://rustup.rs)")
        question = Question(directory, _options(request), request.locked, request.offline)
        # Empty, a wrapper that a configuration names is not run.
        own = {"RUSTC": tools.rustc.path, "RUSTC_WRAPPER": "", "RUSTC_WORKSPACE_WRAPPER": ""}
        answer = self._cargo.graph(question, cargo, {**env, **own}, fetching)
        return answer, read_packages(answer.graph), tools, cargo

    def _with_platform(self, directory: str, request: Request) -> Request:
        """Return a request with the platform that cargo's configuration names, where it names none itself."""
        platform = request.platform or configured.platform(directory, request.environment)
        if platform == HOST:
            platform = self._tools.rust(request.environment, workspace_root(directory)).triple
        return (
            request if platform == request.platform else msgspec.structs.replace(request, platform=platform)
        )

    # --- C ----------------------------------------------------------------------------------------

    def _plan_c(self, directory: str, request: Request) -> Plan:
        if request.packages or request.workspace or request.wanted != FeatureOptions():
            raise ProjectInvalid(f"{directory}/{c_files.MANIFEST}", "has neither packages nor features")
        project = c_files.open_project(directory)
        env = request.environment
        environment.check_c(env)
        given = _flags_of_c(directory, env)
        environment.check_c_flags(given)
        before = given["CPPFLAGS"]
        flags = c_plan.Flags(before + given["CFLAGS"], before + given["CXXFLAGS"], given["LDFLAGS"])
        tools = self._tools.c(request.environment)
        tests = _chosen(project.manifest.tests, request, f"{directory}/{c_files.MANIFEST}")
        return c_plan.plan(
            project.manifest,
            directory,
            project.sources,
            tools,
            request.profile,
            flags,
            tests=tests,
            earlier=self._earlier_of(directory, request.profile),
        )

    def _earlier_of(self, directory: str, profile: str) -> Compilations:
        found = self._earlier.pop((directory, profile), None) or Compilations()
        self._earlier[directory, profile] = found
        while len(self._earlier) > MAX_KEPT:
            self._earlier.pop(next(iter(self._earlier)), None)
        return found


def _flags_of_c(directory: str, env: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the words of the caller's options for C, by the variable that has them."""
    return {
        name: tuple(response_files.expanded(env.get(name, "").split(), directory, name))
        for name in environment.FLAGS_OF_C
    }


def _chosen(tests: Mapping[str, object], request: Request, path: str) -> tuple[str, ...]:
    """Return the tests that are run.

    Raises:
        ProjectInvalid: one is not known, or there is none.
    """
    if not request.test:
        return ()
    if not tests:
        raise ProjectInvalid(path, "has no test: write [tests.NAME]")
    for name in request.tests:
        if name not in tests:
            raise ProjectInvalid(
                path, f"no test is called {name!r}: {did_you_mean(name, tests, 'there are')}"
            )
    return request.tests or tuple(tests)


def _options(request: Request) -> tuple[str, ...]:
    """Return the options of `cargo build` that say the same as a request."""
    wanted = request.wanted
    return (
        "--profile",
        request.profile,
        *(["--target", request.platform] if request.platform else []),
        *(word for one in request.packages for word in ("-p", one)),
        *(["--workspace"] if request.workspace else []),
        *(word for one in wanted.names for word in ("-F", one)),
        *([] if wanted.default else ["--no-default-features"]),
        *(["--all-features"] if wanted.all else []),
        *request.targets,
    )


def find_project(directory: str) -> str:
    """Return the nearest directory, at or above this one, that is a project.

    Raises:
        NoProject: none is.
    """
    above = directory
    while True:
        found = [
            name for name in (rust_files.MANIFEST, c_files.MANIFEST) if os.path.isfile(f"{above}/{name}")
        ]
        if len(found) > 1:
            raise ProjectInvalid(
                f"{above}/{found[0]}", f"is beside a {found[1]}: one project has one of them"
            )
        if found:
            return above
        if above == (parent := os.path.dirname(above)):
            raise NoProject(f"{directory}: no Cargo.toml and no vx.toml, here or in a directory above")
        above = parent
