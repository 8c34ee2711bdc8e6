"""Which files a C source may include."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vx.project.c_includes import (
    Folders,
    are_seen,
    asked,
    includes_of,
    precompiled,
    reachable,
    shadows,
    vain,
)


@pytest.mark.parametrize(
    ("text", "names", "computed"),
    [
        (b'#include "a.h"\n#include <b/c.h>\n', ("a.h", "b/c.h"), False),
        (b'  #  include\t"a.h" // x\n', ("a.h",), False),
        (b"#inc\\\nlude <a.h>\n", ("a.h",), False),
        (b"%: include <a.h>\n", ("a.h",), False),
        (b"#include_next <a.h>\n", ("a.h",), False),
        (b'#embed "data.bin"\n', ("data.bin",), False),
        (b"#include WHICH\n", (), True),
        (b'__asm__(".incbin \\"x\\"");\n', (), True),
        (b'int include = 1; // #include "no.h"\n', (), False),
        (b'#ifdef NEVER\n#include "a.h"\n#endif\n', ("a.h",), False),
        (b'#if __has_include("a.h") || __has_include(<b.h>)\n', ("a.h", "b.h"), False),
        (b"#if __has_include(WHICH)\n", (), True),
        (b"", (), False),
        # What a linker reads, and no compiler.
        (b'\x7fELF\n#include "a.h"\n.incbin "x"\n', (), False),
        (b'!<arch>\n#include WHICH\n#if __has_include("a.h")\n', (), False),
        (b"!<thin>\n#include <a.h>\n", (), False),
        # As text may begin.
        (b'\x7fELL\n#include "a.h"\n', ("a.h",), False),
    ],
)
def test_what_a_text_says(text: bytes, names: tuple[str, ...], computed: bool) -> None:
    found = includes_of(text)
    assert (found.names, found.computed) == (names, computed)


@given(st.binary(max_size=200))
def test_any_bytes_are_read(text: bytes) -> None:
    found = includes_of(text)
    assert all("\n" not in name for name in found.names)


def look(files: dict[str, bytes]):
    return lambda path: includes_of(files[path]) if path in files else None


def test_all_that_can_be_reached_is_found_once() -> None:
    files = {
        "src/a.c": b'#include "a.h"\n#include <b.h>\n',
        "src/a.h": b'#include "../src/a.h"\n',
        "inc/b.h": b'#include "c.h"\n',
        "inc/c.h": b"",
        "inc/d.h": b"",
    }
    assert sorted(reachable("src/a.c", ["inc"], look(files), list)) == [
        "inc/b.h",
        "inc/c.h",
        "src/a.c",
        "src/a.h",
    ]


def test_where_only_the_preprocessor_can_tell_what_a_macro_may_stand_for_is_given() -> None:
    """By a macro of a file that is included later, of an option, or of what such a one includes."""
    files = {
        "src/a.c": b'#include X\n#include Y\n#include "b.h"\n',
        "src/b.h": b'#define X "c.h"\n#define Z <z.h>\n',
        "src/c.h": b"",
        "inc/y.h": b"#include Z\n",
        "inc/z.h": b"",
        "other.h": b"",
    }
    found = reachable("src/a.c", ["inc"], look(files), lambda: list(files), (), ["y.h"])
    assert set(found) == files.keys() - {"other.h"}


@pytest.mark.parametrize("text", [b"#if __has_include(X)\n#endif\n", b'asm(".incbin \\"x\\"");\n'])
def test_a_file_that_may_be_missed_without_an_error_takes_all(text: bytes) -> None:
    files = {"a.c": text, "b.h": b""}
    assert reachable("a.c", [], look(files), lambda: ["a.c", "b.h"]) == ["a.c", "b.h"]


def test_nothing_above_the_project_is_looked_for() -> None:
    assert reachable("a.c", [], look({"a.c": b'#include "../../etc/passwd"\n'}), list) == ["a.c"]


def test_where_a_new_file_would_be_read_first() -> None:
    found = shadows(["src/main.c", "inc2/sub/x.h", "/usr/include/stdio.h"], ["inc1", "inc2"])
    assert {"inc1/sub/x.h", "inc1/stdio.h", "src/stdio.h", "src/sub/x.h"} <= found
    assert "inc2/sub/x.h" not in found
    assert not any(path.startswith(("/", "..")) for path in found)


FOLDERS = Folders(("first", "/sys1", "/sys2"), ("quoted",))
# gcc looks for it without being told.
UNASKED = {f"{folder}/stdc-predef.h" for folder in FOLDERS.angled}


def test_what_gcc_includes_unasked() -> None:
    assert vain({}, [], FOLDERS) == UNASKED
    assert vain({}, ["/sys1/stdc-predef.h"], FOLDERS) == {"first/stdc-predef.h"}
    files = {"a.c": b"", "first/stdc-predef.h": b'#include "x.h"\n', "first/x.h": b""}
    assert set(reachable("a.c", ["first"], look(files), list)) == set(files)


def test_where_a_name_was_looked_for_in_vain() -> None:
    """In quotes beside the file first; a folder behind the one that has it is not looked at."""
    told = {"src/a.c": includes_of(b'#include "x.h"\n#include <y.h>\n')}
    found = vain(told, ["src/a.c", "first/x.h", "/sys1/y.h"], FOLDERS, source="src/a.c")
    assert found == {"src/x.h", "quoted/x.h", "first/y.h"} | UNASKED


def test_a_name_that_nothing_has_was_looked_for_everywhere() -> None:
    told = {"a.c": includes_of(b"#if __has_include(<x.h>)\n")}
    assert vain(told, ["a.c"], FOLDERS, source="a.c") == {"first/x.h", "/sys1/x.h", "/sys2/x.h"} | UNASKED


def test_a_name_of_an_option_is_looked_for_where_the_compiler_runs_first() -> None:
    found = vain({}, ["a.c", "/sys2/x.h"], FOLDERS, ["x.h"], source="a.c")
    assert found == {"x.h", "quoted/x.h", "first/x.h", "/sys1/x.h"} | UNASKED
    files = {"src/a.c": b"", "first/x.h": b""}
    assert set(reachable("src/a.c", ["first"], look(files), list, ["x.h"])) == set(files)


def test_where_gcc_would_take_a_precompiled_header() -> None:
    """For what it includes first: unasked, by an option, and by the source."""
    text = b'#if __has_include(<asked.h>)\n#endif\n#include "mine.h"\n#include <second.h>\n'
    told = {"a.c": includes_of(text), "/sys1/stdc-predef.h": includes_of(b"#include <nested.h>\n")}
    found = precompiled("a.c", told, ["a.c", "mine.h"], FOLDERS, ["forced.h"])
    names = ("stdc-predef.h", "nested.h", "forced.h", "asked.h", "mine.h")
    assert found == {f"{folder}/{name}.gch" for folder in ("/sys1", "/sys2") for name in names}


def test_include_next_is_looked_for_behind_the_first() -> None:
    told = {"/sys1/x.h": includes_of(b"#include_next <x.h>\n")}
    assert vain(told, ["/sys1/x.h"], FOLDERS) == {"first/x.h", "/sys2/x.h"} | UNASKED


def test_a_name_that_only_the_preprocessor_can_tell() -> None:
    told = {"a.c": includes_of(b"#define H <x.h>\n#include H\n")}
    assert {"first/x.h", "/sys1/x.h"} <= vain(told, ["a.c", "/sys2/x.h"], FOLDERS)
    told = {"a.c": includes_of(b"#include H\n")}
    assert {"first/d/x.h", "d/x.h"} <= vain(told, ["a.c"], FOLDERS, (), ["d/x.h"])


@pytest.mark.parametrize("root", [b"/", b"//", b"/usr/..", b"///"])
def test_no_new_file_can_come_in_the_place_of_the_root(root: bytes) -> None:
    told = {"a.c": includes_of(b'#define D "%b"\n#include d\n' % root)}
    assert all(path.strip("/") for path in vain(told, ["a.c"], FOLDERS, source="a.c"))


def test_a_read_that_no_include_names_may_have_been_found_earlier() -> None:
    """`/* x */ #include "y.h"`: its folder is known, and so are those before it."""
    told = {"a.c": includes_of(b'/* x */ #include "y.h"\n')}
    assert "first/y.h" in vain(told, ["a.c", "/sys1/y.h"], FOLDERS, source="a.c")


def test_prose_in_a_comment_is_not_a_macro() -> None:
    """Glibc's <limits.h> has a line "#include's protect themselves": most C programs include it."""
    assert not includes_of(b"   #include's protect themselves\n").computed
    for line in (b"#include H\n", b"#include/**/H\n", b"#include \\\n H\n", b"#include??/\nH\n"):
        assert includes_of(line).computed, line


