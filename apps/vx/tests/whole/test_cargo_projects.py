"""Projects that cargo resolves: registries, build scripts, procedural macros, platforms, profiles."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading
import time
from pathlib import Path

import pytest

from daemonry.testing import wait_until
from vx.file_digests import FINE_TICK_NS
from vx.rhea import sandbox

PLAIN = '[package]\nname = "{name}"\nversion = "{version}"\nedition = "2021"\n'


@pytest.fixture
def cargo(rust):
    """The command, where there is a cargo."""
    if shutil.which("cargo") is None:
        pytest.skip("no cargo on the PATH: install Rust to run this")
    rust.env |= {"CARGO_NET_OFFLINE": "true"}
    return rust


def package(
    project, where: str, name: str, manifest: str = "", lib: str = "", version: str = "1.0.0"
) -> None:
    """Write a package of one library."""
    project.write(f"{where}/Cargo.toml", PLAIN.format(name=name, version=version) + manifest)
    project.write(f"{where}/src/lib.rs", lib)


def vendored(
    project, name: str, version: str = "1.0.0", manifest: str = "", lib: str = "", **files: str
) -> None:
    """Write a package into the project's own directory source."""
    where = f"vendor/{name}-{version}"
    package(project, where, name, manifest, lib, version)
    for file, text in files.items():
        project.write(f"{where}/{file.replace('__', '/').replace('_rs', '.rs')}", text)
    project.write(f"{where}/.cargo-checksum.json", '{"package": null, "files": {}}')
    project.write(
        ".cargo/config.toml",
        '[source.crates-io]\nreplace-with = "here"\n[source.here]\ndirectory = "vendor"\n',
    )


def run_by_cargo(project, name: str = "hello", *words: str) -> str:
    """Build with cargo, and return what the program prints."""
    target = project.path.parent / "by-cargo"
    env = {**project.app.env, "CARGO_TARGET_DIR": str(target)}
    subprocess.run(["cargo", "build", "--offline", *words], cwd=project.path, env=env, check=True)
    return subprocess.run([target / "debug" / name], capture_output=True, text=True, check=True).stdout


SCRIPT = """
use std::{env, fs, path::Path};
fn main() {
    println!("cargo::rerun-if-changed=words.txt");
    println!("cargo::rerun-if-env-changed=WHO");
    println!("cargo::rustc-check-cfg=cfg(told)");
    println!("cargo::rustc-cfg=told");
    println!("cargo:rustc-env=SAID={}", env::var("CARGO_PKG_VERSION").unwrap());
    let words = fs::read_to_string("words.txt").unwrap();
    let who = env::var("WHO").unwrap_or("nobody".into());
    let out = Path::new(&env::var("OUT_DIR").unwrap()).join("made.rs");
    fs::write(out, format!("const MADE: &str = {:?};", format!("{} {}", words.trim(), who))).unwrap();
}
"""
MADE = """
include!(concat!(env!("OUT_DIR"), "/made.rs"));
fn main() { println!("{} {} {}", MADE, env!("SAID"), cfg!(told)); }
"""


def test_a_build_script_runs_when_it_says_so_and_only_then(cargo) -> None:
    project = cargo.crate(main=MADE)
    project.write("build.rs", SCRIPT)
    project.write("words.txt", "one")
    project.write("other.txt", "x")
    assert project.executed() == 3
    assert project.run("hello") == "one nobody 0.1.0 true\n"
    assert project.executed() == 0
    project.write("other.txt", "y")
    assert project.executed() == 0
    project.write("words.txt", "two")
    assert project.executed() == 2
    assert project.run("hello") == "two nobody 0.1.0 true\n" == run_by_cargo(project)
    assert project.executed(WHO="me") == 2
    assert project.run("hello") == "two me 0.1.0 true\n"
    project.write("words.txt", "one")
    assert project.executed() == 0
    assert project.run("hello") == "one nobody 0.1.0 true\n"


@pytest.mark.slow
def test_a_build_script_that_names_nothing_depends_on_every_name_in_its_package(cargo) -> None:
    main = 'fn main() { println!("{}", env!("COUNT")); }'
    project = cargo.crate(main=main)
    project.write(
        "build.rs",
        'fn main() { println!("cargo:rustc-env=COUNT={}", std::fs::read_dir("data").unwrap().count()); }',
    )
    project.write("data/one", "")
    project.build()
    assert project.run("hello") == "1\n"
    project.write("data/two", "")
    project.build()
    assert project.run("hello") == "2\n"


def test_a_build_script_is_told_its_features_and_assertions_as_cargo_tells_them(cargo) -> None:
    project = cargo.crate(
        main='fn main() { println!("{}", env!("TOLD")); }',
        manifest='[features]\ndefault = ["a-b"]\na-b = []\n[profile.dev]\nopt-level = 1\n',
    )
    project.write(
        "build.rs",
        'fn main() { let told = |what| std::env::var(format!("CARGO_CFG_{what}"));'
        ' println!("cargo:rustc-env=TOLD={:?} {:?}", told("FEATURE"), told("DEBUG_ASSERTIONS")); }',
    )
    project.build()
    assert project.run("hello") == 'Ok("a-b,default") Ok("")\n'
    project.build("--release", "--no-default-features")
    assert project.run("hello", "release") == 'Ok("") Err(NotPresent)\n'


