"""A value of another shape than its key has is one line that names the place, whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.typed_toml import parse
from vx.project import cargo_manifest
from vx.project.errors import ProjectInvalid

WHOLE: dict[str, Any] = {
    "package": {
        "name": "a",
        "version": "1.0.0",
        "edition": "2021",
        "authors": ["A"],
        "build": False,
        "rust-version": "1.60",
        "readme": True,
        "autobins": True,
        "metadata": {"vx": {"inputs": ["src/**"]}},
    },
    "lib": {"name": "a", "path": "src/lib.rs", "crate-type": ["lib"], "proc-macro": False},
    "bin": [{"name": "b", "path": "src/b.rs", "required-features": ["f"]}],
    "dependencies": {"c": {"path": "c", "features": ["x"], "optional": True, "default-features": False}},
    "dev-dependencies": {"d": "1"},
    "features": {"f": ["c"], "default": []},
    "profile": {"dev": {"opt-level": 1, "package": {"c": {"opt-level": 2}}}, "release": {"lto": True}},
    "lints": {"rust": {"unused": {"level": "warn", "priority": -1, "check-cfg": ["cfg(x)"]}, "y": "deny"}},
    "target": {"cfg(unix)": {"dependencies": {"e": {"path": "e"}}}},
    "workspace": {
        "members": ["m"],
        "exclude": ["n"],
        "package": {"version": "1.0.0"},
        "dependencies": {"c": {"path": "c"}},
        "lints": {"rust": {"unused": "warn"}},
    },
}


def toml(value: Any) -> str:
    """Return a value as TOML has it, in one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def places(value: Any, where: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the places of all values below the first level, and of those on it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [where] if where else []
    for key, one in items:
        found += places(one, (*where, key))
    return found


def with_value(value: Any, where: tuple[str | int, ...], other: Any) -> Any:
    """Return the value with another one at a place."""
    if not where:
        return other
    if isinstance(value, dict):
        return {
            key: with_value(one, where[1:], other) if key == where[0] else one for key, one in value.items()
        }
    return [
        with_value(one, where[1:], other) if number == where[0] else one for number, one in enumerate(value)
    ]


def read(manifest: dict[str, Any]) -> cargo_manifest.Package:
    """Read a manifest as a package."""
    text = "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in manifest.items())
    found = cargo_manifest.read(parse(text, "Cargo.toml"))
    return cargo_manifest.package(found, {"src/lib.rs", "build.rs"}, found.workspace)


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "1", "a b", "\0", "é", "../..", "workspace", "dep:c", "c?/x", "-", "2021"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["name", "path", "workspace", "dependencies", "level", "x", "package", "rust"]),
        inner,
        max_size=3,
    ),
    max_leaves=6,
)  # fmt: skip


@given(st.sampled_from(places(WHOLE)), VALUES)
def test_any_value_anywhere_is_read_or_one_line(where: tuple[str | int, ...], other: Any) -> None:
    line = "Cargo.toml:"
    try:
        read(with_value(WHOLE, where, other))
    except ProjectInvalid as error:
        line = str(error)
    assert line.startswith("Cargo.toml:")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bin = [1]", "1:1: bin: must be a list of tables: [[...]]"),
        ("bin = 7", "1:1: bin: must be a list of tables: [[...]]"),
        ("[package]\nname = {}", "2:1: package.name: must be a string"),
        ("[package]\nname = 'a'\nedition = 2021", "3:1: package.edition: must be a string"),
        ("[package]\nname = 'a'\nautobins = 'no'", "3:1: package.autobins: must be a boolean"),
        ("[package]\nname = 'a'\nmetadata.vx = 1", "3:10: package.metadata.vx: must be a table"),
        ("[dependencies]\nx = true", "2:1: dependencies.x: must be a version or table"),
        ("[dependencies]\nx = { path = 1 }", "2:7: dependencies.x.path: must be a string"),
        ("[dependencies]\nx = { path = 'x', features = 'f' }", "2:19: dependencies.x.features: must be"),
        ("[lints.rust]\nx = { priority = true }", "2:7: lints.rust.x.priority: must be a number"),
        ("workspace = 1", "1:1: workspace: must be a table"),
        ("[workspace]\nmembers = [1]", "2:1: workspace.members: must be a list of strings"),
        ('[workspace]\nmembers = ["\\u0000"]', "workspace.members[0]: has a NUL in it"),
        ("[target]\nx = 1", "2:1: target.x: must be a table"),
        ("[profile]\ndev = 1", "2:1: profile.dev: must be a table"),
        ('[package]\nname = "a\\u0000"', "2:1: package.name: has a NUL in it"),
    ],
)  # fmt: skip
def test_a_value_of_another_shape_is_named_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ProjectInvalid) as raised:
        cargo_manifest.read(parse(text, "Cargo.toml"))
    assert told in str(raised.value)
    assert str(raised.value).startswith("Cargo.toml:")
