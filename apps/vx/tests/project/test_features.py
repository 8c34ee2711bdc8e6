"""Which features are on."""

from __future__ import annotations

import pytest

from vx.project.cargo_manifest import Dependency, Package, Target
from vx.project.errors import ProjectInvalid, Unsupported
from vx.project.features import FeatureOptions, resolve

USUAL = FeatureOptions()


def package(name: str, features=None, dependencies=()) -> Package:
    return Package(
        name,
        "0",
        "2021",
        (Target(name, "lib", "src/lib.rs", ("lib",)),),
        tuple(dependencies),
        features or {},
        (),
        {},
    )


def on(packages, wanted=USUAL, links=None):
    links = links or {
        name: {one.name: one.name for one in of.dependencies if not one.refused}
        for name, of in packages.items()
    }
    return resolve(packages, links, ["top"], wanted)


def test_default_features_and_what_they_turn_on() -> None:
    found = on({"top": package("top", {"default": ("a",), "a": ("b",), "b": (), "c": ()})})
    assert found.features["top"] == {"default", "a", "b"}
    assert (
        on({"top": package("top", {"default": ("a",), "a": ()})}, FeatureOptions(default=False)).features[
            "top"
        ]
        == set()
    )


def test_a_package_has_all_that_anybody_asks_of_it() -> None:
    packages = {
        "top": package("top", {}, [Dependency("left", "left", ""), Dependency("right", "right", "")]),
        "left": package("left", {}, [Dependency("low", "low", "", features=("a",), default_features=False)]),
        "right": package(
            "right", {}, [Dependency("low", "low", "", features=("b",), default_features=False)]
        ),
        "low": package("low", {"default": ("c",), "a": (), "b": (), "c": ()}),
    }
    assert on(packages).features["low"] == {"a", "b"}


def test_an_optional_dependency_is_a_feature_of_its_name() -> None:
    packages = {
        "top": package("top", {}, [Dependency("low", "low", "", optional=True)]),
        "low": package("low"),
    }
    assert on(packages).dependencies["top"] == set()
    assert on(packages, FeatureOptions(("low",))).dependencies["top"] == {"low"}
    assert on(packages, FeatureOptions(all=True)).dependencies["top"] == {"low"}


def test_dep_hides_that_feature() -> None:
    packages = {
        "top": package("top", {"with": ("dep:low",)}, [Dependency("low", "low", "", optional=True)]),
        "low": package("low"),
    }
    assert on(packages, FeatureOptions(("with",))).dependencies["top"] == {"low"}
    with pytest.raises(ProjectInvalid, match="has the feature 'low'"):
        on(packages, FeatureOptions(("low",)))


def test_a_weak_feature_turns_nothing_on_by_itself() -> None:
    packages = {
        "top": package(
            "top",
            {"loud": ("low?/loud",), "low": ("dep:low",)},
            [Dependency("low", "low", "", optional=True)],
        ),
        "low": package("low", {"loud": ()}),
    }
    assert "low" not in on(packages, FeatureOptions(("loud",))).features
    assert on(packages, FeatureOptions(("loud", "low"))).features["low"] == {"loud"}


def test_what_is_refused_is_refused_when_it_is_turned_on() -> None:
    packages = {
        "top": package(
            "top",
            {},
            [Dependency("serde", "serde", "", optional=True, refused="the registry dependency serde")],
        )
    }
    assert on(packages).dependencies["top"] == set()
    with pytest.raises(Unsupported, match="the registry dependency serde is not supported"):
        on(packages, FeatureOptions(("serde",)))