def test_a_build_script_that_fails_says_what_it_said(cargo) -> None:
    project = cargo.crate()
    project.write("build.rs", 'fn main() { println!("cargo::error=no compiler"); panic!("give up"); }')
    done = project.vx("build")
    assert done.code == 1
    assert "error: hello (run of the build script): no compiler" in done.err
    assert "give up" in done.err


@pytest.mark.slow
def test_a_build_script_that_never_stops_talking_is_one_line(cargo) -> None:
    project = cargo.crate()
    project.write("build.rs", 'fn main() { for n in 0..90000 { println!("cargo:k{n}=aaaaaaaaaaaa"); } }')
    assert project.fails() == "vx: hello (run of the build script): it prints more than 1024 KiB to cargo"


@pytest.mark.skipif(bool(sandbox.why_not()), reason=f"jobs cannot be watched: {sandbox.why_not()}")
def test_a_build_script_that_reads_what_is_the_users_is_an_error_that_names_it(cargo) -> None:
    project = cargo.crate()
    mine = project.path.parent / "mine"
    mine.write_text("secret")
    project.write("build.rs", f'fn main() {{ std::fs::read("{mine}").unwrap(); }}')
    assert f"it opened '{mine}', which nothing declares" in project.fails()


@pytest.mark.skipif(bool(sandbox.why_not()), reason=f"jobs cannot be watched: {sandbox.why_not()}")
def test_a_build_script_writes_nowhere_else(cargo) -> None:
    project = cargo.crate()
    elsewhere = project.path.parent / "elsewhere"
    project.write("build.rs", f'fn main() {{ std::fs::write("{elsewhere}", "x").unwrap(); }}')
    assert "(run of the build script)" in project.fails()
    assert not elsewhere.exists()


@pytest.mark.parametrize("path", ["src/gen.rs", "src/more.rs"])
def test_a_build_script_that_writes_into_its_package_is_refused_by_name(cargo, path: str) -> None:
    """Its write is to a copy, and would be lost: cargo's result would be another one."""
    project = cargo.crate(main='fn main() { print!("{}", include!("gen.rs")); }')
    project.write("src/gen.rs", "0")
    project.write("build.rs", f'fn main() {{ let _ = std::fs::write("{path}", "7"); }}')
    said = f"it changed '{path}', and a build script may write to OUT_DIR alone"
    assert project.fails() == f"vx: hello (run of the build script): {said}"


def test_a_build_script_runs_a_helper_by_its_interpreter(cargo) -> None:
    """Modes are in no key: the copies of its package have none that another checkout has not."""
    project = cargo.crate(main='fn main() { print!("{} {}", env!("SELF"), env!("SH")); }')
    project.write("helper.sh", "#!/bin/sh\necho helped\n").chmod(0o755)
    project.write(
        "build.rs",
        "use std::process::Command;\nfn main() {\n"
        "    let word = |one: &mut Command| one.output().map_or("
        '"refused".into(), |o| String::from_utf8(o.stdout).unwrap());\n'
        '    println!("cargo::rustc-env=SELF={}", word(&mut Command::new("./helper.sh")).trim());\n'
        '    println!("cargo::rustc-env=SH={}", word(Command::new("sh").arg("helper.sh")).trim());\n}\n',
    )
    project.build()
    assert project.run("hello") == "refused helped"


@pytest.mark.slow
@pytest.mark.skipif(bool(sandbox.why_not()), reason=f"jobs cannot be watched: {sandbox.why_not()}")
def test_a_build_script_finds_hidden_files_and_empty_folders(cargo) -> None:
    project = cargo.crate(main='fn main() { print!("{} {}", env!("COUNT"), env!("READ")); }')
    project.write(
        "build.rs",
        "use std::fs;\nfn main() {\n"
        '    println!("cargo::rustc-env=COUNT={}", fs::read_dir("d").unwrap().count());\n'
        '    let word = fs::read_to_string(".conf/word").unwrap_or("none".into());\n'
        '    println!("cargo::rustc-env=READ={word}");\n'
        '    println!("cargo::rerun-if-changed=build.rs");\n}\n',
    )
    project.write("d/one", "")
    project.build()
    assert project.run("hello") == "1 none" == run_by_cargo(project)
    project.write("d/.hidden", "")
    assert project.executed() == 2
    assert project.run("hello") == "2 none"  # cargo that has built before says 1: the script names no folder
    (project.path / "d/empty").mkdir()
    project.build()
    assert project.run("hello") == "3 none"
    project.write(".conf/word", "first")
    project.build()
    assert project.run("hello") == "3 first"
    project.write(".conf/word", "second")
    project.build()
    shutil.rmtree(project.path.parent / "by-cargo")
    assert project.run("hello") == "3 second" == run_by_cargo(project)
    assert project.executed() == 0
    (project.path / "d/empty").rmdir()
    (project.path / "d/.hidden").unlink()
    project.build()
    assert project.run("hello") == "1 second"


