"""C projects, by the same engine."""

from __future__ import annotations

import shutil

import pytest

MANIFEST = """\
[project]
name = "counting"

[targets.util]
kind = "static-library"
sources = ["src/util*.c"]
include = ["include"]

[targets.counting]
sources = ["src/main.c"]
include = ["include"]
needs = ["util"]
defines = ["START=40"]
"""


@pytest.fixture
def counting(c):
    project = c.project("counting")
    project.write("vx.toml", MANIFEST)
    project.write("include/util.h", "int util(int);\n")
    project.write("src/util.c", '#include "util.h"\nint util(int of) { return of + 2; }\n')
    project.write(
        "src/main.c",
        '#include <stdio.h>\n#include "util.h"\nint main(void) { printf("%d\\n", util(START)); return 0; }\n',
    )
    return project


def test_it_builds_runs_and_is_then_found(counting) -> None:
    assert counting.executed() == 4
    assert counting.run("counting") == "42\n"
    assert counting.executed() == 0
    assert counting.output("libutil.a").exists()


def test_a_header_counts_for_those_that_include_it(counting) -> None:
    counting.write("include/other.h", "#define OTHER 1\n")
    counting.write("src/util2.c", '#include "other.h"\nint other(void) { return OTHER; }\n')
    counting.build()
    counting.write("include/other.h", "#define OTHER 2\n")
    assert counting.executed() == 3  # util2.c, the archive, the program
    assert [one["id"] for one in counting.report()["actions"] if one["outcome"] == "cached"] == [
        "util src/util.c",
        "counting src/main.c",
    ]


def test_a_header_that_appears_in_an_earlier_folder_is_seen(counting) -> None:
    """It is read in the place of a later one, though no file that was read has changed."""
    manifest = MANIFEST.replace('include = ["include"]', 'include = ["first", "include"]')
    counting.write("vx.toml", manifest)
    counting.build()
    counting.write("first/util.h", "int util(int);\n#undef START\n#define START 1\n")
    assert counting.executed() >= 1
    assert counting.run("counting") == "3\n"
    assert "is new" in counting.vx("explain", "--json").out


def test_a_project_header_that_hides_a_system_one_is_seen(counting) -> None:
    counting.build()
    counting.write("include/stdio.h", "#include_next <stdio.h>\n#undef START\n#define START 8\n")
    assert counting.executed() >= 1
    assert counting.run("counting") == "10\n"


def test_another_checkout_is_a_hit(counting, c) -> None:
    counting.build()
    other = c.project("somewhere/else")
    shutil.copytree(counting.path, other.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".vx"))
    assert other.executed() == 0
    assert other.run("counting") == "42\n"


def test_flags_and_profiles_count(counting) -> None:
    counting.build()
    assert counting.executed("--release") == 4
    counting.write("vx.toml", MANIFEST.replace("START=40", "START=1"))
    assert counting.executed() == 2
    assert counting.run("counting") == "3\n"
    assert "defines: '-DSTART=40' -> '-DSTART=1'" in counting.vx("explain").out


def test_what_the_compiler_says_is_shown(counting) -> None:
    counting.write("src/util.c", '#include "util.h"\nint util(int of) { return of + }\n')
    done = counting.vx("build")
    assert done.code == 1
    assert "src/util.c:2:" in done.err
    assert "\x1b" not in done.err
    assert not counting.report()["success"]


def test_includes_that_the_text_does_not_tell(counting) -> None:
    counting.write(
        "src/util.c", '#define WHICH "util.h"\n#include WHICH\nint util(int of) { return of + 3; }\n'
    )
    counting.build()
    assert counting.run("counting") == "43\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[project]\n", "vx.toml:1:2: project.name: is missing"),
        ('[project]\nname = "x"\n', "has no target"),
        (
            '[project]\nname = "x"\n[targets.x]\nsource = ["x.c"]\n',
            "vx.toml:4:1: targets.x.source: is not known",
        ),
        ('[project]\nname = "x"\n[targets.x]\nsources = ["none*.c"]\n', "match no file"),
        ('[project]\nname = "x"\n[targets.x]\nsources = ["x.f90"]\n', "the source x.f90 is not supported"),
        ('[project]\nname = "x"\n[targets.x]\nsources = ["x.c"]\nneeds = ["y"]\n', "is no target"),
        ('[project]\nname = "x"\n[targets.x]\nsources = ["../x.c"]\n', "is outside the project"),
        ('[project]\nname = "x"\n[targets.x]\nsources = ["x.c"]\nflags = ["-I/usr"]\n', "the flag '-I/usr'"),
        (
            '[project]\nname = "x"\n[targets.x]\nkind = "plugin"\nsources = ["x.c"]\n',
            "targets.x.kind: 'plugin' is neither",
        ),
    ],
)
def test_a_manifest_that_is_wrong_is_one_line(c, text: str, said: str) -> None:
    project = c.project()
    project.write("vx.toml", text)
    project.write("x.c", "int main(void) { return 0; }\n")
    assert said in project.fails()


def test_a_source_that_is_not_there(counting) -> None:
    counting.write("vx.toml", MANIFEST.replace("src/main.c", "src/gone.c"))
    assert "src/gone.c" in counting.fails()
