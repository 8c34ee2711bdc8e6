"""C projects, by the same engine."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from vx.rhea import sandbox

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
        ('[project]\nname = "x"\n[targets.x]\nsources = ["x.c"]\nneeds = ["y"]\n', "is not a target"),
        ('[project]\nname = "x"\n[targets.x]\nsources = ["../x.c"]\n', "is outside the project"),
        ('[project]\nname = "x"\n[targets.x]\nsources = ["x.c"]\nflags = ["-I/usr"]\n', "the flag '-I/usr'"),
        (
            '[project]\nname = "x"\n[targets.x]\nkind = "plugin"\nsources = ["x.c"]\n',
            "targets.x.kind: 'plugin' is not one of",
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


# --- commands, shared libraries, and what single files need ---------------------------------------

GENERATED = """[project]
name = "p"

[commands.version]
command = ["sh", "make.sh", "%{out}/version.h", "%{out}/table.c"]
inputs = ["make.sh", "VERSION"]
outputs = ["version.h", "table.c"]

[targets.p]
sources = ["main.c"]
include = ["include"]
generated = ["version"]
"""
MAKE = (
    'v=$(cat VERSION)\nprintf "#define V %s\\n#include <own.h>\\n" $v > $1\n'
    'echo "int table(void) { return $v * 10; }" > $2\n'
)
MAIN_OF_GENERATED = (
    '#include <stdio.h>\n#include "version.h"\nint table(void);\n'
    'int main(void) { printf("%d %d %d\\n", V, table(), OWN); return 0; }\n'
)


@pytest.fixture
def generated(c):
    if sandbox.why_not():
        pytest.skip(f"what a command reads nothing tells here: {sandbox.why_not()}")
    project = c.project("p")
    project.write("vx.toml", GENERATED)
    project.write("make.sh", MAKE)
    project.write("VERSION", "1\n")
    project.write("include/own.h", "#define OWN 7\n")
    project.write("main.c", MAIN_OF_GENERATED)
    return project


def test_generated_headers_and_sources_follow_their_inputs(generated) -> None:
    generated.build()
    assert generated.run("p") == "1 10 7\n"
    generated.build()
    generated.build()
    assert generated.executed() == 0
    generated.write("notes.txt", "no input of it\n")
    assert generated.executed() == 0
    generated.write("VERSION", "2\n")
    generated.build()
    assert generated.run("p") == "2 20 7\n"
    generated.write("include/own.h", "#define OWN 8\n")
    generated.build()
    assert generated.run("p") == "2 20 8\n"


def test_a_header_that_a_generated_one_includes_comes_to_an_earlier_folder(generated) -> None:
    generated.write("vx.toml", GENERATED.replace('["include"]', '["first", "include"]'))
    generated.build()
    generated.build()
    generated.write("first/own.h", "#define OWN 9\n")
    generated.build()
    assert generated.run("p") == "1 10 9\n"


def test_a_command_does_not_see_what_it_does_not_declare(generated) -> None:
    generated.write("vx.toml", GENERATED.replace(', "VERSION"', ""))
    assert "VERSION" in generated.vx("build").err
    notes = generated.write("notes.txt", "not declared\n")
    generated.write("make.sh", f"cat {notes} > /dev/null\n" + MAKE)
    generated.write("vx.toml", GENERATED)
    assert f"it opened '{notes}', which nothing declares" in generated.fails()


def test_a_shared_library_with_a_version_script_and_a_program_that_needs_it(c) -> None:
    project = c.project("p")
    project.write(
        "vx.toml",
        '[project]\nname = "p"\n[targets.low]\nkind = "shared-library"\nsources = ["low.c"]\n'
        'version-script = "low.map"\n[targets.p]\nsources = ["main.c"]\nneeds = ["low"]\n',
    )
    project.write("low.c", "int hidden(void) { return 4; }\nint low(void) { return hidden(); }\n")
    script = project.write("low.map", "{ global: low; local: *; };\n")
    project.write(
        "main.c",
        '#include <stdio.h>\nint low(void);\nint main(void) { printf("%d\\n", low()); return 0; }\n',
    )
    project.build()
    assert project.run("p") == "4\n"
    shown = ["nm", "-D", "--defined-only", project.output("liblow.so")]
    assert "hidden" not in subprocess.run(shown, capture_output=True, text=True, check=True).stdout
    script.write_text("{ global: low; hidden; local: *; };\n")
    project.build()
    assert "hidden" in subprocess.run(shown, capture_output=True, text=True, check=True).stdout


def test_assembly_with_a_preprocessor_and_flags_for_one_file(c) -> None:
    project = c.project("p")
    project.write(
        "vx.toml",
        '[project]\nname = "p"\n[targets.p]\nsources = ["main.c", "data.S"]\n'
        '[targets.p.file-flags]\n"data.S" = ["-DTWICE"]\n',
    )
    header = project.write("value.h", "#define VALUE 21\n")
    project.write(
        "data.S",
        '#include "value.h"\n.data\n.globl value\nvalue:\n#ifdef TWICE\n.long 2 * VALUE\n#endif\n'
        '.section .note.GNU-stack,"",%progbits\n',
    )
    project.write(
        "main.c",
        '#include <stdio.h>\nextern int value;\nint main(void) { printf("%d\\n", value); return 0; }\n',
    )
    project.build()
    assert project.run("p") == "42\n"
    header.write_text("#define VALUE 4\n")
    project.build()
    assert project.run("p") == "8\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('sources = ["main.c", "no.c"]\n', "targets.p.sources[1]: 'no.c' is not there"),
        (
            'sources = ["main.c"]\nfile-flags = { "no.c" = ["-g"] }\n',
            "'no.c' is not one of the target's sources",
        ),
    ],
)
def test_a_source_that_is_not_there_is_an_error_of_the_manifest(c, text: str, said: str) -> None:
    project = c.project("p")
    project.write("main.c", "int main(void) { return 0; }\n")
    project.write("vx.toml", f'[project]\nname = "p"\n[targets.p]\n{text}')
    assert said in project.fails()


def test_a_linker_script_that_another_one_includes_is_given_and_counts(c) -> None:
    project = c.project("p")
    project.write(
        "vx.toml",
        '[project]\nname = "p"\n[targets.p]\nsources = ["main.c"]\nlinker-script = "s.ld"\n'
        'link-flags = ["-no-pie"]\n',
    )
    project.write(
        "main.c",
        '#include <stdio.h>\nextern char s;\nint main(void) { printf("%d", (int)(long)&s); return 0; }\n',
    )
    project.write("s.ld", "INCLUDE more.ld\nSECTIONS { s = M; }\nINSERT AFTER .data;\n")
    for number in (3, 5):
        project.write("more.ld", f"M = {number};\n")
        project.build()
        assert project.run("p") == str(number)
    assert project.executed() == 0
