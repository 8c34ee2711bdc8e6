"""Which files a C source may include."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vx.project.c_includes import Includes, includes_of, reachable, shadows


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
        (b"", (), False),
    ],
)
def test_what_a_text_says(text: bytes, names: tuple[str, ...], computed: bool) -> None:
    assert includes_of(text) == Includes(names, computed)


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


def test_one_that_only_the_preprocessor_can_tell_takes_all() -> None:
    files = {"a.c": b"#include X\n", "b.h": b""}
    assert reachable("a.c", [], look(files), lambda: ["a.c", "b.h"]) == ["a.c", "b.h"]


def test_nothing_above_the_project_is_looked_for() -> None:
    assert reachable("a.c", [], look({"a.c": b'#include "../../etc/passwd"\n'}), list) == ["a.c"]


def test_where_a_new_file_would_be_read_first() -> None:
    found = shadows(["src/main.c", "inc2/sub/x.h", "/usr/include/stdio.h"], ["inc1", "inc2"])
    assert {"inc1/sub/x.h", "inc1/stdio.h", "src/stdio.h", "src/sub/x.h"} <= found
    assert "inc2/sub/x.h" not in found
    assert not any(path.startswith(("/", "..")) for path in found)