def test_a_file_that_a_macro_may_stand_for_is_not_looked_for_under_other_names() -> None:
    """`#define ATTRIBUTES ".attributes"` names a file of the project that no compiler includes."""
    told = {"a.c": includes_of(b'#define A ".a"\n#include H\n')}
    assert "sub/.a" in vain(told, ["a.c", "sub/x.h", ".a"], FOLDERS, source="a.c")
    assert "sub/.a" not in vain(told, ["a.c", "sub/x.h", ".a"], FOLDERS, (), (), {".a"}, source="a.c")


def test_what_the_sandbox_saw_of_macros_is_not_guessed_too() -> None:
    told = {"a.c": includes_of(b"#define H <x.h>\n#include H\n")}
    assert vain(told, ["a.c"], FOLDERS, source="a.c", seen=True) == UNASKED
    assert "first/y.h" in vain(told, ["a.c", "/sys1/y.h"], FOLDERS, source="a.c", seen=True)


def test_a_folder_that_nothing_was_looked_for_in_may_not_have_been_there() -> None:
    folders = Folders(("first", "/sys1", ""), (), (), opens=True)
    assert are_seen(folders, ["first/x.h", "/sys1/x.h"])
    assert not are_seen(folders, ["/sys1/x.h"])
    assert not are_seen(Folders(("/sys1",)), ["/sys1/x.h"])


def test_a_file_that_is_asked_for_counts_though_nobody_reads_it() -> None:
    told = {"a.c": includes_of(b'#if __has_include(<x.h>)\n#endif\n#include "y.h"\n')}
    assert asked(told, FOLDERS, {"/sys1/x.h", "/sys2/x.h", "y.h"}.__contains__) == {"/sys1/x.h"}
    assert asked(told, FOLDERS, lambda _: False) == set()


def test_what_the_assembler_may_read() -> None:
    found = includes_of(b'__asm__(".incbin \\"/data/x.bin\\""); const char *s = "/etc/y";\n')
    assert found.assembles
    assert found.absolute == ("/data/x.bin", "/etc/y")
    assert not includes_of(b'const char *s = "/etc/y";\n').absolute


def test_libraries_that_a_rust_source_names() -> None:
    text = b'#[link(name = "foo", kind = "static")]\n#[cfg_attr(unix, link(kind="static", name="bar"))]\n'
    assert includes_of(text).linked == ("foo", "bar")
