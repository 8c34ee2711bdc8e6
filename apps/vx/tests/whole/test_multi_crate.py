"""Several crates: path dependencies, workspaces, features."""

from __future__ import annotations

import json
import shutil

import pytest


def library(project, where: str, name: str, body: str, manifest: str = "") -> None:
    project.write(
        f"{where}/Cargo.toml", f'[package]\nname = "{name}"\nversion = "0.1.0"\nedition = "2021"\n{manifest}'
    )
    project.write(f"{where}/src/lib.rs", body)


@pytest.fixture
def chain(rust):
    """A program over `middle` over `bottom`."""
    project = rust.crate(
        main='fn main() { println!("{}", middle::twice()); }\n',
        manifest='[dependencies]\nmiddle = { path = "middle" }\n',
    )
    library(
        project,
        "middle",
        "middle",
        "pub fn twice() -> i32 { bottom::VALUE * 2 }\n",
        '[dependencies]\nbottom = { path = "../bottom" }\n',
    )
    library(project, "bottom", "bottom", "pub const VALUE: i32 = 21;\n")
    return project


def test_path_dependencies_are_built_in_order(chain) -> None:
    assert chain.executed() == 3
    assert chain.run("hello") == "42\n"
    assert chain.executed() == 0


def test_a_change_below_is_built_up_to_the_top(chain) -> None:
    chain.build()
    chain.write("bottom/src/lib.rs", "pub const VALUE: i32 = 4;\n")
    assert chain.executed() == 3
    assert chain.run("hello") == "8\n"
    assert "bottom" in chain.vx("explain").out


def test_a_change_at_the_top_leaves_what_is_below(chain) -> None:
    chain.build()
    chain.write("src/main.rs", 'fn main() { println!("top {}", middle::twice()); }\n')
    assert chain.executed() == 1
    assert chain.run("hello") == "top 42\n"


def test_another_checkout_of_several_crates_is_a_hit(chain, rust) -> None:
    chain.build()
    other = rust.project("far/away")
    shutil.copytree(chain.path, other.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".vx"))
    assert other.executed() == 0
    assert other.run("hello") == "42\n"


def test_a_dependency_outside_the_package(rust) -> None:
    project = rust.crate(
        "inside",
        'fn main() { println!("{}", side::f()); }\n',
        '[dependencies]\nside = { path = "../side" }\n',
    )
    library(project, "../side", "side", "pub fn f() -> i32 { 5 }\n")
    assert project.executed() == 2
    assert project.run("hello") == "5\n"


def test_library_and_program_of_one_package(rust) -> None:
    project = rust.crate(main='fn main() { println!("{}", hello::f()); }\n')
    project.write("src/lib.rs", "pub fn f() -> i32 { 9 }\n")
    project.write("src/bin/other.rs", 'fn main() { println!("other {}", hello::f()); }\n')
    assert project.executed() == 3
    assert (project.run("hello"), project.run("other")) == ("9\n", "other 9\n")
    assert project.output("libhello.rlib").exists()


def test_a_renamed_dependency(rust) -> None:
    project = rust.crate(
        main='fn main() { println!("{}", short::f()); }\n',
        manifest='[dependencies]\nshort = { path = "long", package = "a-long-name" }\n',
    )
    library(project, "long", "a-long-name", "pub fn f() -> i32 { 3 }\n")
    project.build()
    assert project.run("hello") == "3\n"


def test_a_workspace_builds_its_members(rust) -> None:
    project = rust.project()
    project.write(
        "Cargo.toml",
        '[workspace]\nmembers = ["crates/*"]\nresolver = "2"\n[workspace.package]\nversion = "1.2.3"\n',
    )
    library(project, "crates/low", "low", 'pub fn f() -> &\'static str { env!("CARGO_PKG_VERSION") }\n')
    low = project.path / "crates/low/Cargo.toml"
    low.write_text(low.read_text().replace('version = "0.1.0"', "version.workspace = true"))
    project.write(
        "crates/high/Cargo.toml",
        '[package]\nname = "high"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\n'
        'low = { path = "../low" }\n',
    )
    project.write("crates/high/src/main.rs", 'fn main() { println!("{}", low::f()); }\n')
    assert project.executed() == 2
    assert project.run("high") == "1.2.3\n"
    # From a member's directory it is the same workspace, and the same results.
    inside = rust.vx("build", "--json", cwd=project.path / "crates/high")
    assert json.loads(inside.out)["executed"] == 0
    assert project.executed("-p", "low") == 0
    assert "no package is called 'none'" in project.fails("-p", "none")


def test_features_change_what_is_built(rust) -> None:
    project = rust.crate(
        main='fn main() { println!("{}{}", cfg!(feature = "loud"), part::loud()); }\n',
        manifest='[features]\nloud = ["part/loud"]\n[dependencies]\npart = { path = "part" }\n',
    )
    library(
        project,
        "part",
        "part",
        'pub fn loud() -> bool { cfg!(feature = "loud") }\n',
        "[features]\nloud = []\n",
    )
    project.build()
    assert project.run("hello") == "falsefalse\n"
    assert project.executed("--features", "loud") == 2
    assert project.run("hello") == "truetrue\n"
    assert project.executed() == 0
    assert "no package that is built has the feature 'quiet'" in project.fails("--features", "quiet")


@pytest.mark.slow
def test_profiles_of_every_kind_link(rust) -> None:
    project = rust.crate(
        main='fn main() { println!("{}", part::f()); }\n',
        manifest='[dependencies]\npart = { path = "part" }\n[profile.release]\nlto = "fat"\n'
        "codegen-units = 1\n"
        'panic = "abort"\nstrip = true\nopt-level = "s"\noverflow-checks = true\n',
    )
    library(project, "part", "part", "pub fn f() -> i32 { 6 }\n")
    project.build("--release")
    assert project.run("hello", "release") == "6\n"


def test_static_and_shared_libraries(rust) -> None:
    project = rust.project()
    library(
        project,
        ".",
        "hello",
        '#[no_mangle]\npub extern "C" fn f() -> i32 { 7 }\n',
        '[lib]\ncrate-type = ["cdylib", "staticlib", "rlib"]\n',
    )
    project.build()
    assert project.output("libhello.so").exists()
    assert project.output("libhello.a").exists()
    assert project.executed() == 0


def test_two_packages_of_one_name_do_not_collide(rust) -> None:
    project = rust.crate(
        main='fn main() { println!("{} {}", one::f(), two::f()); }\n',
        manifest='[dependencies]\none = { path = "a", package = "same" }\n'
        'two = { path = "b", package = "same" }\n',
    )
    library(project, "a", "same", "pub fn f() -> i32 { 1 }\n")
    library(project, "b", "same", "pub fn f() -> i32 { 2 }\n")
    project.build()
    assert project.run("hello") == "1 2\n"
