"""What cargo refuses is left to cargo, and not built."""

from __future__ import annotations

import pytest

from daemonry.typed_toml import parse
from vx.project import cargo_checks, cargo_manifest
from vx.project.errors import Unsupported

PACKAGE = '[package]\nname = "p"\nversion = "0.1.0"\n'


def check(text: str) -> None:
    manifest = cargo_manifest.read(parse(text, "Cargo.toml"))
    package = cargo_manifest.package(manifest, {"src/main.rs"}, None)
    cargo_checks.check(manifest, package, in_workspace=False)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (PACKAGE.replace("0.1.0", "x"), "the version 'x'"),
        (PACKAGE.replace("0.1.0", "1.2"), "the version '1.2'"),
        (PACKAGE + '[features]\na = ["zz"]\n', "the feature 'zz'"),
        (PACKAGE + '[[bin]]\nname = "q"\npath = "a.rs"\n' * 2, "two programs called 'q'"),
    ],
)
def test_what_cargo_refuses_is_asked_of_cargo(text: str, named: str) -> None:
    with pytest.raises(Unsupported, match=named):
        check(text)


def test_what_cargo_takes_is_taken() -> None:
    dependency = '[dependencies]\nd = { path = "d", optional = true }\n'
    check(PACKAGE + dependency + '[features]\na = ["b", "d", "dep:d", "d/x"]\nb = []\n')
    check(PACKAGE.replace("0.1.0", "1.2.3-rc.1+build.5"))
