"""cargo's unit graph: each crate that a build compiles, and each build script that it runs.

Owns the form in which cargo gives it (`cargo build --unit-graph`, version 1; the chapter on unstable
features of the Cargo book).  `ask` asks for it; `plan` makes actions of it.  Pure.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from vx.project.cargo_manifest import Facts

VERSION: Final = 1

# Before cargo 1.77: `name 1.0.0 (path+file:///...)`; since then `path+file:///...#name@1.0.0`.
_OLD_ID: Final = re.compile(r"(\S+) (\S+) \((.+)\)")


class GraphInvalid(Exception):
    """Cargo's output is not a unit graph of a known version."""


class UnitTarget(msgspec.Struct, frozen=True):
    """What of a package is compiled.

    Attributes:
        kind: `lib`, `rlib`, `bin`, `proc-macro`, `custom-build`, `example`, `test`, `bench`, ...
        crate_types: the kinds of its outputs.
        name: as the manifest has it.
        src_path: its root file, absolute.
        edition: of the language.
    """

    kind: tuple[str, ...]
    crate_types: tuple[str, ...]
    name: str
    src_path: str
    edition: str

    @property
    def crate_name(self) -> str:
        """The name as Rust has it."""
        return self.name.replace("-", "_")

    @property
    def is_library(self) -> bool:
        """Whether other crates are compiled with it."""
        return not {"bin", "custom-build", "example", "test", "bench"} & set(self.kind)


class UnitProfile(msgspec.Struct, frozen=True):
    """With which options it is compiled; see the profiles chapter of the Cargo book."""

    name: str
    opt_level: str
    lto: str
    debug_assertions: bool
    overflow_checks: bool
    rpath: bool
    panic: str
    debuginfo: int | str | None = None
    codegen_units: int | None = None
    codegen_backend: str | None = None
    split_debuginfo: str | None = None
    strip: Any = "none"
    rustflags: tuple[str, ...] = ()


class UnitDependency(msgspec.Struct, frozen=True):
    """Another unit that one needs, by its index, and the name that it has for it."""

    index: int
    extern_crate_name: str


class Unit(msgspec.Struct, frozen=True):
    """A crate that is compiled, or a build script that is run.

    Attributes:
        pkg_id: the package.
        target: what of it.
        profile: with which options.
        mode: `build`, `test` (with the test harness), `run-custom-build`.
        platform: the triple that `--target` named; None for what runs on this machine while it builds, and
            for everything where `--target` is not given.
        features: those that are turned on.
        dependencies: its dependencies.
        is_std: whether it is of the standard library (`-Z build-std`).
    """

    pkg_id: str
    target: UnitTarget
    profile: UnitProfile
    mode: str
    features: tuple[str, ...]
    dependencies: tuple[UnitDependency, ...]
    platform: str | None = None
    is_std: bool = False

    @property
    def is_run(self) -> bool:
        """Whether a build script is run."""
        return self.mode == "run-custom-build"


class Graph(msgspec.Struct, frozen=True):
    """All units of a build; `roots` are those that were asked for."""

    version: int
    units: tuple[Unit, ...]
    roots: tuple[int, ...]


class PackageId(msgspec.Struct, frozen=True):
    """A package.

    Attributes:
        name, version: of it.
        source: where it is from: `path+file:///src/a`, `registry+https://...`, `git+https://...`.
    """

    name: str
    version: str
    source: str

    @property
    def is_path(self) -> bool:
        """Whether it is one of the project's own, or beside it."""
        return self.source.startswith("path+")


class CargoPackage(msgspec.Struct, frozen=True):
    """A package.

    Attributes:
        id: its name, version and source.
        directory: where it is, absolute.
        facts: what its manifest says.
    """

    id: PackageId
    directory: str
    facts: Facts


def decode(data: bytes) -> Graph:
    """Return the graph that cargo printed.

    Raises:
        GraphInvalid: it is not a unit graph, or of another version.
    """
    try:
        graph = msgspec.json.decode(data, type=Graph)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise GraphInvalid(f"its unit graph cannot be read: {error}") from None
    if graph.version != VERSION:
        raise GraphInvalid(f"its unit graph has the version {graph.version}, and not {VERSION}")
    count = len(graph.units)
    named = [*graph.roots, *(one.index for unit in graph.units for one in unit.dependencies)]
    if any(not 0 <= index < count for index in named):
        raise GraphInvalid("its unit graph names a unit that is not in it")
    return graph


def package_id(text: str) -> PackageId:
    """Return a package's id in its parts."""
    old = _OLD_ID.fullmatch(text)
    if old is not None:
        return PackageId(old[1], old[2], old[3])
    source, _, fragment = text.rpartition("#")
    name, at, version = fragment.rpartition("@")
    if not at:
        name, version = source.partition("?")[0].rstrip("/").rpartition("/")[2], fragment
    return PackageId(name, version, source)
