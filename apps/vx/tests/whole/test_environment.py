"""The caller's variables: followed, passed to who reads them, or refused by name."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

READS = 'fn main() { println!("{}", option_env!("MY_TAG").unwrap_or("none")); }\n'


def test_a_variable_that_a_source_reads_is_passed_and_counts(rust) -> None:
    project = rust.crate(main=READS)
    project.build()
    assert project.run("hello") == "none\n"
    project.build(MY_TAG="x")
    assert project.run("hello") == "x\n"
    project.build(MY_TAG="y")
    assert project.run("hello") == "y\n"
    assert project.executed(MY_TAG="x") == 0
    assert project.run("hello") == "x\n"
    assert project.executed() == 0
    assert project.run("hello") == "none\n"


def test_a_variable_that_a_source_must_have(rust) -> None:
    project = rust.crate(main='fn main() { println!("{}", env!("MY_TAG")); }\n')
    assert project.vx("build").code == 1
    project.build(MY_TAG="x")
    assert project.run("hello") == "x\n"


def test_a_variable_that_nobody_reads_counts_for_nothing(rust) -> None:
    project = rust.crate()
    project.build(MY_TAG="x")
    assert project.executed(MY_TAG="y") == 0


def test_a_variable_that_cannot_be_sent_is_left_out(rust) -> None:
    project = rust.crate(main=READS)
    project.build(OTHER="\udcff", LONG="x" * 100_000)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_PROFILE_DEV_OPT_LEVEL",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_PROFILE_TEST_OPT_LEVEL",
            "CARGO_PROFILE_OF_MINE_LTO",
        ),
        *("CARGO_BUILD_RUSTC", "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER"),
        *("COMPILER_PATH", "GCC_EXEC_PREFIX"),
    ],
)
def test_what_would_change_the_result_is_refused_by_name(rust, name: str) -> None:
    project = rust.crate()
    line = project.fails(**{name: "x"})
    assert f"the environment: the variable {name} is not supported by vx: unset it" in line
    assert rust.state()["compilations"] == 0


def test_an_empty_wrapper_is_none(rust) -> None:
    project = rust.crate()
    assert project.executed(RUSTC_WRAPPER="", CARGO_PROFILE_DEV_INCREMENTAL="true") == 1


def test_a_search_path_with_the_present_directory_is_refused(c) -> None:
    project = c.project("p")
    project.write("vx.toml", '[project]\nname = "p"\n[targets.p]\nsources = ["main.c"]\n')
    project.write("main.c", "int main(void) { return 0; }\n")
    assert "CPATH with a folder that is not absolute" in project.fails(CPATH="/usr/include:")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("CFLAGS", "-gsplit-dwarf"),
        ("CFLAGS", "--coverage"),
        ("CXXFLAGS", "-ftest-coverage"),
        ("CPPFLAGS", "-save-temps=obj"),
        ("CFLAGS", "-fdump-tree-all"),
        ("LDFLAGS", "-Wl,-Map=out.map"),
        ("CFLAGS", "--output=mine.o"),
    ],
)
def test_a_flag_with_a_second_output_is_refused_by_name(c, name: str, word: str) -> None:
    """Its `.dwo` or `.gcno` would be thrown away without a word."""
    project = c.project("p")
    project.write("vx.toml", '[project]\nname = "p"\n[targets.p]\nsources = ["main.c"]\n')
    project.write("main.c", "int main(void) { return 0; }\n")
    assert f"{word} in {name} is not supported by vx" in project.fails(**{name: f"-g {word}"})
    project.build(**{name: "-g -Og"})


def test_a_file_of_options_counts_and_may_not_name_the_output(c) -> None:
    project = c.project()
    project.write("vx.toml", '[project]\nname = "one"\n[targets.one]\nsources = ["one.c"]\n')
    project.write("one.c", '#include <stdio.h>\nint main(void) { printf("%d", X); return 0; }\n')
    project.write("options", "-DX=1")
    project.build(CFLAGS="@options")
    assert project.run("one") == "1"
    project.write("options", "-DX=2")
    project.build(CFLAGS="@options")
    assert project.run("one") == "2"
    project.write("options", "-DX=2 -o elsewhere.o")
    assert "-o in CFLAGS is not supported by vx" in project.fails(CFLAGS="@options")
    assert "-Wl,@options in LDFLAGS is not supported by vx" in project.fails(LDFLAGS="-Wl,@options")


def test_a_header_whose_name_is_not_utf8_is_refused_by_name(c) -> None:
    project = c.project()
    project.write("vx.toml", '[project]\nname = "one"\n[targets.one]\nsources = ["one.c"]\n')
    (project.path / "one.c").write_bytes(b'#include "a\xff.h"\nint main(void) { return 0; }\n')
    with open(os.fsencode(project.path) + b"/a\xff.h", "wb"):
        pass
    assert "one.c: it includes 'a\\xff.h', whose name is not UTF-8" in project.fails()


def test_flags_come_from_the_variable_that_cargo_takes_first(rust) -> None:
    project = rust.crate(main='fn main() { println!("{}", if cfg!(a) { "a" } else { "b" }); }\n')
    both = {"CARGO_ENCODED_RUSTFLAGS": "--cfg\x1fa", "RUSTFLAGS": "--cfg b"}
    project.build(**both)
    assert project.run("hello") == "a\n"
    project.build(CARGO_BUILD_RUSTFLAGS="--cfg a", RUSTFLAGS="--cfg b")
    assert project.run("hello") == "b\n"
    project.build(CARGO_BUILD_RUSTFLAGS="--cfg a")
    assert project.run("hello") == "a\n"
    project.build(CARGO_BUILD_RUSTFLAGS="--cfg a", RUSTFLAGS="")
    assert project.run("hello") == "b\n"
    project.build(CARGO_ENCODED_RUSTFLAGS="", RUSTFLAGS="--cfg a")
    assert project.run("hello") == "b\n"


def test_rustc_bootstrap_is_passed_and_counts(rust) -> None:
    project = rust.crate(main='#![feature(rustc_attrs)]\nfn main() { println!("hello"); }\n')
    assert project.vx("build").code == 1
    project.build(RUSTC_BOOTSTRAP="1")
    assert project.report()["actions"][0]["parts"]["RUSTC_BOOTSTRAP"] == "1"
    assert project.vx("build").code == 1


def test_a_crate_that_needs_a_newer_compiler_is_refused(rust) -> None:
    project = rust.crate()
    manifest = project.path / "Cargo.toml"
    manifest.write_text(manifest.read_text() + 'rust-version = "1.1000"\n')
    assert "hello needs rustc 1.1000, and this is rustc 1." in project.fails()
    manifest.write_text(manifest.read_text().replace("1.1000", "1.56"))
    project.build()


def test_a_source_is_told_the_readme_and_cargo_as_by_cargo(rust) -> None:
    """Also where vx reads the manifests itself."""
    main = 'fn main() { println!("{:?} {:?}", env!("CARGO_PKG_README"), option_env!("CARGO")); }\n'
    project = rust.crate(main=main)
    words = ["rustc", "--print", "sysroot"]
    sysroot = subprocess.run(words, env=rust.env, capture_output=True, text=True, check=True)
    cargo = Path(sysroot.stdout.strip()) / "bin/cargo"
    if not cargo.exists():
        pytest.skip("cargo is not beside this rustc")
    project.build(CARGO="/of/the/caller")
    assert project.run("hello") == f'"" Some("{cargo}")\n'
    project.write("README.txt", "")
    project.build()
    assert project.run("hello") == f'"README.txt" Some("{cargo}")\n'
    project.write("README.md", "")
    project.build()
    assert project.run("hello") == f'"README.md" Some("{cargo}")\n'
