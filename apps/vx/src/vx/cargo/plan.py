"""From cargo's units to actions: crates that are compiled, build scripts that are run.

Owns what each needs of the others, and which outputs go where.  Pure.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

import msgspec

from vx.cargo.graph import CargoPackage, Graph, Unit, UnitProfile
from vx.cargo.surroundings import PLACES, Setting, Surroundings
from vx.project.action import (
    DEPS_DIR,
    Action,
    Need,
    Plan,
    ScriptUse,
    Tool,
    Tree,
)
from vx.project.errors import Unsupported
from vx.project.profile import BuildProfile, rustc_options
from vx.project.rust_compile import (
    Crate,
    compile_action,
    feature_options,
    is_whole,
    known_cfgs,
    outputs_of,
)


def plan(graph: Graph, packages: Mapping[str, CargoPackage], setting: Setting) -> Plan:
    """Return the actions of a build.

    Raises:
        Unsupported: a unit is compiled in a way that vx does not know.
    """
    planner = _CargoPlanner(graph, packages, setting)
    for index in graph.roots:
        planner.add(index)
    names = list(dict.fromkeys(packages[graph.units[index].pkg_id].id.name for index in graph.roots))
    name = names[0] if len(names) == 1 else posixpath.basename(setting.project_dir) or "workspace"
    return Plan(
        name,
        setting.project_dir,
        setting.root,
        setting.target or setting.tools.triple,
        setting.profile,
        tuple(planner.actions.values()),
        origins={
            tree.directory: tree.origin
            for action in planner.actions.values()
            if isinstance(tree := action.sources, Tree) and tree.origin
        },
    )


class _PlannedUnit(msgspec.Struct, frozen=True):
    """A unit's action, and what others have of it.

    Attributes:
        action: its id.
        own: its outputs that others are compiled with.
        behind: all outputs that linking with it needs, its own included.
        scripts: the build scripts of all that is linked with it.
    """

    action: str
    own: tuple[Need, ...] = ()
    behind: dict[tuple[str, str], Need] = {}
    scripts: tuple[ScriptUse, ...] = ()


class _CargoPlanner:
    def __init__(self, graph: Graph, packages: Mapping[str, CargoPackage], setting: Setting) -> None:
        self.actions: dict[str, Action] = {}
        self._units = graph.units
        # The programs that a test runs, by the path in CARGO_BIN_EXE_*, are put there as cargo puts them.
        started = (
            one.index
            for unit in graph.units
            if unit.mode == "test"
            for one in unit.dependencies
            if "bin" in graph.units[one.index].target.kind and not graph.units[one.index].is_run
        )
        self._roots = frozenset((*graph.roots, *started))
        self._packages = packages
        self._setting = setting
        self._around = Surroundings(graph, packages, setting)
        self._made: dict[int, _PlannedUnit] = {}
        self._cwd = posixpath.relpath(setting.project_dir, setting.root)

    def add(self, index: int) -> _PlannedUnit:
        """Return what a unit comes to, planned now if it was not."""
        if index not in self._made:
            unit = self._units[index]
            for error in _refused(unit, self._packages[unit.pkg_id]):
                raise error
            self._made[index] = self._run(index, unit) if unit.is_run else self._compile(index, unit)
        return self._made[index]

    # --- crates -----------------------------------------------------------------------------------

    def _compile(self, index: int, unit: Unit) -> _PlannedUnit:
        package = self._packages[unit.pkg_id]
        where = self._around.where(package)
        externs, needs, behind_scripts = self._needed(unit)
        own_script = self._own_script(unit)
        scripts = (*([own_script] if own_script is not None else []), *behind_scripts)
        is_script = "custom-build" in unit.target.kind
        crate = Crate(
            id=self._id(index, _what(unit)),
            title=f"{_called(package)} ({_what(unit)})",
            name=unit.target.crate_name,
            edition=unit.target.edition,
            root_file=posixpath.normpath(posixpath.join(where, self._around.inside(package, unit))),
            crate_types=unit.target.crate_types,
            tag=self._around.tag(index),
            options=self._options(unit, package),
            flags=self._around.flags(unit),
            sources=self._around.tree(package),
            env=self._around.env(unit, package),
            cwd=self._cwd if package.id.is_path else where,
            externs=tuple(externs),
            needs=needs,
            target=unit.platform or "",
            platform=unit.platform or self._setting.tools.triple,
            harness=unit.mode == "test",
            scripts=scripts,
            placed_as=self._placed_as(index, unit),
            reads_all=any("proc-macro" in unit.target.kind for unit in self._libraries(unit)),
        )
        action = self.actions[crate.id] = compile_action(crate, self._setting.tools)
        own = tuple(
            Need(action.id, path, f"{DEPS_DIR}/{posixpath.basename(path)}")
            for path, ending in outputs_of(crate).items()
            if unit.target.is_library and not crate.harness and ending not in ("a", "lib")
            and ("cdylib" not in unit.target.crate_types or ending == "rlib")
        )  # fmt: skip
        if is_script:
            (path,) = action.outputs
            own = (Need(action.id, path, f"{DEPS_DIR}/{crate.name}-{crate.tag}"),)
        closed = "proc-macro" in unit.target.kind
        behind = {} if closed else dict(needs)
        behind |= {(action.id, one.output): one for one in own}
        linked = () if closed else tuple(msgspec.structs.replace(one, role="linked") for one in scripts)
        return _PlannedUnit(action.id, own, behind, linked)

    def _needed(
        self, unit: Unit
    ) -> tuple[list[tuple[str, str]], dict[tuple[str, str], Need], list[ScriptUse]]:
        externs: list[tuple[str, str]] = []
        needs: dict[tuple[str, str], Need] = {}
        scripts: dict[str, ScriptUse] = {}
        for one in unit.dependencies:
            other = self._units[one.index]
            if other.is_run:
                continue
            made = self.add(one.index)
            if not other.target.is_library:
                continue  # a program that a test runs
            if not made.own:
                types = ", ".join(other.target.crate_types)
                if other.pkg_id == unit.pkg_id:
                    continue  # a program beside a library that only other languages link
                package = self._packages[other.pkg_id]
                raise Unsupported(
                    f"{package.directory}/Cargo.toml", f"depending on a library of type {types}"
                )
            externs += [(one.extern_crate_name, need.path) for need in made.own]
            needs |= made.behind
            scripts |= {use.action: use for use in made.scripts}
        if "proc-macro" in unit.target.kind:
            externs.append(("proc_macro", ""))
        return externs, needs, list(scripts.values())

    def _libraries(self, unit: Unit) -> list[Unit]:
        """Return the libraries that a unit is compiled with, by its own naming or by another's."""
        found: dict[int, None] = {}
        waiting = [one.index for one in unit.dependencies]
        while waiting:
            index = waiting.pop()
            other = self._units[index]
            if index in found or other.is_run or not other.target.is_library:
                continue
            found[index] = None
            if "proc-macro" not in other.target.kind:
                waiting += [one.index for one in other.dependencies]
        return [self._units[index] for index in found]

    def _options(self, unit: Unit, package: CargoPackage) -> dict[str, list[str]]:
        types = unit.target.crate_types
        beside = {one.pkg_id for one in self._units if self._packages[one.pkg_id].id.is_path}
        dynamic = "proc-macro" in types or ("dylib" in types and bool(beside - {unit.pkg_id}))
        executable = unit.mode == "test" or is_whole(types)
        return {
            "profile": [
                *(["-C", "prefer-dynamic"] if dynamic else []),
                *rustc_options(profile_of(unit.profile), executable=executable),
            ],
            "lints": list(package.facts.lints) if package.id.is_path else ["--cap-lints", "allow"],
            "features": feature_options(unit.features),
            "cfg": known_cfgs({*package.facts.features, *unit.features}),
        }

    def _placed_as(self, index: int, unit: Unit) -> str | None:
        kind, name = unit.target.kind[0], unit.target.name
        if index not in self._roots:
            return name if "dylib" in unit.target.crate_types else None
        if unit.mode == "test":
            return (
                f"benches/{name}"
                if kind == "bench"
                else f"tests/{name}"
                + ("" if kind == "test" else f".{'lib' if unit.target.is_library else kind}")
            )
        return f"examples/{name}" if kind == "example" else name

    # --- build scripts ----------------------------------------------------------------------------

    def _run(self, index: int, unit: Unit) -> _PlannedUnit:
        package = self._packages[unit.pkg_id]
        where = self._around.where(package)
        (program,) = [
            self.add(one.index)
            for one in unit.dependencies
            if not self._units[one.index].is_run and "custom-build" in self._units[one.index].target.kind
        ]
        tools = self._setting.tools
        env = self._around.script_env(unit, package, self._around.out_dir(index))
        uses = [
            self._use(one.index, "metadata")
            for one in unit.dependencies
            if self._units[one.index].is_run
        ]  # fmt: skip
        told = sorted(f"{name}={value}" for name, value in env.items() if name not in PLACES)
        action = Action(
            id=self._id(index, "run of the build script"),
            title=f"{_called(package)} (run of the build script)",
            tool=Tool(program.own[0].path, "", f"the build script of {package.id.name}"),
            kind="script",
            arguments=(),
            parts={
                "compiler": tools.rustc.identity,
                "linker": tools.linker.identity,
                "tool chain": tools.link.identity,
                **tools.env,
                "variables": "\n".join(told),
            },
            outputs=(),
            env=env,
            cwd=where if where != "." else "",
            sources=self._around.tree(package),
            needs=program.own,
            known=(tools.sysroot,) if tools.sysroot else (),
            machine=tools.link.files,
            scripts=tuple(uses),
            output_dir=self._around.out_dir(index),
        )
        self.actions[action.id] = action
        return _PlannedUnit(action.id)

    def _own_script(self, unit: Unit) -> ScriptUse | None:
        for one in unit.dependencies:
            other = self._units[one.index]
            if other.is_run and other.pkg_id == unit.pkg_id:
                return msgspec.structs.replace(self._use(one.index, "own"), places=self._where_words_go(unit))
        return None

    def _where_words_go(self, unit: Unit) -> tuple[str, ...]:
        """Return for which of a script's words this target is."""
        kind = unit.target.kind[0]
        has_library = any(
            one.target.is_library and one.pkg_id == unit.pkg_id and not one.is_run for one in self._units
        )
        found = []
        if unit.target.is_library or not has_library:
            found.append("libraries")
        if unit.mode == "test" or not unit.target.is_library or "cdylib" in unit.target.crate_types:
            found += ["links", kind, f"{kind}:{unit.target.name}"]
        if "cdylib" in unit.target.crate_types:
            found.append("cdylib")
        if unit.mode == "test":
            found.append("test")
        return tuple(dict.fromkeys(found))

    def _use(self, index: int, role: str) -> ScriptUse:
        made = self.add(index)
        package = self._packages[self._units[index].pkg_id]
        return msgspec.convert(
            {
                "action": made.action,
                "role": role,
                "out_dir": self._around.out_dir(index),
                "links": package.facts.links,
            },
            ScriptUse,
        )

    # --- names ------------------------------------------------------------------------------------

    def _id(self, index: int, what: str) -> str:
        package = self._packages[self._units[index].pkg_id]
        where = self._around.where(package)
        place = "" if where == "." else f" ({where})"
        name = f"{package.id.name}{place} {what}"
        # The same for this machine and for the target, or in two sets of features.
        return name if name not in self.actions else f"{name} {self._around.tag(index)}"