@pytest.mark.parametrize("where", ["d", "../elsewhere"])
def test_a_folder_that_a_build_script_names_counts_with_all_below(cargo, where: str) -> None:
    """As cargo does, which takes the newest time in it; and without a look of the script's at it."""
    project = cargo.crate(main="fn main() {}")
    folder = project.path / where
    named = where if where == "d" else folder.resolve()
    (folder / "below").mkdir(parents=True)
    (folder / "below/one").write_text("1")
    project.write("build.rs", f'fn main() {{ println!("cargo::rerun-if-changed={named}"); }}')
    project.build()
    assert project.executed() == 0

    def changes():
        (folder / ".hidden").write_text("")
        yield
        (folder / ".hidden").write_text("2")
        yield
        (folder / "below/one").rename(folder / "below/two")
        yield
        (folder / "below/.empty").mkdir()
        yield
        (folder / "below/.empty/file").write_text("")
        yield
        shutil.rmtree(folder / "below")
        yield
        shutil.rmtree(folder)
        yield

    for _ in changes():
        # A script that begins within a tick of the change is run again by the next build.
        changed_ns = time.time_ns()
        wait_until(lambda since=changed_ns: time.time_ns() > since + FINE_TICK_NS, 10)
        assert project.executed() == 1  # of the program nothing is another
        assert project.executed() == 0


@pytest.mark.skipif(bool(sandbox.why_not()), reason=f"jobs cannot be watched: {sandbox.why_not()}")
def test_a_build_script_finds_what_is_beside_its_package_and_what_git_says(cargo) -> None:
    if shutil.which("git") is None:
        pytest.skip("no git on the PATH")
    project = cargo.crate(main="fn main() {}", manifest='[workspace]\nmembers = ["a"]\n')
    package(project, "a", "a", "[[bin]]\nname = 'a'\npath = 'main.rs'\n")
    project.write("a/main.rs", 'fn main() { print!("{} {}", env!("WORD"), env!("HEAD")); }')
    project.write(
        "a/build.rs",
        'fn main() {\n    let word = std::fs::read_to_string("../shared/word").unwrap();\n'
        '    let git = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output().unwrap();\n'
        "    let head = String::from_utf8(git.stdout).unwrap();\n"
        '    println!("cargo::rustc-env=WORD={word}\\ncargo::rustc-env=HEAD={}", head.trim());\n'
        '    println!("cargo::rerun-if-changed=../shared/word\\ncargo::rerun-if-changed=../.git/HEAD");\n}\n',
    )
    project.write("shared/word", "one")

    def git(*words: str) -> str:
        by = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"]
        done = subprocess.run(
            ["git", *by, *words], cwd=project.path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "first")
    project.build("--workspace")
    assert project.run("a") == f"one {git('rev-parse', 'HEAD')}" == run_by_cargo(project, "a", "--workspace")
    git("commit", "-q", "--allow-empty", "-m", "second")
    project.write("shared/word", "two")
    project.build("--workspace")
    assert project.run("a") == f"two {git('rev-parse', 'HEAD')}"


def test_a_build_script_that_names_a_file_outside_of_the_project_is_refused_by_name(cargo) -> None:
    project = cargo.crate(main="fn main() {}")
    (project.path.parent / "beside").write_text("")
    project.write("build.rs", 'fn main() { println!("cargo::rerun-if-changed=../beside"); }')
    assert "it names '../beside', which is outside of the project" in project.fails()


def test_what_a_script_makes_may_name_files_by_their_absolute_paths(cargo) -> None:
    """As khronos_api does: the paths hold in the directory of another job, and in another clone."""
    project = cargo.crate(main='fn main() { print!("{}", include!(concat!(env!("OUT_DIR"), "/made.rs"))); }')
    project.write(
        "build.rs",
        "use std::{env, fs};\nfn main() {\n"
        '    let (here, out) = (env::var("CARGO_MANIFEST_DIR").unwrap(), env::var("OUT_DIR").unwrap());\n'
        '    let text = format!("include_str!({:?})", here + "/words.txt");\n'
        '    fs::write(format!("{out}/made.rs"), text).unwrap();\n'
        "}\n",
    )
    project.write("words.txt", "one\n")
    project.build()
    assert project.run("hello") == "one\n"
    project.write("words.txt", "two\n")
    project.build()
    assert project.run("hello") == "two\n"


def test_what_a_script_of_links_says_reaches_those_that_depend_on_it(cargo) -> None:
    project = cargo.crate(
        main='fn main() { println!("{}", env!("ROOT")); }',
        manifest='[dependencies]\nlow = { path = "low" }\n',
    )
    package(project, "low", "low", 'links = "deep-c"\n')
    project.write("low/build.rs", 'fn main() { println!("cargo::metadata=some-root=here"); }')
    project.write(
        "build.rs",
        'fn main() { println!("cargo:rustc-env=ROOT={}", std::env::var("DEP_DEEP_C_SOME_ROOT").unwrap()); }',
    )
    project.build()
    assert project.run("hello") == "here\n" == run_by_cargo(project)


