"""Names of files and directories that are not UTF-8, where a project is read from the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vx.project import c_files, rust_files
from vx.project.errors import ProjectInvalid

PACKAGE = '[package]\nname = "%s"\nversion = "0.1.0"\nedition = "2021"\n'


def write(directory: Path, name: bytes, text: str = "") -> None:
    path = os.fsencode(directory) + b"/" + name
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


@pytest.mark.parametrize("kind", ["program", "static-library", "shared-library"])
@pytest.mark.parametrize(
    ("name", "told"), [(b"src/\xff.c", r"src/\xff.c"), (b"src/a\xff/h.c", r"src/a\xff/h.c")]
)
def test_a_source_of_such_a_name_is_refused_by_it(tmp_path: Path, kind: str, name: bytes, told: str) -> None:
    target = f'[targets.p]\nkind = "{kind}"\nsources = ["src/**/*.c"]\n'
    write(tmp_path, b"vx.toml", '[project]\nname = "p"\n' + target)
    write(tmp_path, b"src/main.c")
    write(tmp_path, b"other/\xff.c")
    assert c_files.open_project(str(tmp_path)).sources == {"p": ("src/main.c",)}
    write(tmp_path, name)
    with pytest.raises(ProjectInvalid) as raised:
        c_files.open_project(str(tmp_path))
    reason = f"targets.p.sources: '{told}' has a name that is not UTF-8: rename it"
    assert str(raised.value) == f"{tmp_path}/vx.toml:5:1: {reason}"


def test_programs_and_members_of_such_names_are_passed_over_as_cargo_does(tmp_path: Path) -> None:
    write(tmp_path, b"Cargo.toml", '[workspace]\nmembers = ["m/*"]\n')
    for directory in (b"m/a", b"m/\xff"):
        write(tmp_path, directory + b"/Cargo.toml", PACKAGE % ("a" if directory == b"m/a" else "b"))
        write(tmp_path, directory + b"/src/main.rs")
    write(tmp_path, b"m/a/src/bin/\xff.rs")
    write(tmp_path, b"m/a/src/bin/\xff/main.rs")
    project = rust_files.open_project(str(tmp_path), cargo_home=str(tmp_path / "cargo"))
    assert [[one.path for one in package.targets] for package in project.packages.values()] == [
        ["src/main.rs"]
    ]
    assert list(project.packages) == ["m/a"]
