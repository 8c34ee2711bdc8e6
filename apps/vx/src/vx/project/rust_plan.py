"""From packages to actions: which crates are compiled, with which options, after which others.

Owns the compiler's command line, which follows cargo's where there is a choice, and the names of the
parts that a key is made of.  Pure: a project and tools in, a plan out.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

import msgspec

from vx import digests
from vx.project import link_search
from vx.project.action import DEPS_DIR, OUT_DIR, Action, Need, Plan, Tool, Tree, as_file
from vx.project.cargo_manifest import Package, Target
from vx.project.environment import BOOTSTRAP
from vx.project.errors import ProjectInvalid, Unsupported
from vx.project.features import Resolved, Wanted, known_features, resolve
from vx.project.link_search import Link
from vx.project.profile import Profile, rustc_options


class RustTools(msgspec.Struct, frozen=True):
    """What Rust is compiled with.

    Attributes:
        rustc: the compiler.
        linker: what it links with.
        triple: the platform that is compiled for.
        link: how it links.
        sysroot: the folder of the compiler's own files; "" where that is not known.
        env: variables that say where to look for libraries.
        processor: what `target-cpu=native` stands for; "" where nobody asks.
        bootstrap: RUSTC_BOOTSTRAP; "" where it is not set.
    """

    rustc: Tool
    linker: Tool
    triple: str
    link: Link = Link()
    sysroot: str = ""
    env: dict[str, str] = {}
    processor: str = ""
    bootstrap: str = ""


class RustProject(msgspec.Struct, frozen=True):
    """Packages, and how they hang together.

    Attributes:
        project_dir: the workspace's root, or the package's directory; absolute.
        root: a directory above all packages; absolute.
        packages: by directory, relative to `root`.
        links: for each package, the directories of its dependencies by their names.
        selected: what is built.
        profiles: dev and release.
    """

    project_dir: str
    root: str
    packages: dict[str, Package]
    links: dict[str, dict[str, str]]
    selected: tuple[str, ...]
    profiles: dict[str, Profile]


def plan(
    project: RustProject, tools: RustTools, profile: str, wanted: Wanted, flags: Sequence[str] = ()
) -> Plan:
    """Return the actions of a build.

    Args:
        project: what is built.
        tools: by what.
        profile: dev or release.
        wanted: the features asked for.
        flags: further options for the compiler (RUSTFLAGS).

    Raises:
        ProjectInvalid: dependencies go round in a circle, or a feature does not exist.
        Unsupported: a library that is needed cannot be linked into another.
    """
    planner = _Planner(
        project, tools, profile, resolve(project.packages, project.links, project.selected, wanted), flags
    )
    for where in project.selected:
        planner.add_package(where)
    first = project.packages[project.selected[0]].name
    name = first if len(project.selected) == 1 else posixpath.basename(project.project_dir) or first
    return Plan(
        name, project.project_dir, project.root, tools.triple, profile, tuple(planner.actions.values())
    )


class _Planner:
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
        self._behind: dict[str, dict[str, Need]] = {}

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
        executable = "lib" not in target.crate_types and "rlib" not in target.crate_types
        links = executable or bool({"cdylib"} & set(target.crate_types))
        outputs = _outputs(target, tag, self._tools.triple)
        action_id = _id(package, where, target)
        features = sorted(self._on.features[where])
        options = {
            "profile": [*rustc_options(self._options, executable=executable), *package.lints],
            "features": [word for one in features for word in ("--cfg", f'feature="{one}"')],
            "cfg": _check_cfg(package),
            "flags": [*self._flags],
        }
        root_file = as_file(posixpath.relpath(posixpath.join(where, target.path), self._cwd or "."))
        out = posixpath.relpath(OUT_DIR, self._cwd or ".")
        tells = links and bool(self._tools.link.told_by)
        told = f"{target.crate_name}.link.d"
        arguments = [
            "--crate-name", target.crate_name, f"--edition={package.edition}", root_file,
            "--error-format=json", "--json=diagnostic-rendered-ansi",
            *(word for one in target.crate_types for word in ("--crate-type", one)),
            "--emit=dep-info,link",
            *options["profile"], *options["features"], *options["cfg"],
            "-C", f"metadata={tag}",
            *(["-C", f"extra-filename=-{tag}"] if target.kind == "lib" else []),
            "--out-dir", out,
            *(["-C", "linker=%{helper}"] if links else []),
            *(["-L", f"dependency={posixpath.relpath(DEPS_DIR, self._cwd or '.')}"] if needs else []),
            *externs,
            *options["flags"],
            *(["-C", f"link-arg={self._tools.link.told_by}{out}/{told}"] if tells else []),
        ]  # fmt: skip
        suffix = f"-{tag}" if target.kind == "lib" else ""
        self.actions[action_id] = Action(
            id=action_id,
            title=f"{package.name} ({'lib' if target.kind == 'lib' else 'bin ' + target.name})",
            tool=self._tools.rustc,
            helper=self._tools.linker if links else None,
            kind="rustc",
            arguments=tuple(arguments),
            parts=_parts(package, target, self._tools, options, links=links),
            outputs=tuple(outputs),
            env=self._env(package, where, target),
            cwd="" if self._cwd == "." else self._cwd,
            sources=Tree("" if where == "." else where, package.inputs),
            needs=tuple(needs.values()),
            dep_files=(
                f"{OUT_DIR}/{target.crate_name}{suffix}.d",
                *((f"{OUT_DIR}/{told}",) if tells else ()),
            ),
            tells=tells or not links,
            libraries=(
                *link_search.folders_named(self._flags),
                *(self._tools.link.folders if links else ()),
            ),
            linked=tuple(link_search.libraries_named(self._flags)),
            files=tuple(link_search.files_named(self._flags)),
            known=(self._tools.sysroot,) if self._tools.sysroot else (),
            places=outputs if where in self._project.selected else {},
        )
        if target.kind == "lib":
            library = next((one for one in outputs if one.endswith(".rlib")), None)
            self._behind[where] = dict(needs)
            if library is not None:
                own = Need(action_id, library, f"{DEPS_DIR}/{posixpath.basename(library)}")
                self._behind[where][action_id] = own

    def _externs(self, where: str, target: Target) -> tuple[list[str], dict[str, Need]]:
        """Return the options that name what this crate uses, and all that is needed for them."""
        package = self._project.packages[where]
        externs: list[str] = []
        needs: dict[str, Need] = {}
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
            assert library is not None
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
            externs += ["--extern", f"{called}={posixpath.relpath(own[0].path, self._cwd or '.')}"]
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


def _outputs(target: Target, tag: str, triple: str) -> dict[str, str]:
    """Return what is made, and what the user finds it as."""
    if target.kind == "bin":
        return {f"{OUT_DIR}/{target.crate_name}": target.name}
    shared = "dylib" if "-apple-" in triple else "so"
    endings = {"lib": "rlib", "rlib": "rlib", "staticlib": "a", "cdylib": shared}
    return {
        f"{OUT_DIR}/lib{target.crate_name}-{tag}.{ending}": f"lib{target.crate_name}.{ending}"
        for ending in dict.fromkeys(endings[one] for one in target.crate_types)
    }


def _check_cfg(package: Package) -> list[str]:
    values = ", ".join(f'"{one}"' for one in sorted(known_features(package)))
    return ["--check-cfg", "cfg(docsrs,test)", "--check-cfg", f"cfg(feature, values({values}))"]


def _parts(
    package: Package, target: Target, tools: RustTools, options: Mapping[str, Sequence[str]], *, links: bool
) -> dict[str, str]:
    return {
        "compiler": tools.rustc.identity,
        **(
            {"linker": tools.linker.identity, "tool chain": tools.link.identity, **tools.env} if links else {}
        ),
        **({"processor": tools.processor} if tools.processor else {}),
        **({BOOTSTRAP: tools.bootstrap} if tools.bootstrap else {}),
        "platform": tools.triple,
        "edition": package.edition,
        "crate": f"{target.crate_name} {' '.join(target.crate_types)} {target.path}",
        **{name: " ".join(words) for name, words in options.items()},
    }