NATIVE = """
use std::{env, fs, process::Command};
fn main() {
    println!("cargo:rerun-if-changed=seven.c");
    let out = env::var("OUT_DIR").unwrap();
    let made = Command::new("cc").args(["-c", "seven.c", "-o"]).arg(format!("{out}/seven.o")).status();
    assert!(made.unwrap().success());
    let (library, object) = (format!("{out}/libseven.a"), format!("{out}/seven.o"));
    let packed = Command::new("ar").args(["crs", &library, &object]).status();
    assert!(packed.unwrap().success());
    fs::remove_file(format!("{out}/seven.o")).unwrap();
    println!("cargo:rustc-link-search=native={out}");
    println!("cargo:rustc-link-lib=static=seven");
}
"""


@pytest.mark.slow
def test_a_library_of_c_that_a_script_makes_is_linked_into_the_program(cargo) -> None:
    project = cargo.crate(
        main='fn main() { println!("{}", low::seven()); }',
        manifest='[dependencies]\nlow = { path = "low" }\n',
    )
    package(
        project, "low", "low", 'links = "seven"\n',
        'extern "C" { #[link_name = "seven"] fn c() -> i32; }\npub fn seven() -> i32 { unsafe { c() } }\n',
    )  # fmt: skip
    project.write("low/build.rs", NATIVE)
    project.write("low/seven.c", "int seven(void) { return 7; }\n")
    project.build()
    assert project.run("hello") == "7\n"
    project.write("low/seven.c", "int seven(void) { return 8; }\n")
    project.build()
    assert project.run("hello") == "8\n" == run_by_cargo(project)


MACRO = """
use proc_macro::TokenStream;
#[proc_macro] pub fn word(_: TokenStream) -> TokenStream {
    let path = std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/word.txt";
    format!("{:?}", std::fs::read_to_string(path).unwrap()).parse().unwrap()
}
"""


def test_what_a_procedural_macro_reads_counts(cargo) -> None:
    project = cargo.crate(
        main='fn main() { print!("{}", mac::word!()); }', manifest='[dependencies]\nmac = { path = "mac" }\n'
    )
    package(project, "mac", "mac", "[lib]\nproc-macro = true\n", MACRO)
    project.write("word.txt", "one")
    assert project.executed() == 2
    assert project.run("hello") == "one"
    project.write("word.txt", "two")
    assert project.executed() == 1
    assert project.run("hello") == "two" == run_by_cargo(project)


@pytest.mark.skipif(bool(sandbox.why_not()), reason=f"jobs cannot be watched: {sandbox.why_not()}")
@pytest.mark.slow
def test_a_procedural_macro_counts_hidden_files_and_empty_folders(cargo) -> None:
    project = cargo.crate(
        main='fn main() { print!("{}", mac::count!()); }', manifest='[dependencies]\nmac = { path = "mac" }\n'
    )
    counts = (
        "use proc_macro::TokenStream;\n#[proc_macro] pub fn count(_: TokenStream) -> TokenStream {\n"
        '    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap();\n'
        '    let count = |one: &str| std::fs::read_dir(format!("{here}/{one}")).unwrap().count();\n'
        '    format!("{}", count("d") + 0 * count(".")).parse().unwrap()\n}\n'
    )
    package(project, "mac", "mac", "[lib]\nproc-macro = true\n", counts)
    project.write("d/one", "")
    project.build()
    assert project.run("hello") == "1"
    project.write("d/.hidden", "")
    assert project.executed() == 1
    assert project.run("hello") == "2" == run_by_cargo(project)
    (project.path / "d/empty").mkdir()
    assert project.executed() == 1
    assert project.run("hello") == "3"  # cargo that has built before says 2
    # What builds and git make in the project's root is no input.
    (project.path / "target").mkdir(exist_ok=True)
    (project.path / ".git").mkdir()
    assert project.executed() == 0


def test_a_procedural_macro_finds_no_variable_of_the_caller(cargo) -> None:
    """Nobody tells which it reads, so there is none for it, and no result depends on one in silence."""
    project = cargo.crate(
        main='fn main() { print!("{}", mac::word!()); }', manifest='[dependencies]\nmac = { path = "mac" }\n'
    )
    body = 'format!("{:?}", std::env::var("WORD").unwrap_or("none".into())).parse().unwrap()'
    macro = (
        f"use proc_macro::TokenStream;\n#[proc_macro] pub fn word(_: TokenStream) -> TokenStream {{ {body} }}"
    )
    package(project, "mac", "mac", "[lib]\nproc-macro = true\n", macro)
    project.build(WORD="one")
    assert project.run("hello") == "none"
    assert project.executed(WORD="two") == 0


