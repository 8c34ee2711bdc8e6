"""What vx does not do is refused by name, before anything runs."""

from __future__ import annotations

import re

import pytest

from daemonry import listen


@pytest.mark.parametrize(
    ("manifest", "named"),
    [
        ('[profile.dev]\nsplit-debuginfo = "packed"\n', "split-debuginfo 'packed' of the profile dev"),
        ('[dependencies]\nx = { path = "x" }\n', "depending on a library of type cdylib"),
    ],
)
def test_refused_by_name(rust, manifest: str, named: str) -> None:
    project = rust.crate(manifest=manifest)
    project.write("x/Cargo.toml", '[package]\nname = "x"\nlinks = "x"\n[lib]\ncrate-type = ["cdylib"]\n')
    project.write("x/build.rs", "fn main() {}\n")
    project.write("x/src/lib.rs", "")
    line = project.fails()
    assert f"{named} is not supported by vx" in line
    assert re.search(r"Cargo\.toml: ", line)
    assert rust.state()["compilations"] == 0


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ('[dependencies]\nserde = "1"\n', "no matching package named `serde` found"),
        (
            '[dependencies]\nx = { git = "https://example.org/x" }\n',
            "failed to load source for dependency `x`",
        ),
        ("[dependencies]\nx = { path = 'x', artifact = 'bin' }\n", "artifact"),
    ],
)
def test_what_cargo_does_not_resolve_is_one_line_with_its_reason(rust, manifest: str, said: str) -> None:
    project = rust.crate(manifest=manifest)
    line = project.fails("--offline")
    assert "Cargo.toml: cargo says: " in line
    assert said in line
    assert rust.state()["compilations"] == 0


def test_a_cargo_configuration_that_counts_is_refused(rust) -> None:
    """Of the directory that is built, as cargo reads it: of a member, and by its old name."""
    project = rust.crate(manifest='[workspace]\nmembers = ["one"]\n')
    project.write("one/Cargo.toml", '[package]\nname = "one"\n')
    project.write("one/src/lib.rs", "")
    project.write("one/.cargo/config", '[build]\nrustflags = ["--cfg", "one"]\n')
    project.write("one/.cargo/config.toml", "[net]\noffline = true\n")
    assert "one/.cargo/config:2:1: build.rustflags is not supported" in project.fails("-C", "one")
    project.write(".cargo/config.toml", '[build]\nrustflags = ["-C", "target-cpu=native"]\n')
    assert "build.rustflags is not supported" in project.fails()
    project.write(".cargo/config.toml", "[net]\noffline = true\n")
    assert project.executed() == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not toml", "Cargo.toml:1:5: not TOML"),
        ("", "neither [package] nor [workspace]"),
        ('[package]\nname = "x"\nedition = "2099"\n', "`2099`"),
        ('[package]\nname = "x"\n[dependencies]\ny = { path = "nowhere" }\n', "is not there"),
        (
            '[package]\nname = "x"\n[features]\na = ["b"]\ndefault = ["a"]\n',
            "`b` which is neither a dependency nor another feature",
        ),
    ],
)
def test_a_manifest_that_is_wrong_is_one_line(rust, text: str, said: str) -> None:
    project = rust.project()
    project.write("Cargo.toml", text)
    project.write("src/main.rs", "fn main() {}\n")
    assert said in project.fails()


def test_dependencies_in_a_circle(rust) -> None:
    project = rust.crate(manifest='[dependencies]\na = { path = "a" }\n')
    for one, other in (("a", "b"), ("b", "a")):
        project.write(
            f"{one}/Cargo.toml",
            f'[package]\nname = "{one}"\nedition = "2021"\n[dependencies]\n'
            f'{other} = {{ path = "../{other}" }}\n',
        )
        project.write(f"{one}/src/lib.rs", "")
    assert "circle: a -> b -> a" in project.fails()


def test_no_project_at_all(app) -> None:
    project = app.project()
    assert "no Cargo.toml and no vx.toml" in project.fails()


def test_two_kinds_of_project_at_once(app) -> None:
    project = app.crate()
    project.write("vx.toml", "")
    assert "one project has one of them" in project.fails()


def test_no_compiler_names_what_to_install(app) -> None:
    project = app.crate()
    line = project.fails(PATH="/nowhere")
    assert "rustc" in line
    assert "install Rust" in line


def test_no_c_compiler_names_what_to_install(app) -> None:
    project = app.project()
    project.write("vx.toml", '[project]\nname = "x"\n[targets.x]\nsources = ["x.c"]\n')
    project.write("x.c", "int main(void) { return 0; }\n")
    line = project.fails(PATH="/nowhere")
    assert "'cc'" in line
    assert "install gcc or clang" in line


@pytest.mark.parametrize(
    ("named", "why"), [("/etc/passwd", "is not a program"), ("bin/rustc", "is not an absolute path")]
)
def test_a_compiler_that_is_named_and_is_none(app, named: str, why: str) -> None:
    project = app.crate()
    line = project.fails(RUSTC=named)
    assert f"'{named}' {why}: " in line
    assert "set RUSTC" in line


def test_an_endpoint_that_is_none_is_told_with_its_variable(app) -> None:
    for service in ("AETHER", "CASS", "RHEA"):
        done = app.vx("build", **{f"VX_{service}": "http://x"})
        assert done.code == 2
        assert done.err.startswith(f"vx: VX_{service}: 'http://x' is not an endpoint")


def test_an_aether_that_is_elsewhere_is_not_started(app) -> None:
    with listen("tcp:127.0.0.1:0") as listener:
        port = str(listener.endpoint).rpartition(":")[2]  # free, once this is closed
    done = app.vx("build", VX_AETHER=f"tcp:0.0.0.0:{port}")  # not the loopback, for all that is known
    assert done.code == 3
    assert done.err == (
        f"vx: aether: not running (VX_AETHER names tcp:0.0.0.0:{port}, which is not started from here)\n"
    )


def test_why_not_lists_all_flags_of_a_vx_toml_and_of_the_environment(c) -> None:
    project = c.project("p")
    project.write(
        "vx.toml",
        '[project]\nname = "p"\n[targets.p]\nsources = ["p.c"]\nflags = ["-fplugin=a.so", "-Wall", "-ob"]\n'
        'link-flags = ["-lm", "-Wl,-Map=c"]\nfile-flags = { "p.c" = ["-save-temps"] }\n'
        '[targets.q]\nsources = ["p.c"]\nflags = ["-I/home"]\n[profile.dev]\nflags = ["@d"]\n',
    )
    project.write("p.c", "int main(void) { return 0; }\n")
    done = project.vx(
        "build", "--why-not", CFLAGS="-save-temps -Wall", LDFLAGS="-Wl,-Map=x", COMPILER_PATH="/x"
    )
    named = "-fplugin=a.so", "-ob", "'-Wl,-Map=c'", "'-save-temps'", "'-I/home'", "'@d'"
    of_environment = "COMPILER_PATH", "-save-temps in CFLAGS", "-Wl,-Map=x in LDFLAGS"
    lines = done.out.splitlines()
    assert [sum(what in line for line in lines) for what in (*named, *of_environment)] == [1] * 9, done
    assert len(lines) == 9
    assert not (project.path / ".vx").exists()
