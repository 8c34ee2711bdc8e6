"""The shapes of a Cargo.toml's values: where a string belongs, where a list, where a table.

Owns one table of them, from the manifest chapter of the Cargo book, and the comparison.  Keys that are not in
the table are somebody else's to judge.  A manifest that has passed can be read without asking again.  Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from daemonry.typed_toml import ConfigText, KeyPath
from vx.project.errors import invalid


class Shape(msgspec.Struct, frozen=True):
    """Which values a key may have.

    Attributes:
        name: in an error: `no string`.
        kinds: the TOML types that fit.
        each: the shape of a list's items, or of each value of a table.
        keys: the shapes of a table's known keys.
    """

    name: str
    kinds: tuple[type, ...]
    each: Shape | None = None
    keys: Mapping[str, Shape] = {}


_TEXT: Final = Shape("string", (str,))
_FLAG: Final = Shape("boolean", (bool,))
_NUMBER: Final = Shape("number", (int,))
_TEXTS: Final = Shape("list of strings", (list,), _TEXT)
_TABLE: Final = Shape("table", (dict,))


def _table(name: str = "table", each: Shape | None = None, **keys: Shape) -> Shape:
    return Shape(name, (dict,), each, {key.replace("_", "-"): one for key, one in keys.items()})


def _or_inherited(shape: Shape) -> Shape:
    """Return the shape of a value that a member may leave to its workspace: `{ workspace = true }`."""
    return Shape(shape.name, (*shape.kinds, dict), shape.each, {"workspace": _FLAG})


_FLAG_OR_TEXT: Final = Shape("string or boolean", (bool, str))
_PUBLISH: Final = Shape("boolean or list of strings", (bool, list), _TEXT)

_FIELDS: Final[Mapping[str, Shape]] = {
    **dict.fromkeys(
        (
            *("version", "edition", "description", "homepage", "documentation", "repository", "license"),
            *("license-file", "rust-version"),
        ),
        _or_inherited(_TEXT),
    ),
    **dict.fromkeys(("authors", "keywords", "categories", "exclude", "include"), _or_inherited(_TEXTS)),
    "readme": _or_inherited(_FLAG_OR_TEXT),
    "publish": _or_inherited(_PUBLISH),
}
_PACKAGE: Final = Shape(
    "table",
    (dict,),
    None,
    {
        **_FIELDS,
        **dict.fromkeys(("name", "workspace", "links", "default-run", "resolver"), _TEXT),
        **dict.fromkeys(("autolib", "autobins", "autoexamples", "autotests", "autobenches"), _FLAG),
        "build": Shape("string, boolean or list of strings", (bool, str, list), _TEXT),
        "metadata": _table(vx=_table(inputs=_TEXTS)),
    },
)
_TARGET: Final = Shape(
    "table",
    (dict,),
    None,
    {
        **dict.fromkeys(("name", "path", "edition"), _TEXT),
        **dict.fromkeys(
            ("test", "doctest", "bench", "doc", "harness", "proc-macro", "proc_macro", "plugin"), _FLAG
        ),
        **dict.fromkeys(("crate-type", "crate_type", "required-features"), _TEXTS),
    },
)
_DEPENDENCY: Final = Shape(
    "version or table",
    (str, dict),
    None,
    {
        **dict.fromkeys(
            ("version", "path", "git", "branch", "tag", "rev", "registry", "package", "target"), _TEXT
        ),
        **dict.fromkeys(
            ("optional", "default-features", "default_features", "public", "workspace", "lib"), _FLAG
        ),
        "features": _TEXTS,
    },
)
_DEPENDENCIES: Final = _table(each=_DEPENDENCY)
_LINT: Final = Shape(
    "level or table", (str, dict), None, {"level": _TEXT, "priority": _NUMBER, "check-cfg": _TEXTS}
)
_LINTS: Final = _table(each=Shape("table", (dict, bool), _LINT))
_SETS: Final[Mapping[str, Shape]] = dict.fromkeys(
    (
        *("dependencies", "dev-dependencies", "dev_dependencies"),
        *("build-dependencies", "build_dependencies"),
    ),
    _DEPENDENCIES,
)
_PROFILE: Final = _table(package=_table(each=_TABLE), build_override=_TABLE, inherits=_TEXT)
_TARGETS: Final = Shape("list of tables: [[...]]", (list,), _TARGET)

MANIFEST: Final = Shape(
    "table",
    (dict,),
    None,
    {
        **_SETS,
        "package": _PACKAGE,
        "lib": _TARGET,
        **dict.fromkeys(("bin", "example", "test", "bench"), _TARGETS),
        "features": _table(each=_TEXTS),
        "profile": _table(each=_PROFILE),
        "lints": _LINTS,
        "badges": _TABLE,
        "target": _table(each=Shape("table", (dict,), None, _SETS)),
        "patch": _table(each=_DEPENDENCIES),
        "replace": _DEPENDENCIES,
        "cargo-features": _TEXTS,
        "workspace": Shape(
            "table",
            (dict,),
            None,
            {
                **dict.fromkeys(("members", "exclude", "default-members"), _TEXTS),
                "package": Shape("table", (dict,), None, _FIELDS),
                "dependencies": _DEPENDENCIES,
                "lints": _LINTS,
                "metadata": _TABLE,
                "resolver": _TEXT,
            },
        ),
    },
)


def check(source: ConfigText) -> None:
    """Refuse a manifest in which a value has another shape than its key has.

    Raises:
        ProjectInvalid: it has; the first one is named with its place.
    """
    _check(source, (), source.values, MANIFEST)


def _check(source: ConfigText, where: KeyPath, value: Any, shape: Shape) -> None:
    # TOML's booleans are not numbers, though Python's are.
    if not isinstance(value, shape.kinds) or (isinstance(value, bool) and bool not in shape.kinds):
        raise invalid(source, where, f"must be a {shape.name}")
    if isinstance(value, str) and "\0" in value:
        raise invalid(source, where, "has a NUL in it")
    if isinstance(value, list) and shape.each is not None:
        for number, item in enumerate(value):
            if not isinstance(item, shape.each.kinds):
                place = (*where, number) if isinstance(item, dict) else where
                raise invalid(source, place, f"must be a {shape.name}")
            _check(source, (*where, number), item, shape.each)
    elif isinstance(value, dict):
        for key, item in value.items():
            inner = shape.keys.get(key, shape.each)
            if inner is not None:
                _check(source, (*where, key), item, inner)
