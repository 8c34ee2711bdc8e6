"""When a result is found, and when it is made anew."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

import pytest

TWO = 'mod part;\nfn main() { println!("{}", part::VALUE); }\n'


def test_fresh_build_runs_the_compiler_and_the_second_does_not(rust) -> None:
    project = rust.crate()
    assert project.executed() == 1
    assert project.executed() == 0
    assert rust.state()["compilations"] == 1


def test_a_change_of_a_source_misses_and_back_again_hits(rust) -> None:
    project = rust.crate()
    project.build()
    before = project.path.joinpath("src/main.rs").read_text()
    project.write("src/main.rs", 'fn main() { println!("two"); }\n')
    assert project.executed() == 1
    assert project.run("hello") == "two\n"
    project.write("src/main.rs", before)
    assert project.executed() == 0
    assert project.run("hello") == "hello\n"


def test_a_change_that_keeps_size_and_time_is_seen(rust) -> None:
    """Whoever sets a file's time back cannot set its ctime back."""
    project = rust.crate()
    project.build()
    path = project.path / "src/main.rs"
    old = path.stat()
    path.write_text('fn main() { println!("hallo"); }\n')
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert path.stat().st_size == old.st_size
    assert project.executed() == 1
    assert project.run("hello") == "hallo\n"


def test_a_new_time_alone_is_no_change(rust) -> None:
    project = rust.crate()
    project.build()
    os.utime(project.path / "src/main.rs")
    assert project.executed() == 0


def test_profile_change_misses_and_each_is_kept(rust) -> None:
    project = rust.crate()
    assert project.executed() == 1
    assert project.executed("--release") == 1
    assert project.executed() == 0
    assert project.executed("--release") == 0
    assert project.run("hello", "release") == "hello\n"


def test_edition_change_misses(rust) -> None:
    project = rust.crate()
    project.build()
    manifest = project.path / "Cargo.toml"
    manifest.write_text(manifest.read_text().replace("2021", "2018"))
    assert project.executed() == 1
    assert "edition: '2021' -> '2018'" in project.vx("explain").out


def test_a_profile_key_change_misses(rust) -> None:
    project = rust.crate()
    project.build()
    manifest = project.path / "Cargo.toml"
    manifest.write_text(manifest.read_text() + "[profile.dev]\nopt-level = 1\n")
    assert project.executed() == 1
    assert "profile:" in project.vx("explain").out


def test_module_change_misses(rust) -> None:
    project = rust.crate(main=TWO)
    project.write("src/part.rs", "pub const VALUE: i32 = 1;\n")
    project.build()
    project.write("src/part.rs", "pub const VALUE: i32 = 2;\n")
    assert project.executed() == 1
    assert project.run("hello") == "2\n"


def test_a_file_that_is_not_compiled_is_no_input(rust) -> None:
    project = rust.crate()
    project.build()
    project.write("README.md", "words")
    project.write("src/unused.rs", "not rust")
    assert project.executed() == 0


def test_an_included_file_is_an_input(rust) -> None:
    project = rust.crate(main='fn main() { print!("{}", include_str!("../text.txt")); }\n')
    project.write("text.txt", "one")
    project.build()
    assert project.run("hello") == "one"
    project.write("text.txt", "two")
    assert project.executed() == 1
    assert project.run("hello") == "two"


def test_a_second_place_for_a_module_is_the_error_that_it_is(rust) -> None:
    """The compiler refuses `part.rs` beside `part/mod.rs`; a hit would hide that."""
    project = rust.crate(main=TWO)
    project.write("src/part.rs", "pub const VALUE: i32 = 1;\n")
    project.build()
    project.write("src/part/mod.rs", "pub const VALUE: i32 = 2;\n")
    assert "part" in project.fails()


def test_the_version_counts_only_for_who_reads_it(rust) -> None:
    silent = rust.crate("silent")
    saying = rust.crate("saying", 'fn main() { println!("{}", env!("CARGO_PKG_VERSION")); }\n')
    for project in (silent, saying):
        project.build()
        manifest = project.path / "Cargo.toml"
        manifest.write_text(manifest.read_text().replace("0.1.0", "0.2.0"))
    assert silent.executed() == 0
    assert saying.executed() == 1
    assert saying.run("hello") == "0.2.0\n"
    assert "CARGO_PKG_VERSION: '0.1.0' -> '0.2.0'" in saying.vx("explain").out


def test_different_checkout_path_is_cache_hit(rust) -> None:
    project = rust.crate(main=TWO)
    project.write("src/part.rs", "pub const VALUE: i32 = 7;\n")
    project.build()
    elsewhere = rust.project("else/where")
    shutil.copytree(project.path, elsewhere.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".vx"))
    assert elsewhere.executed() == 0
    assert elsewhere.run("hello") == "7\n"
    assert elsewhere.output("hello").read_bytes() == project.output("hello").read_bytes()


