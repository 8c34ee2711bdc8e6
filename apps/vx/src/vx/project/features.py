"""Which features of which packages a build turns on.

Owns cargo's rules for it (the features chapter of the Cargo book): features only add, and a package
that is built once has all that anybody asks of it.  Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from vx.project.cargo_manifest import PATHS_ONLY, Dependency, Package
from vx.project.errors import ProjectInvalid, Unsupported


class FeatureOptions(msgspec.Struct, frozen=True):
    """The feature options of the command line.

    Attributes:
        names: features, as `NAME` or `PACKAGE/NAME`.
        default: whether default features count.
        all: whether every feature does.
    """

    names: tuple[str, ...] = ()
    default: bool = True
    all: bool = False


class Resolved(msgspec.Struct):
    """The features that are turned on.

    Attributes:
        features: by package directory.
        dependencies: the active ones, by package directory: their names.
    """

    features: dict[str, set[str]]
    dependencies: dict[str, set[str]]


def known_features(package: Package) -> dict[str, tuple[str, ...]]:
    """Return a package's features, those included that optional dependencies are by their names."""
    named = {
        spec.removeprefix("dep:")
        for what in package.features.values()
        for spec in what
        if spec.startswith("dep:")
    }
    found = dict(package.features)
    for one in package.dependencies:
        if one.optional and one.name not in named and one.name not in found:
            found[one.name] = (f"dep:{one.name}",)
    return found


def resolve(
    packages: Mapping[str, Package],
    links: Mapping[str, Mapping[str, str]],
    selected: Sequence[str],
    wanted: FeatureOptions,
) -> Resolved:
    """Return the features that are turned on.

    Args:
        packages: by directory.
        links: for each package directory, the directories of its dependencies by their names.
        selected: the directories of the packages to build.
        wanted: the feature options.

    Raises:
        ProjectInvalid: a feature that is asked for does not exist.
    """
    return _Resolver(packages, links).resolve(selected, wanted)


class _Resolver:
    def __init__(self, packages: Mapping[str, Package], links: Mapping[str, Mapping[str, str]]) -> None:
        self._packages = packages
        self._links = links
        self._on = Resolved({}, {})
        self._weak: list[tuple[str, str, str]] = []

    def resolve(self, selected: Sequence[str], wanted: FeatureOptions) -> Resolved:
        for where in selected:
            self._take(where)
            if wanted.default or wanted.all:
                self._default(where)
            if wanted.all:
                for name in known_features(self._packages[where]):
                    self._feature(where, name)
        for name in wanted.names:
            self._asked(selected, name)
        while self._weak_ones():
            pass
        return self._on

    def _asked(self, selected: Sequence[str], name: str) -> None:
        package_name, slash, feature = name.rpartition("/")
        having = [
            where
            for where in selected
            if (not slash or self._packages[where].name == package_name)
            and feature in known_features(self._packages[where])
        ]
        if not having:
            raise ProjectInvalid("Cargo.toml", f"no package that is built has the feature {name!r}")
        for where in having:
            self._feature(where, feature)

    def _take(self, where: str) -> None:
        if where in self._on.features:
            return
        self._on.features[where] = set()
        self._on.dependencies[where] = set()
        for one in self._packages[where].dependencies:
            if not one.optional:
                self._dependency(where, one)

    def _default(self, where: str) -> None:
        if "default" in self._packages[where].features:
            self._feature(where, "default")

    def _dependency(self, where: str, one: Dependency) -> None:
        if one.name in self._on.dependencies[where]:
            return
        if one.refused:
            raise Unsupported(f"{where}/Cargo.toml", one.refused, PATHS_ONLY)
        self._on.dependencies[where].add(one.name)
        target = self._links[where][one.name]
        self._take(target)
        if one.default_features:
            self._default(target)
        for feature in one.features:
            self._feature(target, feature)

    def _feature(self, where: str, name: str) -> None:
        self._take(where)
        if name in self._on.features[where]:
            return
        package = self._packages[where]
        known = known_features(package)
        if name not in known:
            raise ProjectInvalid(f"{where}/Cargo.toml", f"the package {package.name} has no feature {name!r}")
        self._on.features[where].add(name)
        for spec in known[name]:
            self._spec(where, spec)

    def _spec(self, where: str, spec: str) -> None:
        name, slash, feature = spec.partition("/")
        if spec.startswith("dep:"):
            self._dependency(where, self._named(where, spec.removeprefix("dep:"), spec))
        elif not slash:
            self._feature(where, spec)
        elif name.endswith("?"):
            self._named(where, name[:-1], spec)
            self._weak.append((where, name[:-1], feature))
        else:
            one = self._named(where, name, spec)
            self._dependency(where, one)
            if one.optional and name in known_features(self._packages[where]):
                self._feature(where, name)
            self._feature(self._links[where][name], feature)

    def _named(self, where: str, name: str, spec: str) -> Dependency:
        for one in self._packages[where].dependencies:
            if one.name == name:
                return one
        raise ProjectInvalid(f"{where}/Cargo.toml", f"{spec!r} names no dependency")

    def _weak_ones(self) -> bool:
        """Turn on features of dependencies that are active by now; whether that changed anything."""
        waiting, self._weak = self._weak, []
        changed = False
        for where, name, feature in waiting:
            if name not in self._on.dependencies[where]:
                self._weak.append((where, name, feature))
                continue
            target = self._links[where][name]
            if feature not in self._on.features[target]:
                self._feature(target, feature)
                changed = True
        return changed
