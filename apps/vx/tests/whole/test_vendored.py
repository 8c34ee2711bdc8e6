"""Vendored crates are what their checksums say, as cargo has it, or they are not built."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

CONFIG = '[source.crates-io]\nreplace-with = "here"\n[source.here]\ndirectory = "vendor"\n'
MANIFEST = '[package]\nname = "low"\nversion = "1.0.0"\nedition = "2021"\n'


@pytest.fixture
def project(rust):
    """A program and a vendored crate, with checksums."""
    if shutil.which("cargo") is None:
        pytest.skip("no cargo on the PATH: install Rust to run this")
    rust.env |= {"CARGO_NET_OFFLINE": "true"}
    made = rust.crate(main='fn main() { println!("{}", low::N); }', manifest='[dependencies]\nlow = "1"\n')
    made.write(".cargo/config.toml", CONFIG)
    made.write("vendor/low/Cargo.toml", MANIFEST)
    made.write("vendor/low/src/lib.rs", "pub const N: u32 = 1;\n")
    made.write("vendor/low/README.md", "low\n")
    lists(made.path, ["Cargo.toml", "src/lib.rs", "README.md"])
    return made


def lists(path: Path, names: list[str], **more: str) -> None:
    """Write the crate's checksums."""
    crate = path / "vendor/low"
    files = {one: hashlib.sha256((crate / one).read_bytes()).hexdigest() for one in names}
    (crate / ".cargo-checksum.json").write_text(json.dumps({"package": None, "files": files | more}))


def refused_by_cargo(project) -> bool:
    """Whether a fresh build by cargo refuses it."""
    target = project.path.parent / "by-cargo"
    shutil.rmtree(target, ignore_errors=True)
    env = {**project.app.env, "CARGO_TARGET_DIR": str(target)}
    done = subprocess.run(
        ["cargo", "build", "-q"], cwd=project.path, env=env, capture_output=True, check=False
    )
    return done.returncode != 0


def test_an_edited_crate_is_refused_by_name_until_it_is_as_it_was(project) -> None:
    """Also where its edited content was compiled before, under checksums of its own."""
    project.build()
    edited = project.write("vendor/low/src/lib.rs", "pub const N: u32 = 2;\n")
    for _ in range(2):
        said = project.fails()
        assert said.startswith(
            f"vx: {edited}: is not as .cargo-checksum.json beside the crate's manifest has it"
        )
        assert "`cargo vendor`" in said
        assert "[patch]" in said
    assert refused_by_cargo(project)
    assert str(edited) in project.vx("build", "--why-not").out
    lists(project.path, ["src/lib.rs"])
    project.build()
    assert project.run("hello") == "2\n"
    lists(project.path, [], **{"src/lib.rs": "0" * 64})
    assert str(edited) in project.fails()
    project.write("vendor/low/src/lib.rs", "pub const N: u32 = 1;\n")
    lists(project.path, ["src/lib.rs"])
    assert project.executed() == 0
    assert project.run("hello") == "1\n"


def test_a_file_that_no_compiler_reads_counts_as_with_cargo(project) -> None:
    readme = project.write("vendor/low/README.md", "mine\n")
    assert str(readme) in project.fails()
    assert refused_by_cargo(project)
    readme.unlink()
    assert "lists 'README.md', which cannot be read (No such file or directory)" in project.fails()
    assert refused_by_cargo(project)


def test_a_file_that_is_not_listed_is_a_source_as_with_cargo(project) -> None:
    project.write("vendor/low/src/more.rs", "pub const N: u32 = 3;\n")
    project.write("vendor/low/src/lib.rs", "mod more; pub use more::N;\n")
    lists(project.path, ["src/lib.rs"])
    project.build()
    assert project.run("hello") == "3\n"
    assert not refused_by_cargo(project)


def _is_a_folder(path: Path) -> None:
    lists(path, [], src="0" * 64)


def _leads_out(path: Path) -> None:
    lists(path, [], **{"../../src/main.rs": hashlib.sha256((path / "src/main.rs").read_bytes()).hexdigest()})


def _is_absolute(path: Path) -> None:
    lists(path, [], **{"/etc/hostname": "0" * 64})


def _has_a_nul(path: Path) -> None:
    lists(path, [], **{"a\0b": "0" * 64})


def _is_a_pipe(path: Path) -> None:
    subprocess.run(["mkfifo", path / "vendor/low/pipe"], check=True)
    lists(path, [], pipe="0" * 64)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_is_a_folder, "which cannot be read"),
        (_leads_out, "'../../src/main.rs', which is not below the crate"),
        (_is_absolute, "'/etc/hostname', which is not below the crate"),
        (_has_a_nul, "which cannot be read"),
        (_is_a_pipe, "which cannot be read"),
    ],
)
def test_a_list_that_names_no_file_of_the_crate_is_one_line(
    project, make: Callable[[Path], None], said: str
) -> None:
    make(project.path)
    assert said in project.fails()


@pytest.mark.parametrize(
    "text",
    ["not json", "{}", '{"files": []}', '{"files": {"a": 1}}', "[" * 100_000, '{"files": {"\\ud800": ""}}'],
)
def test_checksums_that_are_none_are_one_line(project, text: str) -> None:
    """Also where cargo was asked while they were good."""
    project.build()
    checksums = project.write("vendor/low/.cargo-checksum.json", text)
    assert str(checksums) in project.fails() or "cargo says" in project.fails()
    checksums.unlink()
    assert "cargo says" in project.fails()


def test_a_crate_that_cargo_unpacked_is_trusted_as_cargo_trusts_it(project) -> None:
    """Its mark (`.cargo-ok`) says that it was unpacked whole; what it holds is not compared again."""
    home = project.path.parent / "cargo-home"
    project.app.env |= {"CARGO_HOME": str(home)}
    index = project.path.parent / "local/index/3/l"
    index.mkdir(parents=True)
    (project.path / ".cargo/config.toml").write_text(
        '[source.crates-io]\nreplace-with = "here"\n[source.here]\nlocal-registry = "../local"\n'
    )
    archive = project.path.parent / "local/low-1.0.0.crate"
    shutil.move(project.path / "vendor/low", project.path / "vendor/low-1.0.0")
    (project.path / "vendor/low-1.0.0/.cargo-checksum.json").unlink()
    subprocess.run(["tar", "-czf", archive, "-C", project.path / "vendor", "low-1.0.0"], check=True)
    line = {
        "name": "low",
        "vers": "1.0.0",
        "deps": [],
        "features": {},
        "yanked": False,
        "cksum": hashlib.sha256(archive.read_bytes()).hexdigest(),
    }
    (index.parent.parent / "3/l/low").write_text(json.dumps(line) + "\n")
    project.build()
    (unpacked,) = home.glob("registry/src/*/low-1.0.0/src/lib.rs")
    unpacked.write_text("pub const N: u32 = 4;\n")
    project.build()
    assert project.run("hello") == "4\n"
    assert not refused_by_cargo(project)