def test_a_crate_that_knows_its_path_is_built_for_each(rust) -> None:
    project = rust.crate(main='fn main() { println!("{}", env!("CARGO_MANIFEST_DIR")); }\n')
    project.build()
    elsewhere = rust.project("elsewhere")
    shutil.copytree(project.path, elsewhere.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".vx"))
    assert elsewhere.executed() == 1
    assert elsewhere.run("hello") == f"{elsewhere.path}\n"
    assert project.executed() == 0


def test_cache_persists_across_sessions(rust) -> None:
    project = rust.crate()
    project.build()
    rust.kill()
    assert project.vx("clean").code == 0
    assert not (project.path / ".vx").exists()
    assert project.executed() == 0
    assert project.run("hello") == "hello\n"


@pytest.mark.slow
def test_what_is_known_is_asked_of_the_store_once(rust) -> None:
    """After a restart the first build asks the store, and the next one nobody."""
    project = rust.crate()
    project.build()
    rust.kill()
    project.build()
    rust.instance("cass")
    os.kill(rust.pid("cass"), 19)  # SIGSTOP: whoever asks it now waits
    try:
        assert project.executed() == 0
    finally:
        os.kill(rust.pid("cass"), 18)


@pytest.mark.slow
def test_the_first_build_after_a_crash_finds_all_without_the_store(c) -> None:
    """It was built once, and aether was killed: no second build had to find everything first."""
    project = c.project("p")
    project.write("vx.toml", '[project]\nname = "p"\n[targets.p]\nsources = ["*.c"]\n')
    source = project.write("main.c", "int main(void) { return 0; }\n")
    other = c.project("other")
    other.write("vx.toml", '[project]\nname = "o"\n[targets.o]\nsources = ["*.c"]\n')
    other.write("main.c", "int main(void) { return 3; }\n")
    other.build()
    assert project.executed() == 2
    os.kill(c.pid("aether"), signal.SIGKILL)
    (c.home / "aether.known").unlink()  # it has the same, of smaller projects
    other.build()  # starts the services
    os.kill(c.pid("cass"), signal.SIGSTOP)
    try:
        told = project.build(PWD="/elsewhere")
        assert (told["executed"], told["cached"]) == (0, 2)
        assert [one["outcome"] for one in project.report()["actions"]] == ["cached", "cached"]
    finally:
        os.kill(c.pid("cass"), signal.SIGCONT)
    os.kill(c.pid("aether"), signal.SIGKILL)
    source.write_text("int main(void) { return 1; }\n")
    assert project.executed() == 2


def test_clean_removes_vx_and_never_the_store(rust) -> None:
    project = rust.crate()
    project.build()
    stored = sorted(path.name for path in (rust.home / "cass").rglob("*") if path.is_file())
    assert project.vx("clean").code == 0
    assert not (project.path / ".vx").exists()
    assert sorted(path.name for path in (rust.home / "cass").rglob("*") if path.is_file()) == stored
    assert project.executed() == 0


@pytest.mark.slow
def test_clean_store_removes_it_when_told(rust) -> None:
    project = rust.crate()
    project.build()
    done = project.vx("clean", "--store")
    assert done.code == 0, done
    assert not (rust.home / "cass").exists()
    assert project.executed() == 1


def test_an_output_that_was_changed_is_put_again(rust) -> None:
    project = rust.crate()
    project.build()
    output = project.output("hello")
    output.write_text("#!/bin/sh\necho changed\n")
    assert project.executed() == 0
    assert project.run("hello") == "hello\n"
    output.unlink()
    assert project.executed() == 0
    assert project.run("hello") == "hello\n"


def test_changing_an_output_in_place_does_not_change_the_store(rust) -> None:
    project = rust.crate()
    project.build()
    with project.output("hello").open("r+b") as file:
        file.write(b"broken")
    assert rust.vx("verify").code == 0
    assert project.executed() == 0
    assert project.run("hello") == "hello\n"


def test_outputs_have_the_permissions_of_the_caller(rust) -> None:
    project = rust.crate()
    done = rust.begin("build", cwd=project.path, umask=0o027)
    assert done.wait(60) == 0, done.communicate()
    assert project.output("hello").stat().st_mode & 0o777 == 0o750
    assert (project.path / ".vx/runs/latest").stat().st_mode & 0o777 == 0o640
    done.communicate()


def test_warnings_are_told_again_by_a_hit(rust) -> None:
    project = rust.crate(main="fn main() { let unused = 1; }\n")
    first = project.build()
    second = project.build()
    assert "unused variable: `unused`" in first["err"]
    assert "unused variable: `unused`" in second["err"]
    assert "\x1b" not in second["err"]
    rust.kill()
    assert "unused variable: `unused`" in project.build()["err"]