@pytest.mark.skipif(bool(sandbox.why_not()), reason=f"jobs cannot be watched: {sandbox.why_not()}")
@pytest.mark.slow
def test_what_a_procedural_macro_reads_of_its_own_package_counts(cargo) -> None:
    project = cargo.crate(
        main='fn main() { print!("{}", mac::word!()); }', manifest='[dependencies]\nmac = { path = "mac" }\n'
    )
    own = 'let path = env!("CARGO_MANIFEST_DIR").to_owned() + "/word.txt";'
    lines = [own if "let path" in line else line for line in MACRO.splitlines()]
    package(project, "mac", "mac", "[lib]\nproc-macro = true\n", "\n".join(lines))
    project.write("mac/word.txt", "one")
    project.build()
    assert project.run("hello") == "one"
    project.write("mac/word.txt", "two")
    project.build()
    assert project.run("hello") == "two"


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ('[dependencies]\nhello = { path = "." }\n', "cyclic package dependency"),
        ('[lib]\ncrate-type = ["zz"]\npath = "src/main.rs"\n', "the crate type 'zz'"),
    ],
)
def test_a_manifest_that_nobody_builds_is_one_line(cargo, manifest: str, said: str) -> None:
    done = cargo.crate(manifest=manifest).vx("build", "-q")
    assert (done.code, len(done.err.splitlines())) == (1, 1), done
    assert said in done.err


@pytest.mark.slow
def test_another_clone_builds_nothing_again(cargo) -> None:
    project = cargo.crate(
        main='fn main() { println!("{} {}", low::NUMBER, mac::three!()); }',
        manifest='[dependencies]\nlow = "1"\nmac = "1"\n',
    )
    script = 'fn main() { println!("cargo:rustc-env=N=4"); println!("cargo:rerun-if-changed=build.rs"); }'
    vendored(project, "low", lib='pub const NUMBER: &str = env!("N");', build_rs=script)
    three = (
        "use proc_macro::*;\n"
        '#[proc_macro] pub fn three(_: TokenStream) -> TokenStream { "3".parse().unwrap() }'
    )
    vendored(project, "mac", manifest="[lib]\nproc-macro = true\n", lib=three)
    assert project.executed() == 5
    assert project.run("hello") == "4 3\n"
    other = cargo.project("clone")
    shutil.copytree(project.path, other.path, dirs_exist_ok=True)
    shutil.rmtree(other.path / ".vx")
    assert other.executed() == 0
    assert other.run("hello") == "4 3\n"


def test_dependencies_as_cargo_resolves_them(cargo) -> None:
    """Of a registry, renamed, optional, of one platform, and with features that resolver 2 keeps apart."""
    project = cargo.crate(
        main='fn main() { println!("{} {} {}", other::WHICH, here::NAME, cfg!(feature = "more")); }',
        manifest=(
            '[features]\ndefault = ["more"]\nmore = ["dep:extra"]\n'
            '[dependencies]\nother = { package = "low", version = "1" }\n'
            'extra = { version = "1", optional = true }\n'
            "[target.'cfg(all(unix, not(windows)))'.dependencies]\nhere = \"1\"\n"
            "[target.'cfg(windows)'.dependencies]\nthere = \"1\"\n"
            '[build-dependencies]\nother = { package = "low", version = "1", features = ["loud"] }\n'
        ),
    )
    project.write("build.rs", 'fn main() { assert_eq!(other::WHICH, "loud"); }')
    which = 'pub const WHICH: &str = if cfg!(feature = "loud") { "loud" } else { "quiet" };'
    vendored(project, "low", manifest="[features]\nloud = []\n", lib=which)
    vendored(project, "here", lib='pub const NAME: &str = "unix";')
    vendored(project, "there", lib='compile_error!("not here");')
    vendored(project, "extra")
    project.build()
    assert project.run("hello") == "quiet unix true\n" == run_by_cargo(project)
    project.build("--no-default-features")
    assert project.run("hello") == "quiet unix false\n"


@pytest.mark.slow
def test_a_patch_takes_the_place_of_a_crate(cargo) -> None:
    project = cargo.crate(
        main='fn main() { println!("{}", low::WHICH); }',
        manifest='[dependencies]\nlow = "1"\n[patch.crates-io]\nlow = { path = "mine" }\n',
    )
    vendored(project, "low", lib='pub const WHICH: &str = "theirs";')
    package(project, "mine", "low", lib='pub const WHICH: &str = "mine";', version="1.0.1")
    project.build()
    assert project.run("hello") == "mine\n"


@pytest.mark.slow
def test_a_git_dependency_that_cargo_has_fetched(cargo) -> None:
    if shutil.which("git") is None:
        pytest.skip("no git on the PATH: install it to run this")
    theirs = cargo.project("theirs")
    package(theirs, ".", "low", lib="pub const N: u32 = 5;")
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", *(who if words[0] == "init" else []), *words], cwd=theirs.path, check=True)
    project = cargo.crate(
        main='fn main() { println!("{}", low::N); }',
        manifest=f'[dependencies]\nlow = {{ git = "file://{theirs.path}" }}\n',
    )
    assert "cargo says: " in project.fails("--offline")
    project.build(CARGO_NET_OFFLINE="false")
    assert project.run("hello") == "5\n"
    shutil.rmtree(theirs.path)
    assert project.executed("--offline") == 0