def profile_of(unit: UnitProfile) -> BuildProfile:
    """Return cargo's profile of a unit as ours."""
    debug = "0" if unit.debuginfo in (None, "none") else str(unit.debuginfo)
    lto = {"false": "", "true": "fat"}.get(unit.lto, unit.lto)
    return BuildProfile(
        opt_level=unit.opt_level,
        debug=debug,
        strip=_strip(unit.strip),
        debug_assertions=unit.debug_assertions,
        overflow_checks=unit.overflow_checks,
        lto=lto,
        panic=unit.panic,
        codegen_units=unit.codegen_units,
        rpath=unit.rpath,
    )


def _strip(value: object) -> str:
    """Return the name in `{"resolved": {"Named": NAME}}`; cargo has decided by then."""
    while isinstance(value, dict) and value:
        value = next(iter(value.values()))
    return str(value).lower()


def refused(graph: Graph, packages: Mapping[str, CargoPackage]) -> list[Unsupported]:
    """Return all that `plan` would refuse, each once."""
    found = {str(one): one for unit in graph.units for one in _refused(unit, packages[unit.pkg_id])}
    return list(found.values())


def _refused(unit: Unit, package: CargoPackage) -> Iterator[Unsupported]:
    path = f"{package.directory}/Cargo.toml"
    if unit.mode not in ("build", "test", "run-custom-build"):
        yield Unsupported(path, f"the mode {unit.mode!r} of {package.id.name}")
    if unit.is_std:
        yield Unsupported(path, "-Z build-std")
    profile = unit.profile
    if profile.split_debuginfo not in (None, "off"):
        what = f"split-debuginfo {profile.split_debuginfo!r} of the profile {profile.name}"
        yield Unsupported(path, what, "its second output is not kept")
    if profile.codegen_backend is not None:
        yield Unsupported(path, f"the codegen-backend {profile.codegen_backend!r}")
    if profile.rustflags:
        yield Unsupported(path, "a profile's rustflags", "RUSTFLAGS are for all of a build")


def _what(unit: Unit) -> str:
    kind = unit.target.kind[0]
    if kind == "custom-build":
        return "build script"
    what = {"lib": "lib", "rlib": "lib", "proc-macro": "proc macro"}.get(kind, kind)
    named = what if unit.target.is_library else f"{what} {unit.target.name}"
    return f"{named} tests" if unit.mode == "test" and kind != "test" else named


def _called(package: CargoPackage) -> str:
    return package.id.name if package.id.is_path else f"{package.id.name} {package.id.version}"
