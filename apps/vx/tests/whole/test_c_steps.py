"""C projects beyond compiling: packages, own programs as commands, tests, `install`, `import`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daemonry.testing import wait_until
from vx.rhea import sandbox

BIN = Path(sys.executable).parent
P = '[project]\nname = "p"\n'
MAIN = '#include <stdio.h>\n{}\nint main(void) {{ printf("%d\\n", {}); return 0; }}\n'


@pytest.fixture
def p(c):
    return c.project("p")


def say(project, value: str, before: str = "") -> None:
    project.write("main.c", MAIN.format(before, value))


# --- other files ----------------------------------------------------------------------------------


def test_a_package_of_pkg_config_follows_its_pc_file(p, c) -> None:
    if shutil.which("pkg-config") is None:
        pytest.skip("no pkg-config on the PATH")
    folder = c.sandbox.path / "pc"
    for name, value in (("one", 1), ("two", 2)):
        (folder / name).mkdir(parents=True)
        (folder / name / "own.h").write_text(f"#define V {value}\n")
    pc = folder / "own.pc"
    text = "Name: own\nDescription: own\nVersion: 1.5\nCflags: -I{}\nLibs: -lm\n"
    pc.write_text(text.format(folder / "one"))
    p.write("vx.toml", P + '[targets.p]\nsources = ["main.c"]\npkg-config = ["own >= 1.2"]\n')
    say(p, "V", "#include <own.h>")
    p.build(PKG_CONFIG_PATH=str(folder))
    assert p.run("p") == "1\n"
    pc.write_text(text.format(folder / "two"))
    p.build(PKG_CONFIG_PATH=str(folder))
    assert p.run("p") == "2\n"
    p.write("vx.toml", P + '[targets.p]\nsources = ["main.c"]\npkg-config = ["own >= 9"]\n')
    assert "pkg-config says: " in p.fails(PKG_CONFIG_PATH=str(folder))


def test_a_header_before_each_source_and_a_linker_script(p) -> None:
    p.write(
        "vx.toml",
        P + '[targets.p]\nsources = ["main.c"]\nforce-include = ["pre.h"]\nlinker-script = "own.ld"\n',
    )
    header = p.write("pre.h", "#define V 4\n")
    text = subprocess.run(["ld", "--verbose"], capture_output=True, text=True, check=True).stdout
    script = text.split("=" * 50)[1]
    own = p.write("own.ld", script.replace("PROVIDE (etext = .);", "PROVIDE (etext = .); own_value = 5;"))
    say(p, "V + (int) (long) &own_value", "extern char own_value;")
    p.write("vx.toml", (p.path / "vx.toml").read_text() + 'link-flags = ["-no-pie"]\nflags = ["-fno-pie"]\n')
    p.build()
    assert p.run("p") == "9\n"
    header.write_text("#define V 6\n")
    p.build()
    assert p.run("p") == "11\n"
    own.write_text(own.read_text().replace("own_value = 5", "own_value = 7"))
    p.build()
    assert p.run("p") == "13\n"


def test_static_libraries_that_need_each_other(p) -> None:
    lines = [P]
    for one, other in (("a", "b"), ("b", "a")):
        lines.append(
            f'[targets.{one}]\nkind = "static-library"\nsources = ["{one}.c"]\nneeds = ["{other}"]\n'
        )
        p.write(
            f"{one}.c", f"int {other}(int); int {one}(int x) {{ return x ? {other}(x - 1) : {ord(one)}; }}\n"
        )
    p.write("vx.toml", "".join(lines) + '[targets.p]\nsources = ["main.c"]\nneeds = ["b"]\n')
    say(p, "b(3)", "int b(int);")
    p.build()
    assert p.run("p") == f"{ord('a')}\n"
    p.write("vx.toml", "".join(lines).replace("static", "shared"))
    assert "circle: a -> b -> a" in p.fails()


# --- commands that run a program of the project, and tests ----------------------------------------

STEPS = (
    P
    + """[commands.table]