@pytest.mark.slow
def test_the_platform_of_cargos_configuration_is_built_as_cargo_builds_it(cargo) -> None:
    """RUSTFLAGS are then for the target alone, and not for a build script."""
    main = 'fn main() { println!("{} {}", cfg!(mine), env!("SCRIPT")); }'
    project = cargo.crate(main=main)
    project.write("build.rs", 'fn main() { println!("cargo:rustc-env=SCRIPT={}", cfg!(mine)); }')
    project.build(RUSTFLAGS="--cfg mine")
    assert project.run("hello") == "true true\n"
    (triple,) = os.listdir(project.path / ".vx/build")
    project.write(".cargo/config.toml", f'[build]\ntarget = "{triple}"\n')
    project.build(RUSTFLAGS="--cfg mine")
    assert project.run("hello") == "true false\n"
    project.write(".cargo/config.toml", '[build]\ntarget = ["none-such"]\n')
    assert "none-such" in project.fails()
    project.build(RUSTFLAGS="--cfg mine", CARGO_BUILD_TARGET=triple)
    assert project.run("hello") == "true false\n"
    project.build("--target", triple)
    assert project.executed("--target", "host-tuple") == 0
    project.build("--target", triple, RUSTFLAGS="--cfg mine")
    project.write(".cargo/config.toml", '[build]\ntarget = "host-tuple"\n')
    assert project.executed(RUSTFLAGS="--cfg mine") == 0
    project.write(".cargo/config.toml", '[build]\ntarget = ["a", "b"]\n')
    assert (
        "build.target of several platforms is not supported by vx: name one with --target" in project.fails()
    )


def test_profiles_of_ones_own_and_of_one_package(cargo) -> None:
    main = 'fn main() { println!("{} {}", cfg!(debug_assertions), low::CHECKED); }'
    project = cargo.crate(
        main=main,
        manifest=(
            '[dependencies]\nlow = { path = "low" }\n'
            '[profile.quick]\ninherits = "release"\nopt-level = 1\n'
            "[profile.dev.package.low]\ndebug-assertions = false\n"
        ),
    )
    package(project, "low", "low", lib="pub const CHECKED: bool = cfg!(debug_assertions);")
    project.build()
    assert project.run("hello") == "true false\n"
    project.build("--profile", "quick")
    assert project.run("hello", "quick") == "false false\n"
    assert "profile `none` is not defined" in project.fails("--profile", "none")
    assert "is not a valid name" in project.fails("--profile", "../up")


@pytest.mark.slow
def test_only_the_targets_that_are_named(cargo) -> None:
    project = cargo.crate(manifest="[dev-dependencies]\nlow = { path = 'low' }\n")
    package(project, "low", "low", lib="pub const N: u32 = 5;")
    project.write("src/bin/other.rs", 'fn main() { println!("other"); }')
    project.write("examples/show.rs", 'fn main() { println!("show {}", low::N); }')
    project.write(
        "tests/all.rs",
        "#[test] fn five() { assert_eq!(low::N, 5); }\n"
        '#[test] fn runs() { let done = std::process::Command::new(env!("CARGO_BIN_EXE_other")).output();'
        ' assert_eq!(done.unwrap().stdout, b"other\\n"); }',
    )
    names = [os.path.basename(one) for one in project.build("--bin", "other")["outputs"]]
    assert names == ["other"]
    project.build("--example", "show")
    assert project.run("examples/show") == "show 5\n"
    project.vx("clean")
    project.build("--test", "all")
    assert "2 passed" in project.run("tests/all")
    assert "no bin target named `none`" in project.fails("--bin", "none")


def executables_by_cargo(project, *words: str) -> dict[str, str]:
    """Build with cargo; return what each program prints, by the name that vx puts it under."""
    env = {**project.app.env, "CARGO_TARGET_DIR": str(project.path.parent / "by-cargo")}
    command = ["cargo", "build", "--offline", "--message-format", "json", *words]
    done = subprocess.run(command, cwd=project.path, env=env, capture_output=True, text=True, check=True)
    found = {}
    for line in done.stdout.splitlines():
        told = json.loads(line)
        if told["reason"] == "compiler-artifact" and told["executable"]:
            name, (kind, *_) = told["target"]["name"], told["target"]["kind"]
            suffix = {"lib": ".lib", "bin": ".bin"}.get(kind, "")
            folder = "benches/" if kind == "bench" else f"{kind}s/" if kind == "example" else ""
            placed = f"tests/{name}{suffix}" if told["profile"]["test"] and not folder else folder + name
            found[placed] = said_by(told["executable"])
    return found


