"""Building somebody else's project writes only into its `.vx`, and runs only what the environment names."""

from __future__ import annotations

import os

import pytest

from vx.rhea import sandbox

MANIFEST = '[project]\nname = "p"\n[targets.p]\nsources = ["*.c"]\n'


@pytest.fixture
def p(c):
    project = c.project("p")
    project.write("vx.toml", MANIFEST)
    project.write("main.c", "int main(void) { return 0; }\n")
    return project


@pytest.mark.parametrize(
    "flag",
    [
        *("--output={out}", "-Wp,-MD,{out}", "-aux-info={out}", "-fdump-tree-all={out}", "-dumpdir={out}"),
        *(
            "-fplugin={out}",
            "-fprofile-generate={out}",
            "-fcallgraph-info",
            "-fstack-usage",
            "-MF{out}",
            "@args",
        ),
        *("-specs={out}", "-B/tmp", "-wrapper", "-Wa,-a={out}", "-gsplit-dwarf", "--coverage", "-x", "{out}"),
    ],
)
def test_a_flag_that_could_write_or_run_is_refused_by_name(p, c, flag: str) -> None:
    out = c.sandbox.path / "out"
    word = flag.format(out=out)
    p.write("vx.toml", f'{MANIFEST}flags = ["{word}"]\n')
    assert f"the flag '{word}' in targets.p is not supported by vx" in p.fails()
    assert not out.exists()
    assert c.state()["compilations"] == 0


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["-Wl,-o,{out}"], "-Wl,-o"),
        (["-Wl,-Map={out}"], "-Wl,-Map={out}"),
        (["-Wl,--as-needed,-plugin,{out}"], "-Wl,-plugin"),
        (["-Wl,@{out}"], "-Wl,@{out}"),
        (["-Xlinker", "-Map={out}"], "-Xlinker"),
        (["-T", "{out}"], "-T"),
        (["-o{out}"], "-o{out}"),
        (["{out}"], "{out}"),
        (["-L", "-o{out}"], "-o{out}"),
    ],
)
def test_a_link_flag_that_could_write_or_run_is_refused_by_name(p, c, flags, named: str) -> None:
    out = c.sandbox.path / "out"
    words = [one.format(out=out) for one in flags]
    p.write("vx.toml", f"{MANIFEST}link-flags = {words}\n")
    assert f"the flag '{named.format(out=out)}' in targets.p" in p.fails()
    assert not out.exists()


def test_the_users_own_flags_are_the_users(p) -> None:
    p.build(CFLAGS="-B/tmp")


def test_a_source_whose_name_is_an_option_is_a_source(p) -> None:
    p.write("-DX.c", "int x;\n")
    p.write("@args.c", "int y;\n")
    assert p.executed() == 4


def test_a_crate_whose_path_is_a_file_of_options_is_a_crate(rust) -> None:
    """The compiler reads options from what is called `@...`, among them the program that links."""
    marker = rust.sandbox.path / "ran"
    evil = rust.sandbox.path / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {marker}\n")
    evil.chmod(0o755)
    project = rust.crate(manifest='[[bin]]\nname = "other"\npath = "@args"\n')
    project.write("@args", f"-Clinker={evil}\nsrc/main.rs\n")
    assert project.vx("build").code == 1
    assert not marker.exists()


@pytest.mark.parametrize(
    "level", [".vx", ".vx/build", ".vx/build/{triple}", ".vx/build/{triple}/dev", ".vx/runs"]
)
def test_no_link_leads_out_of_the_project(p, c, level: str) -> None:
    """Git carries links: one in the place of a folder would put a program called `git` into it."""
    p.build()
    (triple,) = os.listdir(p.path / ".vx/build")
    assert p.vx("clean").code == 0
    outside = c.sandbox.path / "outside"
    outside.mkdir()
    link = p.path / level.format(triple=triple)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    done = p.vx("build")
    assert done.code == 1
    assert done.err.splitlines()[-1] == f"vx: {link}: is a symbolic link, which is not followed: remove it"
    assert list(outside.iterdir()) == []
    link.unlink()
    p.build()


def test_an_output_that_is_a_link_is_replaced_and_not_followed(p, c) -> None:
    p.build()
    outside = c.sandbox.path / "outside"
    outside.write_text("mine")
    output = p.output("p")
    output.unlink()
    output.symlink_to(outside)
    p.build()
    assert outside.read_text() == "mine"
    assert not output.is_symlink()


def test_clean_does_not_follow_a_link(p, c) -> None:
    p.build()
    outside = c.sandbox.path / "outside"
    (p.path / ".vx").rename(outside)
    (p.path / ".vx").symlink_to(outside)
    done = p.vx("clean")
    assert done.code == 1
    assert "is a symbolic link, which is not followed: remove it" in done.err
    assert (outside / "runs").is_dir()


WRECK = """
use proc_macro::TokenStream;
use std::{fs, fs::OpenOptions, os::fd::AsRawFd, os::unix::fs::PermissionsExt};
#[proc_macro]
pub fn wreck(how: TokenStream) -> TokenStream {
    let how = how.to_string();
    let below = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    for one in [format!("src/{how}.txt"), format!("{below}/src/{how}.txt")] {
        let _ = match how.as_str() {
            "write" => fs::write(&one, "BAD"),
            "chmod" => fs::set_permissions(&one, fs::Permissions::from_mode(0o666))
                .and_then(|_| fs::write(&one, "BAD")),
            "link" => fs::hard_link(&one, "src/other").and_then(|_| fs::write("src/other", "BAD")),
            "fd" => fs::File::open(&one)
                .and_then(|file| fs::write(format!("/proc/self/fd/{}", file.as_raw_fd()), "BAD")),
            "rename" => fs::write("src/new", "BAD").and_then(|_| fs::rename("src/new", &one)),
            "truncate" => OpenOptions::new().write(true).open(&one).and_then(|file| file.set_len(0)),
            _ => fs::remove_file(&one),
        };
    }
    TokenStream::new()
}
"""
WAYS = ("write", "chmod", "link", "fd", "rename", "truncate", "remove")


@pytest.mark.skipif(sandbox.landlock_version() < 1, reason="the kernel has no Landlock")
def test_a_procedural_macro_changes_neither_the_projects_files_nor_the_stores(rust) -> None:
    """A compiler's inputs are the store's own files, and root heeds no modes."""
    project = rust.crate(manifest='[dependencies]\nmac = { path = "mac" }\n')
    package = '[package]\nname = "mac"\nversion = "0.1.0"\nedition = "2021"\n'
    project.write("mac/Cargo.toml", f"{package}[lib]\nproc-macro = true\n")
    project.write("mac/src/lib.rs", WRECK)
    lines = [f'mac::wreck!({how}); print!("{{}} ", include_str!("{how}.txt"));' for how in WAYS]
    project.write("src/main.rs", f"fn main() {{ {' '.join(lines)} }}")
    for how in WAYS:
        project.write(f"src/{how}.txt", how)
    said = project.vx("build").err
    for path in ("src/write.txt", f"{project.path}/src/write.txt", "src/truncate.txt"):
        assert f"warning: hello (bin hello): a procedural macro would write {path!r}, and may not, " in said
    assert project.vx("build", "--json").code == 0
    assert project.run("hello").split() == [*WAYS]
    assert [(project.path / f"src/{how}.txt").read_text() for how in WAYS] == [*WAYS]
    assert "all whole" in rust.vx("verify").out