command = ["%{mk}", "%{out}/table.c"]
outputs = ["table.c"]
[targets.mk]
sources = ["mk.c"]
needs = ["value"]
[targets.value]
kind = "shared-library"
sources = ["value.c"]
[targets.p]
sources = ["main.c"]
generated = ["table"]
[tests.says-3]
command = ["sh", "check.sh", "%{p}", "3"]
inputs = ["check.sh"]
[tests.runs]
command = ["%{p}"]
"""
)


@pytest.fixture
def steps(p):
    if sandbox.why_not():
        pytest.skip(f"what a command reads nothing tells here: {sandbox.why_not()}")
    p.write("vx.toml", STEPS)
    p.write("value.c", "int value(void) { return 3; }\n")
    p.write(
        "mk.c",
        "#include <stdio.h>\nint value(void);\nint main(int c, char **v) {\n"
        'FILE *f = fopen(v[1], "w"); fprintf(f, "int table = %d;\\n", value()); return fclose(f); }\n',
    )
    say(p, "table", "extern int table;")
    p.write("check.sh", 'echo "checked $1"; test "$($1)" = "$2"\n')
    return p


def test_a_program_of_the_project_makes_a_source_of_another(steps) -> None:
    steps.build()
    assert steps.run("p") == "3\n"
    steps.write("value.c", "int value(void) { return 4; }\n")
    steps.build()
    assert steps.run("p") == "4\n"


def test_tests_run_again_only_when_their_program_or_inputs_change(steps) -> None:
    steps.build()
    first = steps.vx("test", "--json")
    assert (first.code, json.loads(first.out)["passed"]) == (0, 2), first
    for _ in range(5):
        if json.loads(steps.vx("test", "--json").out)["executed"] == 0:
            break
    said = steps.vx("test").out
    assert said.startswith("p: 2 tests passed (cached"), said
    steps.write("value.c", "int value(void) { return 4; }\n")
    failed = steps.vx("test")
    assert failed.code == 1
    assert "checked .vx/programs/p" in failed.err
    assert failed.err.splitlines()[-1] == "vx: 1 of 2 tests failed: says-3 (test)"  # and the other one ran
    assert {one["outcome"] for one in steps.report()["actions"] if one["id"] == "runs test"} == {"executed"}
    steps.write("check.sh", 'test "$($1)" = 4\n')
    assert steps.vx("test", "says-3").code == 0
    assert "no test is called 'says3': did you mean 'says-3'?" in steps.vx("test", "says3").err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[tests.t]\ncommand = ["%{q}"]\n', "%{q} is not a target"),
        ('[tests.t]\ncommand = ["./run"]\n', "is not a program on the PATH"),
        (
            '[commands.c]\ncommand = ["%{p}"]\noutputs = ["x"]\n[targets.p]\ngenerated = ["c"]\n',
            "circle: p -> c -> p",
        ),
        ('[install]\n"../bin" = ["p"]\n', "must be a folder below the prefix"),
        ('[targets.p]\nsources = ["main.c"]\npkg-config = ["--version"]\n', "is not a package"),
        ('[targets.p]\nsources = ["main.c"]\nlinker-script = "../x.ld"\n', "is outside the project"),
    ],
)
def test_a_step_that_is_wrong_is_one_line(p, text: str, said: str) -> None:
    whole = P + ("" if "[targets.p]" in text else '[targets.p]\nsources = ["main.c"]\n') + text
    p.write("vx.toml", whole)
    say(p, "1")
    assert said in p.fails()


# --- install --------------------------------------------------------------------------------------


def test_install_puts_what_is_named_below_a_prefix(p, c) -> None:
    p.write(
        "vx.toml",
        P + '[targets.p]\nsources = ["main.c"]\n[targets.l]\nkind = "static-library"\nsources = ["main.c"]\n'
        '[install]\nbin = ["p"]\n"share/doc/p" = ["doc/*"]\n',
    )
    p.write("doc/p.txt", "text\n")
    say(p, "8")
    prefix = c.sandbox.path / "prefix"
    done = p.vx("install", "--prefix", str(prefix))
    assert (done.code, done.out.splitlines()) == (
        0,
        [f"installed: {prefix}/bin/p", f"installed: {prefix}/share/doc/p/p.txt"],
    ), done
    assert subprocess.run([prefix / "bin/p"], capture_output=True, check=True).stdout == b"8\n"
    assert not (prefix / "lib").exists()
    p.write("vx.toml", (p.path / "vx.toml").read_text().partition("[install]")[0])
    done = p.vx("install", "--prefix", "/usr", "--json", DESTDIR=str(prefix / "dest"))
    assert [Path(one).name for one in json.loads(done.out)["paths"]] == ["p", "libl.a"]
    assert (prefix / "dest/usr/lib/libl.a").exists()
    p.write("vx.toml", (p.path / "vx.toml").read_text() + '[install]\nbin = ["q"]\n')
    done = p.vx("install", "--prefix", str(prefix))
    assert (done.code, "'q' is not a target and matches no file" in done.err) == (1, True)
    assert p.vx("install", "--prefix", "here").code == 2


def test_an_installed_program_finds_the_shared_libraries_of_its_project(p, c) -> None:
    p.write(
        "vx.toml",
        P + '[targets.p]\nsources = ["main.c"]\nneeds = ["l"]\n'
        '[targets.l]\nkind = "shared-library"\nsources = ["l.c"]\n',
    )
    p.write("l.c", "int l(void) { return 8; }\n")
    say(p, "l()", "int l(void);")
    prefix = c.sandbox.path / "prefix"
    done = p.vx("install", "--prefix", str(prefix))
    assert done.code == 0, done
    shutil.move(prefix, c.sandbox.path / "moved")
    shutil.rmtree(p.path / ".vx")
    run = subprocess.run([c.sandbox.path / "moved/bin/p"], capture_output=True, check=True, env={})
    assert run.stdout == b"8\n"


# --- what a command looks for ---------------------------------------------------------------------

GENERATES = P + (
    '[commands.g]\ncommand = ["sh", "-c", "{}", "%{{out}}"]\noutputs = ["g.h"]\n{}'
    '[targets.p]\nsources = ["main.c"]\ngenerated = ["g"]\n'
)


@pytest.mark.skipif(bool(sandbox.why_not()), reason=f"no sandbox here: {sandbox.why_not()}")
@pytest.mark.parametrize(
    "asks", ["cat {}/wanted 2> $TMPDIR/no", "test -e {}/wanted", "ls {} | grep -q wanted"]
)
def test_a_command_runs_again_when_something_comes_where_it_found_nothing(p, c, asks: str) -> None:
    """As a `configure` does that checks for a header; the folder stands for one of the system."""
    folder = c.sandbox.path / "system"
    folder.mkdir()
    (folder / "other").write_text("")
    command = f"if {asks.format(folder)}; then echo '#define V 2'; else echo '#define V 1'; fi > $0/g.h"
    program = folder / "run"
    program.write_text('#!/bin/sh\nexec sh "$@"\n')
    program.chmod(0o755)
    p.write("vx.toml", GENERATES.format(command, "").replace('["sh"', '["run"'))
    say(p, "V", '#include "g.h"')
    path = {"PATH": f"{folder}:{c.env['PATH']}"}
    for _ in range(5):
        if p.executed(**path) == 0:
            break
    assert p.run("p") == "1\n"
    (folder / "wanted").write_text("")
    p.build(**path)
    assert p.run("p") == "2\n"


def test_a_command_runs_again_when_it_is_to_make_one_more_file(p) -> None:
    """Its words may be the same."""
    text = (
        P + '[commands.make]\ncommand = ["sh", "make.sh", "%{out}"]\ninputs = ["make.sh"]\noutputs = [OUT]\n'
    )
    text += '[targets.p]\nsources = ["main.c"]\ngenerated = ["make"]\n'
    p.write("make.sh", 'echo "#define V 4" > $1/one.h\necho "#define V 5" > $1/two.h\n')
    p.write("vx.toml", text.replace("OUT", '"one.h"'))
    say(p, "V", '#include "one.h"')
    p.build()
    p.write("vx.toml", text.replace("OUT", '"one.h", "two.h"'))
    say(p, "V", '#include "two.h"')
    p.build()
    assert p.run("p") == "5\n"
    p.write("vx.toml", text.replace("OUT", '"one.h", "no.h"'))
    assert "no.h" in p.fails()


def test_a_command_runs_again_when_a_pattern_means_one_more_file(p) -> None:
    """Also if it is the same as another one of them."""
    command = "echo '#define V' $(ls d | wc -l) > $0/g.h"
    p.write("vx.toml", GENERATES.format(command, 'inputs = ["d/*"]\n'))
    say(p, "V", '#include "g.h"')
    p.write("d/one", "")
    p.build()
    assert p.run("p") == "1\n"
    p.write("d/two", "")
    p.build()
    assert p.run("p") == "2\n"


def test_output_beyond_what_is_kept_is_counted(p) -> None:
    """8 MiB are; the line about the rest stands by itself."""
    p.write("vx.toml", GENERATES.format("head -c 9000000 /dev/zero | tr '\\\\0' a >&2; exit 3", ""))
    say(p, "1")
    told = p.vx("build").err.splitlines()
    at = told.index(f"warning: {9_000_000 - (8 << 20)} more bytes of its output are left out")
    assert set(told[at - 1]) == {"a"}


def test_a_rhea_that_is_stopped_is_named_and_comes_back(p, c) -> None:
    p.write("vx.toml", GENERATES.format("echo on >&2; sleep 600", ""))
    say(p, "1")
    building = c.begin("build", cwd=p.path)

    def rhea(word: str) -> str:
        done = subprocess.run([BIN / "vx-rhea", word], env=c.env, capture_output=True, text=True, check=False)
        return done.stdout

    wait_until(lambda: "jobs_running: 1" in rhea("status"), 20, "the command runs")
    pid = c.pid("rhea")
    assert "stopped" in rhea("stop")
    _, err = building.communicate(timeout=60)
    assert building.returncode == 1
    assert f"vx: rhea died: pid {pid} ended with status 0; its log is {c.home}/rhea.log" in err
    p.write("vx.toml", GENERATES.format("touch $0/g.h", ""))
    p.build()


# --- import ---------------------------------------------------------------------------------------


CMAKE = """\
cmake_minimum_required(VERSION 3.10)
project(p C)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
configure_file(conf.h.in conf.h)
add_library(low STATIC low/low.c)
target_include_directories(low PUBLIC low ${CMAKE_BINARY_DIR})
add_library(dyn SHARED dyn.c)
set_target_properties(dyn PROPERTIES OUTPUT_NAME other VERSION 1.2.3 SOVERSION 1 C_VISIBILITY_PRESET hidden)
set_target_properties(dyn PROPERTIES LINK_FLAGS "-Wl,--version-script,${CMAKE_SOURCE_DIR}/dyn.map")
add_library(parts OBJECT parts.c)
find_library(MATH m)
add_executable(p main.c $<TARGET_OBJECTS:parts>)
target_compile_definitions(p PRIVATE MORE=5)
target_link_libraries(p low dyn ${MATH})
"""


@pytest.mark.slow
@pytest.mark.parametrize(("generator", "tool"), [("Unix Makefiles", "make"), ("Ninja", "ninja")])
def test_a_project_of_cmake_is_imported_and_builds_the_same(p, generator: str, tool: str) -> None:
    """Libraries under other names and with versions, objects of none, one of the system's."""
    if shutil.which("cmake") is None or shutil.which(tool) is None:
        pytest.skip(f"no cmake or {tool} on the PATH")
    p.write("CMakeLists.txt", CMAKE)
    p.write("conf.h.in", "#define CONF 2\n")
    p.write("low/low.h", "int low(void);\n")
    p.write("low/low.c", '#include "low.h"\n#include "conf.h"\nint low(void) { return CONF; }\n')
    p.write("dyn.map", "{ global: dyn; local: *; };\n")
    visible = '#ifdef dyn_EXPORTS\n__attribute__((visibility("default")))\n#endif\n'
    p.write("dyn.c", f"int hidden(void) {{ return 1; }}\n{visible}int dyn(void) {{ return 9 + hidden(); }}\n")
    p.write("parts.c", "int parts(void) { return 100; }\n")
    p.write(
        "main.c",
        '#include <math.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include "low.h"\n#define CALL\n'
        "int dyn(void);\nint parts(void);\nint CALL main(int n, char **words) {\n"
        "    double power = pow(10 * n, 3 + atoi(words[0] + n * 0) * 0);\n"
        '    printf("%d\\n", low() + dyn() + MORE + parts() + (int)power);\n    return 0;\n}\n',
    )
    words = ["cmake", "-S", ".", "-B", "build", "-G", generator]
    subprocess.run(words, cwd=p.path, check=True, capture_output=True)
    done = p.vx("import")
    assert (done.code, done.err) == (0, ""), done
    assert done.out == f"vx: wrote {p.path}/vx.toml: low, dyn, parts, p\n"
    p.build()
    assert p.run("p") == "1117\n"
    exported = subprocess.run(
        ["nm", "-D", "--defined-only", p.output("libdyn.so")], capture_output=True, text=True, check=True
    )
    assert exported.stdout.split()[2::3] == ["dyn"]
    assert p.vx("import").code == 1
    assert p.vx("import", "--force", "build").code == 0


def test_without_ninja_what_it_would_tell_is_a_line(p) -> None:
    p.write("build/build.ninja", "")
    p.write("main.c", "int main(void) { return 0; }\n")
    entry = {"directory": f"{p.path}/build", "file": "../main.c", "command": "cc -c ../main.c -o main.o"}
    p.write("build/compile_commands.json", json.dumps([entry]))
    programs = p.path / "programs"
    programs.mkdir()
    done = p.vx("import", PATH=str(programs))
    assert f"vx: {p.path}/build/build.ninja tells what links with what: install ninja\n" in done.err
    for does, why in (
        ("echo no", "truncated"),
        ("exit 3", "it ended with 3"),
        ("exec yes", "more than 100 MiB"),
    ):
        (programs / "ninja").write_text(f"#!/bin/sh\n{does}\n")
        (programs / "ninja").chmod(0o755)
        done = p.vx("import", "--force", PATH=f"{programs}:{os.environ['PATH']}")
        assert "vx: ninja does not tell what links with what: " in done.err
        assert why in done.err
        assert done.code == 0