def said_by(program: str) -> str:
    """Run a program; return what it prints, less the time that its tests took."""
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    return re.sub(r"finished in [0-9.]+s", "", done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "--bins",
        "--lib --example show",
        "--all-targets --features extra",
        "--workspace --tests",
        "--profile dist --example show",
        "--release",
    ],
)
def test_options_choose_the_targets_that_cargo_chooses(cargo, words: str) -> None:
    """And those do the same: profiles of one's own and of one package, features, dev-dependencies."""
    say = 'println!("{:?} {} {}", hello::SAYS, low::CHECKED, cfg!(feature = "extra"))'
    project = cargo.crate(
        main=f"fn main() {{ {say} }} #[test] fn in_main() {{}}",
        manifest=(
            '[dependencies]\nlow = { path = "low" }\n[dev-dependencies]\nhelp = { path = "help" }\n'
            '[features]\nextra = []\n[[example]]\nname = "more"\nrequired-features = ["extra"]\n'
            '[workspace]\nmembers = ["low", "help"]\n'
            '[profile.dist]\ninherits = "release"\ndebug-assertions = true\nlto = "thin"\n'
            "[profile.dist.package.low]\ndebug-assertions = false\n"
            '[profile.release]\npanic = "abort"\n[profile.test]\ndebug-assertions = false\n'
        ),
    )
    project.write(
        "src/lib.rs",
        'pub const SAYS: (bool, bool) = (cfg!(debug_assertions), cfg!(panic = "abort"));\n'
        "#[test] fn with_help() { assert!(help::LOUD); }",
    )
    dev = "[dev-dependencies]\nhelp = { path = '../help' }\n"
    checked = "pub const CHECKED: bool = cfg!(debug_assertions); #[test] fn t() { assert!(help::LOUD); }"
    package(project, "low", "low", dev, checked)
    package(project, "help", "help", lib="pub const LOUD: bool = true;")
    project.write("src/bin/other.rs", f"fn main() {{ {say} }}")
    project.write("examples/show.rs", f"fn main() {{ {say}; assert!(help::LOUD) }}")
    project.write("examples/more.rs", 'fn main() { println!("more") }')
    project.write("benches/b.rs", 'fn main() { println!("bench {}", help::LOUD) }')
    project.write("tests/it.rs", "#[test] fn it() { assert!(help::LOUD && hello::SAYS.0 == low::CHECKED) }")
    outputs = project.build(*words.split())["outputs"]
    (folder,) = project.path.glob(".vx/build/*/*")
    ours = {
        os.path.relpath(path, folder): said_by(path)
        for path in (str(project.path / one) for one in outputs)
        if os.access(path, os.X_OK)
    }
    assert ours == executables_by_cargo(project, *words.split())


@pytest.mark.slow
def test_a_platform_that_is_named(cargo) -> None:
    project = cargo.crate(main='fn main() { println!("{}", env!("FOR")); }')
    project.write(
        "build.rs", 'fn main() { println!("cargo:rustc-env=FOR={}", std::env::var("TARGET").unwrap()); }'
    )
    done = subprocess.run(["rustc", "-vV"], env=cargo.env, capture_output=True, text=True, check=True)
    host = done.stdout
    (triple,) = [line.removeprefix("host: ") for line in host.splitlines() if line.startswith("host: ")]
    project.build("--target", triple)
    assert project.run("hello") == f"{triple}\n"
    assert "no-such-platform" in project.fails("--target", "no-such-platform")