def test_a_damaged_blob_is_found_named_and_built_again(rust) -> None:
    project = rust.crate()
    project.build()
    digest = max(
        (path for path in (rust.home / "cass").rglob("*") if path.is_file()),
        key=lambda path: path.stat().st_size,
    )
    content = digest.read_bytes()
    digest.chmod(0o644)
    digest.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = rust.vx("verify")
    assert done.code == 1
    assert "damaged blob" in done.out
    assert digest.name[:8] in done.out or digest.parent.name in done.out
    assert project.vx("clean").code == 0
    assert project.executed() == 1
    assert project.run("hello") == "hello\n"
    assert rust.vx("verify").code == 0


def test_a_collected_store_builds_again(rust) -> None:
    project = rust.crate()
    project.build()
    assert rust.vx("gc", "--max-size", "0").code == 0
    assert project.vx("clean").code == 0
    assert project.executed() == 1
    assert project.run("hello") == "hello\n"
    assert project.executed() == 0


def test_another_compiler_misses(rust) -> None:
    """A wrapper is another compiler by what it says of itself and by its content, wherever it is."""
    project = rust.crate()
    project.build()
    sysroot = subprocess.run(
        ["rustc", "--print", "sysroot"], env=rust.env, capture_output=True, text=True, check=True
    )
    real = f"{sysroot.stdout.strip()}/bin/rustc"
    wrapper = rust.sandbox.write(
        "tools/rustc",
        f'#!/bin/sh\nif [ "$1" = -vV ]; then {real} -vV; echo patched: yes; exit; fi\nexec {real} "$@"\n',
    )
    wrapper.chmod(0o755)
    assert project.executed(RUSTC=str(wrapper)) == 1
    assert "because: compiler:" in project.vx("explain").out
    wrapper.write_text(f'#!/bin/sh\nexec {real} "$@" --cfg patched\n')
    project.write("src/main.rs", 'fn main() { println!("{}", cfg!(patched)); }\n')
    assert project.executed(RUSTC=str(wrapper)) == 1
    assert project.run("hello") == "true\n"
    wrapper.write_text(f'#!/bin/sh\nexec {real} "$@"\n')
    assert project.executed(RUSTC=str(wrapper)) == 1
    assert project.run("hello") == "false\n"
    assert project.executed(RUSTC=str(wrapper)) == 0


def test_results_that_are_made_again_are_the_same_or_named(c) -> None:
    """`vx verify --rebuild`: a compiler that does not make the same twice is found."""
    project = c.project("p")
    project.write("vx.toml", '[project]\nname = "p"\n[targets.p]\nsources = ["*.c"]\n')
    project.write("main.c", "int main(void) { return 0; }\n")
    project.write("odd.c", "int odd(void) { return 0; }\n")
    again = project.vx("verify", "--rebuild", "10")
    assert (again.code, again.out) == (0, "vx: 3 results made again: all the same\n"), again
    cc = c.sandbox.path / "bin/cc"
    cc.parent.mkdir()
    odd = 'case "$*" in *odd.c*) more="-DN=$(od -An -N4 -tu4 /dev/urandom | tr -d " ")" ;; esac'
    cc.write_text(f'#!/bin/sh\n{odd}\nexec {shutil.which("cc")} $more -g3 "$@"\n')
    cc.chmod(0o755)
    again = project.vx("verify", "--rebuild", "10", CC=str(cc))
    assert again.code == 1
    assert again.out.splitlines() == [
        "not reproducible: odd.c: .vx/out/odd.o",
        "vx: 3 results made again: 1 differ",
    ]
    assert project.vx("verify", "--rebuild", "no").code == 2


@pytest.mark.slow
def test_after_a_restart_nothing_is_read_or_asked_again(c) -> None:
    project = c.project("p")
    project.write("vx.toml", '[project]\nname = "p"\n[targets.p]\nsources = ["*.c"]\n')
    source = project.write("main.c", "int main(void) { return 0; }\n")
    for _ in range(4):
        project.build()
    c.kill()
    assert project.executed() == 0
    assert c.state()["files_hashed"] == 0
    c.kill()
    source.write_text("int main(void) { return 1; }\n")
    assert project.executed() == 2
    c.kill()
    known = c.home / "aether.known"
    assert known.stat().st_mode & 0o777 == 0o600
    known.write_bytes(known.read_bytes()[:-1] + b"?")
    assert project.executed() == 0
    c.kill()
    shutil.rmtree(c.home / "cass")  # what is believed of the store is no more
    shutil.rmtree(project.path / ".vx")
    assert project.executed() == 2
