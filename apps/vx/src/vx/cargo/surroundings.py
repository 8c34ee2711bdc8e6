"""The surroundings of a unit: where its package stands, its variables, and its tag.

Owns the environment that cargo gives to compilers and to build scripts (the chapter on environment
variables of the Cargo book), and the places of packages.  Crates of a registry stand in
`.crates/NAME-VERSION`, wherever cargo keeps them, so that another machine's are the same.  Pure.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Final

import msgspec

from vx import digests
from vx.cargo.graph import CargoPackage, Graph, Unit
from vx.cargo.script import ROOT_MARK
from vx.project.action import CRATES_DIR, SCRIPTS_DIR, Tree
from vx.project.environment import BOOTSTRAP
from vx.project.rust_compile import RustTools

_CRATES_IO: Final = "registry+https://github.com/rust-lang/crates.io-index"
# Where programs are, and how many run at once: no part of what a script makes.
PLACES: Final = ("CARGO", "NUM_JOBS", "RUSTC", "RUSTDOC")


class Setting(msgspec.Struct, frozen=True):
    """What a plan is made with, beside the units.

    Attributes:
        project_dir: the workspace's root, or the package's directory; absolute.
        root: a directory above all of the project's packages; absolute.
        profile: its name.
        is_release: whether it is release, or follows from it.
        target: the platform that `--target` named; "" for none.
        tools: by what all is compiled.
        cargo: the program, for crates that ask.
        cfgs: conditions that hold, by platform, as rustc prints them; "" for this machine's.
        flags: RUSTFLAGS.
    """

    project_dir: str
    root: str
    profile: str
    is_release: bool
    tools: RustTools
    cargo: str
    cfgs: dict[str, str]
    flags: tuple[str, ...] = ()
    target: str = ""


class Surroundings:
    """The surroundings of a graph's units.

    Args:
        graph: the units.
        packages: by their ids.
        setting: the tools that compile them.
    """

    def __init__(self, graph: Graph, packages: Mapping[str, CargoPackage], setting: Setting) -> None:
        self._units = graph.units
        self._packages = packages
        self._setting = setting
        self._primary = {graph.units[index].pkg_id for index in graph.roots}
        self._tags: dict[int, str] = {}

    def flags(self, unit: Unit) -> tuple[str, ...]:
        """Return RUSTFLAGS: with `--target` they are for the target alone."""
        return self._setting.flags if unit.platform is not None or not self._setting.target else ()

    def script_env(self, unit: Unit, package: CargoPackage, out_dir: str) -> dict[str, str]:
        """Return the variables of a build script."""
        setting = self._setting
        where = self.where(package)
        directory = ROOT_MARK if where == "." else f"{ROOT_MARK}/{where}"
        profile = unit.profile
        links = package.facts.links
        return {
            **setting.tools.env,
            **package.facts.env,
            **_cfg_variables(setting.cfgs[unit.platform or ""], unit),
            **{f"CARGO_FEATURE_{_upper(one)}": "1" for one in unit.features},
            **({"CARGO_MANIFEST_LINKS": links} if links else {}),
            **({BOOTSTRAP: setting.tools.bootstrap} if setting.tools.bootstrap else {}),
            "CARGO": setting.cargo,
            "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(self.flags(unit)),
            "CARGO_MANIFEST_DIR": directory,
            "CARGO_MANIFEST_PATH": f"{directory}/Cargo.toml",
            "DEBUG": "false" if profile.debuginfo in (None, 0, "none") else "true",
            "HOST": setting.tools.triple,
            "NUM_JOBS": "2",
            "OPT_LEVEL": profile.opt_level,
            "OUT_DIR": f"{ROOT_MARK}/{out_dir}",
            "PROFILE": "release" if setting.is_release else "debug",
            "RUSTC": setting.tools.rustc.path,
            "RUSTDOC": posixpath.join(posixpath.dirname(setting.tools.rustc.path), "rustdoc"),
            "TARGET": unit.platform or setting.tools.triple,
        }

    def where(self, package: CargoPackage) -> str:
        """Return where a package stands, relative to the source root."""
        one = package.id
        if one.is_path:
            return posixpath.relpath(package.directory, self._setting.root)
        source = "" if one.source == _CRATES_IO else "-" + digests.of_bytes(one.source.encode())[:8]
        return f"{CRATES_DIR}/{one.name}-{one.version}{source}"

    def inside(self, package: CargoPackage, unit: Unit) -> str:
        """Return a unit's root file, relative to its package."""
        return posixpath.relpath(unit.target.src_path, package.directory)

    def tree(self, package: CargoPackage) -> Tree:
        """Return the files that compilers may see of a package."""
        where = self.where(package)
        if package.id.is_path:
            return Tree("" if where == "." else where, package.facts.inputs)
        return Tree(where, (), package.directory)

    def env(self, unit: Unit, package: CargoPackage) -> dict[str, str]:
        """Return the variables of a compiler."""
        tools = self._setting.tools
        env = {
            **tools.env,
            **({BOOTSTRAP: tools.bootstrap} if tools.bootstrap else {}),
            **package.facts.env,
            "CARGO": self._setting.cargo,
            "CARGO_CRATE_NAME": unit.target.crate_name,
            "CARGO_MANIFEST_DIR": package.directory,
            "CARGO_MANIFEST_PATH": f"{package.directory}/Cargo.toml",
        }
        if unit.pkg_id in self._primary:
            env["CARGO_PRIMARY_PACKAGE"] = "1"
        if {"bin", "example"} & set(unit.target.kind):
            env["CARGO_BIN_NAME"] = unit.target.name
        folder = posixpath.join(
            self._setting.project_dir,
            ".vx/build",
            self._setting.target or tools.triple,
            self._setting.profile,
        )
        for one in unit.dependencies:
            other = self._units[one.index]
            if unit.mode == "test" and "bin" in other.target.kind and not other.is_run:
                env[f"CARGO_BIN_EXE_{other.target.name}"] = f"{folder}/{other.target.name}"
        return env

    def out_dir(self, index: int) -> str:
        """Return where a build script's files are, relative to the root."""
        return f"{SCRIPTS_DIR}/{self.tag(index)}/out"

    def tag(self, index: int) -> str:
        """Return what tells a unit's outputs from those of others of its name."""
        found = self._tags.get(index)
        if found is None:
            unit = self._units[index]
            package = self._packages[unit.pkg_id]
            known = [
                package.id.name,
                package.id.version,
                self.where(package),
                unit.target.kind,
                unit.target.name,
                unit.mode,
                unit.platform,
                sorted(unit.features),
                unit.profile,
                [(one.extern_crate_name, self.tag(one.index)) for one in unit.dependencies],
            ]
            found = self._tags[index] = digests.of_bytes(msgspec.json.encode(known))[:16]
        return found


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")


def _cfg_variables(told: str, unit: Unit) -> dict[str, str]:
    """Return CARGO_CFG_*, from what `rustc --print cfg` says, the unit's features and its profile."""
    found: dict[str, list[str]] = {"feature": list(unit.features)}
    if unit.profile.debug_assertions:
        found["debug_assertions"] = []
    for line in told.splitlines():
        name, equals, value = line.partition("=")
        if name == "debug_assertions":  # rustc's default, and not the profile's
            continue
        values = found.setdefault(name, [])
        if equals:
            values.append(value.strip('"'))
    return {f"CARGO_CFG_{_upper(name)}": ",".join(values) for name, values in found.items()}
