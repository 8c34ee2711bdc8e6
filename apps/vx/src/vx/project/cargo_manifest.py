"""Cargo.toml, read as far as vx builds it: every key is understood, known to be harmless, or refused.

Owns what the keys mean; their source is the manifest chapter of the Cargo book.  Pure: a table in,
a value out; whoever looked says which files there are.  What it does not build (registry and
git dependencies, build scripts, procedural macros, ...) it refuses by name.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from daemonry.typed_toml import ConfigText, KeyPath, dotted
from vx.project import cargo_shapes
from vx.project.errors import invalid, unsupported
from vx.project.profile import BuildProfile, profiles_of


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


EDITIONS: Final = ("2015", "2018", "2021", "2024")

_PACKAGE_INERT: Final = _words(
    "authors autobenches autoexamples autotests categories default-run description documentation exclude"
    " homepage include keywords license license-file metadata publish readme repository resolver rust-version"
    " workspace"
)
_PACKAGE_READ: Final = frozenset(("name", "version", "edition", "build", "links", "autobins", "autolib"))
_TARGET_INERT: Final = _words(
    "test doctest bench doc doc-scrape-examples harness plugin required-features name path crate-type"
)
_TOP_INERT: Final = _words(
    "package lib bin example test bench dev-dependencies dev_dependencies features profile workspace badges"
    " lints dependencies hints"
)
_DEPENDENCY_KEYS: Final = _words(
    "path version optional default-features default_features features package workspace public"
)
_WORKSPACE_KEYS: Final = _words(
    "members exclude default-members package dependencies lints metadata resolver"
)
_CRATE_TYPES: Final = ("lib", "rlib", "staticlib", "cdylib")
_INHERITED: Final = _words(
    "version edition authors description homepage repository license license-file rust-version readme"
    " documentation keywords categories exclude include publish"
)


PATHS_ONLY: Final = "only path dependencies are built"


class Target(msgspec.Struct, frozen=True):
    """One library or program of a package.

    Attributes:
        name: as the manifest has it.
        kind: `lib` or `bin`.
        path: its root file, relative to the package.
        crate_types: the kinds of its outputs.
        required_features: without which it is left out.
    """

    name: str
    kind: str
    path: str
    crate_types: tuple[str, ...]
    required_features: tuple[str, ...] = ()

    @property
    def crate_name(self) -> str:
        """The name as Rust has it."""
        return self.name.replace("-", "_")


class Dependency(msgspec.Struct, frozen=True):
    """A dependency.

    Attributes:
        name: what the package calls it.
        package: the name that the package at `path` must have.
        path: relative to what named it: the package, or the workspace's root.
        from_workspace: whether `path` is relative to the workspace's root.
        optional: whether a feature turns it on.
        default_features: whether its default features are wanted.
        features: which others are.
        refused: its kind, for one that vx does not build; an optional one is refused only when a
            feature turns it on.
    """

    name: str
    package: str
    path: str
    from_workspace: bool = False
    optional: bool = False
    default_features: bool = True
    features: tuple[str, ...] = ()
    refused: str = ""


class Package(msgspec.Struct, frozen=True):
    """One package.

    Attributes:
        name: its name.
        version: its version.
        edition: of the language.
        targets: its library, if it has one, then its programs.
        dependencies: those that `vx build` needs.
        features: what each feature turns on.
        lints: options for the compiler, in their order.
        env: what cargo tells the compiler of the package, less what depends on where it is.
        inputs: patterns of the files that the compiler may see; empty for all of the package.
    """

    name: str
    version: str
    edition: str
    targets: tuple[Target, ...]
    dependencies: tuple[Dependency, ...]
    features: dict[str, tuple[str, ...]]
    lints: tuple[str, ...]
    env: dict[str, str]
    inputs: tuple[str, ...] = ()

    @property
    def library(self) -> Target | None:
        """Its library."""
        return next((one for one in self.targets if one.kind == "lib"), None)


class Workspace(msgspec.Struct, frozen=True):
    """A workspace's table.

    Attributes:
        members: patterns of directories, relative to it.
        exclude: directories that are not members.
        default_members: those that are built without being named; empty for the usual ones.
        package: fields that members inherit.
        dependencies: dependencies that members inherit.
        lints: lints that members inherit.
    """

    members: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    default_members: tuple[str, ...] = ()
    package: dict[str, Any] = {}
    dependencies: dict[str, Any] = {}
    lints: dict[str, Any] = {}


class CargoManifest(msgspec.Struct, frozen=True):
    """A Cargo.toml.

    Attributes:
        source: its text and its values.
        workspace: its workspace, if it is one's root.
        profiles: dev and release as it has them.
    """

    source: ConfigText
    workspace: Workspace | None
    profiles: dict[str, BuildProfile]

    @property
    def path(self) -> str:
        """The file."""
        return self.source.path

    @property
    def table(self) -> dict[str, Any]:
        """As TOML has it."""
        return self.source.values

    @property
    def has_package(self) -> bool:
        """Whether it is a package, and not only a workspace."""
        return "package" in self.table


def read(source: ConfigText) -> CargoManifest:
    """Return what a Cargo.toml says of itself alone.

    Raises:
        Unsupported: it asks for what vx does not do.
        ProjectInvalid: it contradicts itself.
    """
    cargo_shapes.check(source)
    table = source.values
    _check_top(source, table)
    workspace = None
    if "workspace" in table:
        workspace = _workspace(source, _table(source, table, "workspace"))
    if workspace is None and "package" not in table:
        raise invalid(source, (), "has neither [package] nor [workspace]")
    return CargoManifest(source, workspace, profiles_of(source, _table(source, table, "profile")))


def package(manifest: CargoManifest, files: Collection[str], workspace: Workspace | None) -> Package:
    """Return the package of a manifest.

    Args:
        manifest: the manifest.
        files: of `src/lib.rs`, `src/main.rs`, `src/bin/NAME.rs`, `src/bin/NAME/main.rs` and `build.rs`,
            those that are there.
        workspace: that it belongs to, from which it may inherit.

    Raises:
        Unsupported, ProjectInvalid: as `read`.
    """
    source, table = manifest.source, manifest.table
    fields = _inherit(source, dict(_table(source, table, "package")), workspace)
    name = _text(source, fields, ("package",), "name")
    if not name or not all(char.isalnum() or char in "-_" for char in name):
        raise invalid(source, ("package", "name"), f"{name!r} cannot be a package's name")
    _check_package(source, fields, files)
    edition = str(fields.get("edition", "2015"))
    if edition not in EDITIONS:
        raise unsupported(
            source, ("package", "edition"), f"edition {edition!r}", f"those known are {', '.join(EDITIONS)}"
        )
    inputs = fields.get("metadata", {}).get("vx", {}).get("inputs", [])
    return Package(
        name,
        str(fields.get("version", "0.0.0")),
        edition,
        tuple(_targets(source, table, fields, name, files)),
        tuple(_dependencies(source, table, workspace)),
        _features(source, table),
        tuple(_lints(source, table, workspace)),
        _env(fields, name),
        _texts(source, ("package", "metadata", "vx", "inputs"), inputs),
    )


class Facts(msgspec.Struct, frozen=True):
    """What of a package cargo does not tell beside its units.

    Attributes:
        links: the native library that it stands for; "" for none.
        env, lints, inputs: as `Package`.
        features: the names of all that it has.
    """

    links: str
    env: dict[str, str]
    lints: tuple[str, ...]
    inputs: tuple[str, ...]
    features: tuple[str, ...]


def facts(source: ConfigText, shared: Mapping[str, Any] | None, name: str, version: str) -> Facts:
    """Return the parts of a package's manifest that concern more than compiling, which cargo has understood.

    Args:
        source: the manifest.
        shared: its workspace's table, from which it may inherit.
        name: the package's.
        version: the package's.

    Raises:
        ProjectInvalid: a value has another shape than its key, or the workspace has none.
    """
    cargo_shapes.check(source)
    table = source.values
    given = shared or {}
    workspace = Workspace(package=given.get("package", {}), lints=given.get("lints", {}))
    fields = _inherit(source, dict(_table(source, table, "package")), workspace)
    fields["version"] = version
    package_inputs = fields.get("metadata", {}).get("vx", {}).get("inputs", [])
    return Facts(
        str(fields.get("links", "")),
        _env(fields, name),
        tuple(_lints(source, table, workspace)),
        tuple(package_inputs),
        tuple(_features(source, table)),
    )


def inherits(table: Mapping[str, Any]) -> bool:
    """Whether a package takes fields or lints of its workspace."""
    fields = [*table.get("package", {}).values(), table.get("lints", {})]
    return any(isinstance(one, dict) and one.get("workspace") is True for one in fields)


# --- the whole file -------------------------------------------------------------------------------


def _check_top(source: ConfigText, table: Mapping[str, Any]) -> None:
    for key in table:
        if key in _TOP_INERT:
            continue
        if key in ("build-dependencies", "build_dependencies"):
            continue  # only a build script sees them, and that is refused where it is
        if key in ("patch", "replace") and not table[key]:
            continue
        if key == "target":
            _check_platforms(source, table[key])
            continue
        raise unsupported(source, (key,), f"[{key}]")


def _check_platforms(source: ConfigText, table: Mapping[str, Any]) -> None:
    for condition, content in table.items():
        wanted = [key for key in content if key != "dev-dependencies" and content[key]]
        if wanted:
            raise unsupported(
                source,
                ("target", condition, wanted[0]),
                f"[target.{condition!r}.{wanted[0]}]",
                "name the dependency for all platforms",
            )


def _workspace(source: ConfigText, table: Mapping[str, Any]) -> Workspace:
    for key in table:
        if key not in _WORKSPACE_KEYS:
            raise unsupported(source, ("workspace", key), f"[workspace] {key}")
    return Workspace(
        _texts(source, ("workspace", "members"), table.get("members", [])),
        _texts(source, ("workspace", "exclude"), table.get("exclude", [])),
        _texts(source, ("workspace", "default-members"), table.get("default-members", [])),
        dict(table.get("package", {})),
        dict(table.get("dependencies", {})),
        dict(table.get("lints", {})),
    )


def _inherit(source: ConfigText, fields: dict[str, Any], workspace: Workspace | None) -> dict[str, Any]:
    for key, value in fields.items():
        if key in _INHERITED and isinstance(value, dict) and value.get("workspace") is True:
            if workspace is None or key not in workspace.package:
                raise invalid(source, ("package", key), "is the workspace's, which has none")
            fields[key] = workspace.package[key]
    return fields


def _check_package(source: ConfigText, fields: Mapping[str, Any], files: Collection[str]) -> None:
    for key in fields:
        if key not in _PACKAGE_READ and key not in _PACKAGE_INERT:
            raise unsupported(source, ("package", key), dotted(("package", key)))
    script = fields.get("build", "build.rs" if "build.rs" in files else False)
    if script is True:
        script = "build.rs"
    if script:
        raise unsupported(
            source, ("package", "build"), f"the build script {script}", "`build = false` leaves it out"
        )
    if "links" in fields:
        raise unsupported(source, ("package", "links"), "package.links")


# --- targets --------------------------------------------------------------------------------------


def _targets(
    source: ConfigText, table: Mapping[str, Any], fields: Mapping[str, Any], name: str, files: Collection[str]
) -> list[Target]:
    library = _library(source, table, name, files)
    found = ([library] if library is not None else []) + _programs(source, table, fields, name, files)
    names = [one.name for one in found if one.kind == "bin"]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise invalid(source, ("bin",), f"two programs are called {twice!r}")
    if not found:
        raise invalid(source, (), "no targets: neither src/lib.rs nor src/main.rs is there, nor a [[bin]]")
    return found


def _library(
    source: ConfigText, table: Mapping[str, Any], name: str, files: Collection[str]
) -> Target | None:
    given = _table(source, table, "lib")
    if "lib" not in table and "src/lib.rs" not in files:
        return None
    if given.get("proc-macro") or given.get("proc_macro"):
        raise unsupported(source, ("lib",), f"the procedural macro {given.get('name', name)}")
    _check_target(source, ("lib",), given)
    types = _texts(source, ("lib", "crate-type"), given.get("crate-type", ["lib"]))
    for one in types:
        if one == "proc-macro":
            raise unsupported(source, ("lib",), f"the procedural macro {given.get('name', name)}")
        if one not in _CRATE_TYPES:
            raise unsupported(
                source,
                ("lib", "crate-type"),
                f"lib.crate-type {one!r}",
                f"those known are {', '.join(_CRATE_TYPES)}",
            )
    return Target(
        str(given.get("name", name.replace("-", "_"))), "lib", str(given.get("path", "src/lib.rs")), types
    )


def _programs(
    source: ConfigText, table: Mapping[str, Any], fields: Mapping[str, Any], name: str, files: Collection[str]
) -> list[Target]:
    seen = _discovered(name, files)
    found: dict[str, Target] = {}
    listed = table.get("bin", [])
    if not isinstance(listed, list):
        raise invalid(source, ("bin",), "[[bin]] is written with two brackets")
    for number, given in enumerate(listed):
        _check_target(source, ("bin", number), given)
        called = _text(source, given, ("bin", number), "name")
        where = given.get("path") or seen.get(called)
        if where is None:
            raise invalid(
                source,
                ("bin", number),
                f"the program {called!r} has no path, and src/bin/{called}.rs is not there",
            )
        needed = _texts(source, ("bin", number, "required-features"), given.get("required-features", []))
        found[called] = Target(called, "bin", str(where), ("bin",), needed)
    if fields.get("autobins", True):
        taken = {one.path for one in found.values()}
        for called, where in seen.items():
            if called not in found and where not in taken:
                found[called] = Target(called, "bin", where, ("bin",))
    return list(found.values())


def _discovered(name: str, files: Collection[str]) -> dict[str, str]:
    """Return the programs that cargo finds by their places."""
    found = {name: "src/main.rs"} if "src/main.rs" in files else {}
    for file in sorted(files):
        if file.startswith("src/bin/"):
            inside = file.removeprefix("src/bin/")
            called = posixpath.dirname(inside) if inside.endswith("/main.rs") else inside.removesuffix(".rs")
            if "/" not in called:
                found.setdefault(called, file)
    return found


def _check_target(source: ConfigText, where: KeyPath, given: Mapping[str, Any]) -> None:
    for key in given:
        if key not in _TARGET_INERT and key not in ("proc-macro", "proc_macro"):
            raise unsupported(source, (*where, key), f"{where[0]}.{key}")


# --- dependencies, features, lints ----------------------------------------------------------------


def _dependencies(
    source: ConfigText, table: Mapping[str, Any], workspace: Workspace | None
) -> list[Dependency]:
    return [
        _dependency(source, name, given, workspace)
        for name, given in _table(source, table, "dependencies").items()
    ]


def _dependency(source: ConfigText, name: str, given: Any, workspace: Workspace | None) -> Dependency:
    fields: dict[str, Any] = given if isinstance(given, dict) else {"version": given}
    from_workspace = fields.get("workspace") is True
    if from_workspace:
        if workspace is None or name not in workspace.dependencies:
            raise invalid(source, ("dependencies", name), "is the workspace's, which has none")
        shared = workspace.dependencies[name]
        shared = dict(shared) if isinstance(shared, dict) else {"version": shared}
        own = {key: value for key, value in fields.items() if key != "workspace"}
        shared["features"] = [*shared.get("features", []), *own.pop("features", [])]
        fields = {**shared, **own}
    optional = bool(fields.get("optional", False))
    if "path" not in fields:
        refused = f"the {'git' if 'git' in fields else 'registry'} dependency {name}"
        if optional:
            return Dependency(name, name, "", optional=True, refused=refused)
        raise unsupported(source, ("dependencies", name), refused, PATHS_ONLY)
    for key in fields:
        if key not in _DEPENDENCY_KEYS:
            raise unsupported(source, ("dependencies", name, key), f"the dependency {name}'s {key}")
    default = fields.get("default-features", fields.get("default_features", True))
    return Dependency(
        name,
        str(fields.get("package", name)),
        str(fields["path"]),
        from_workspace,
        optional,
        bool(default),
        _texts(source, ("dependencies", name, "features"), fields.get("features", [])),
    )


def _features(source: ConfigText, table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    given = _table(source, table, "features")
    return {name: _texts(source, ("features", name), what) for name, what in given.items()}


def _lints(source: ConfigText, table: Mapping[str, Any], workspace: Workspace | None) -> list[str]:
    lints = _table(source, table, "lints")
    if lints.get("workspace") is True:
        lints = dict(workspace.lints) if workspace is not None else {}
    found: list[tuple[int, str, list[str]]] = []
    for tool, rules in lints.items():
        if tool != "rust":
            continue  # other tools read their own
        for lint, given in rules.items():
            rule = given if isinstance(given, dict) else {"level": given}
            level = str(rule.get("level", ""))
            if level not in ("allow", "warn", "deny", "forbid"):
                raise invalid(source, ("lints", "rust", lint), f"has the level {level!r}")
            options = [f"--{level}={lint}"]
            for check in rule.get("check-cfg", []):
                options += ["--check-cfg", str(check)]
            found.append((int(rule.get("priority", 0)), lint, options))
    # The last option counts, so those of low priority come first; within one, cargo goes by name, reversed.
    found.sort(key=lambda one: one[1], reverse=True)
    found.sort(key=lambda one: one[0])
    return [option for _, _, options in found for option in options]


def _env(fields: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return the variables about the package that the compiler gets, as cargo sets them."""
    version = str(fields.get("version", "0.0.0"))
    numbers, _, pre = version.partition("+")[0].partition("-")
    major, minor, patch = (*numbers.split("."), "", "", "")[:3]
    authors = fields.get("authors", [])
    return {
        "CARGO_PKG_VERSION": version,
        "CARGO_PKG_VERSION_MAJOR": major,
        "CARGO_PKG_VERSION_MINOR": minor,
        "CARGO_PKG_VERSION_PATCH": patch,
        "CARGO_PKG_VERSION_PRE": pre,
        "CARGO_PKG_AUTHORS": ":".join(map(str, authors)) if isinstance(authors, list) else "",
        "CARGO_PKG_NAME": name,
        "CARGO_PKG_DESCRIPTION": str(fields.get("description", "")),
        "CARGO_PKG_HOMEPAGE": str(fields.get("homepage", "")),
        "CARGO_PKG_REPOSITORY": str(fields.get("repository", "")),
        "CARGO_PKG_LICENSE": str(fields.get("license", "")),
        "CARGO_PKG_LICENSE_FILE": str(fields.get("license-file", "")),
        "CARGO_PKG_RUST_VERSION": str(fields.get("rust-version", "")),
        "CARGO_PKG_README": str(fields["readme"]) if isinstance(fields.get("readme"), str) else "",
    }


# --- values ---------------------------------------------------------------------------------------


def _table(source: ConfigText, table: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = table.get(key, {})
    if not isinstance(found, dict):
        raise invalid(source, (key,), "must be a table")
    return found


def _text(source: ConfigText, table: Mapping[str, Any], where: KeyPath, key: str) -> str:
    found = table.get(key)
    if not isinstance(found, str):
        raise invalid(source, (*where, key), "is missing" if found is None else "must be a string")
    return found


def _texts(source: ConfigText, where: KeyPath, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise invalid(source, where, "must be a list of strings")
    return tuple(value)