@pytest.mark.slow
def test_a_dylib_is_put_beside_the_program_that_needs_it(cargo) -> None:
    project = cargo.crate(
        main='fn main() { println!("{}", low::five()); }', manifest='[dependencies]\nlow = { path = "low" }\n'
    )
    package(project, "low", "low", '[lib]\ncrate-type = ["dylib"]\n', "pub fn five() -> u32 { 5 }")
    program, library = sorted(project.build()["outputs"])
    assert [os.path.basename(one) for one in (program, library)] == ["hello", "liblow.so"]
    # rustc's own libraries are needed, too, as with cargo.
    words = ["rustc", "--print", "target-libdir"]
    told = subprocess.run(words, env=cargo.env, capture_output=True, text=True, check=True)
    folders = [os.path.dirname(project.path / library), told.stdout.strip()]
    env = {**cargo.env, "LD_LIBRARY_PATH": ":".join(folders)}
    done = subprocess.run([project.path / program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "5\n"


@pytest.mark.slow
def test_a_lock_that_would_change_is_left_alone_when_it_is_locked(cargo) -> None:
    project = cargo.crate(manifest='[dependencies]\nlow = "1"\n')
    vendored(project, "low")
    assert "lock file" in project.fails("--locked")
    assert not (project.path / "Cargo.lock").exists()
    project.build()
    before = (project.path / "Cargo.lock").read_text()
    project.build("--locked")
    assert (project.path / "Cargo.lock").read_text() == before


@pytest.mark.slow
def test_a_link_in_the_place_of_the_lock_is_not_written_through(cargo) -> None:
    project = cargo.crate(manifest='[dependencies]\nlow = "1"\n')
    vendored(project, "low")
    victim = project.path.parent / "victim"
    victim.write_text("")
    (project.path / "Cargo.lock").symlink_to(victim)
    assert "lock file" in project.fails()
    assert not victim.read_text()


def test_why_not_lists_all_that_would_be_refused(cargo) -> None:
    project = cargo.crate(manifest='[profile.dev]\nsplit-debuginfo = "packed"\n')
    project.write(".cargo/config.toml", '[env]\nX = "1"\n[build]\nrustc = "mine"\n')
    done = project.vx("build", "--why-not", RUSTC_WRAPPER="x")
    assert done.code == 1
    lines = done.out.splitlines()
    assert len(lines) == 4, done
    for what in ("RUSTC_WRAPPER", "[env]", "build.rustc", "split-debuginfo 'packed'"):
        assert any(what in line for line in lines), what
    assert not (project.path / ".vx").exists()
    project.write(".cargo/config.toml", "")
    project.write("Cargo.toml", PLAIN.format(name="hello", version="0.1.0"))
    done = project.vx("build", "--why-not")
    assert (done.code, done.out) == (0, "vx builds all of it\n")
    assert cargo.state()["compilations"] == 0


class Registry:
    """A registry of our own, on the loopback: a sparse index and the crates.

    Attributes:
        asked: the paths that were asked for.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._files: dict[str, bytes] = {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                data = outer._files.get(self.path)
                self.send_response(200 if data is not None else 404)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._url = f"http://127.0.0.1:{self._server.server_port}"
        dl = f"{self._url}/dl/{{crate}}/{{version}}.crate"
        self._files["/index/config.json"] = json.dumps({"dl": dl}).encode()
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def config(self) -> str:
        """Return a cargo configuration that puts it in the place of crates.io."""
        return (
            '[source.crates-io]\nreplace-with = "mine"\n'
            f'[source.mine]\nregistry = "sparse+{self._url}/index/"\n'
        )

    def add(self, name: str, lib: str) -> None:
        """Have version 1.0.0 of a crate of three letters."""
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w:gz") as archive:
            for file, text in (("Cargo.toml", PLAIN.format(name=name, version="1.0.0")), ("src/lib.rs", lib)):
                info = tarfile.TarInfo(f"{name}-1.0.0/{file}")
                info.size = len(text.encode())
                archive.addfile(info, io.BytesIO(text.encode()))
        crate = data.getvalue()
        line = {"name": name, "vers": "1.0.0", "deps": [], "features": {}, "yanked": False}
        line["cksum"] = hashlib.sha256(crate).hexdigest()
        self._files[f"/index/3/{name[0]}/{name}"] = json.dumps(line).encode()
        self._files[f"/dl/{name}/1.0.0.crate"] = crate

    def put_local(self, name: str, folder: Path) -> None:
        """Make a local registry of one crate."""
        (folder / "index/3" / name[0]).mkdir(parents=True)
        (folder / f"index/3/{name[0]}/{name}").write_bytes(self._files[f"/index/3/{name[0]}/{name}"])
        (folder / f"{name}-1.0.0.crate").write_bytes(self._files[f"/dl/{name}/1.0.0.crate"])

    def spoil(self, name: str) -> None:
        """Give another archive than the index says."""
        self._files[f"/dl/{name}/1.0.0.crate"] += b"x"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def registry():
    """A registry that is ended."""
    one = Registry()
    yield one
    one.close()


def test_crates_are_fetched_from_a_registry_once_and_never_offline(cargo, registry) -> None:
    registry.add("low", 'pub const NAME: &str = "low";')
    project = cargo.crate(
        main='fn main() { println!("{}", low::NAME); }', manifest='[dependencies]\nlow = "1"\n'
    )
    project.write(".cargo/config.toml", registry.config())
    online = {"CARGO_NET_OFFLINE": "false"}
    assert "cargo says: " in project.fails("--offline", **online)
    assert not registry.asked
    told = project.build(**online)
    assert "vx: fetching crates\n" in told["err"]
    assert project.run("hello") == "low\n"
    assert any(path.endswith(".crate") for path in registry.asked)
    del registry.asked[:]
    other = cargo.project("clone")
    shutil.copytree(project.path, other.path, dirs_exist_ok=True)
    shutil.rmtree(other.path / ".vx")
    assert other.executed("--locked", **online) == 0
    assert not registry.asked


@pytest.mark.slow
def test_a_local_registry(cargo, registry) -> None:
    registry.add("low", 'pub const NAME: &str = "low";')
    project = cargo.crate(
        main='fn main() { println!("{}", low::NAME); }', manifest='[dependencies]\nlow = "1"\n'
    )
    registry.put_local("low", project.path / "crates")
    project.write(
        ".cargo/config.toml",
        '[source.crates-io]\nreplace-with = "mine"\n[source.mine]\nlocal-registry = "crates"\n',
    )
    project.build()
    assert project.run("hello") == "low\n"
    assert not registry.asked


def test_a_crate_with_another_checksum_is_refused(cargo, registry) -> None:
    registry.add("low", "")
    registry.spoil("low")
    project = cargo.crate(manifest='[dependencies]\nlow = "1"\n')
    project.write(".cargo/config.toml", registry.config())
    done = project.vx("build", CARGO_NET_OFFLINE="false")
    assert done.code == 1
    assert "failed to verify the checksum of `low v1.0.0" in done.err
    assert cargo.state()["compilations"] == 0


def test_a_file_of_the_project_outside_of_the_package_is_included(rust) -> None:
    project = rust.project()
    project.write("Cargo.toml", '[workspace]\nmembers = ["app"]\nresolver = "2"\n')
    project.write("app/Cargo.toml", '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n')
    project.write(
        "app/src/main.rs",
        'fn main() { print!("{}{}", include_str!("../../NOTES"), include_bytes!("../.hidden").len()); }\n',
    )
    notes = project.write("NOTES", "one\n")
    project.write("app/.hidden", "12345")
    project.build()
    assert project.run("app") == "one\n5"
    notes.write_text("two\n")
    project.build()
    assert project.run("app") == "two\n5"
    (project.path / "NOTES").unlink()
    assert "couldn't read" in project.fails()
