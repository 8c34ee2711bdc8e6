"""What compilers write about what they read, as they really write it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vx import depfile


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("main.o: main.c a.h b.h\n", ["main.c", "a.h", "b.h"]),
        ("main.o: main.c \\\n  a.h \\\n  b.h\n", ["main.c", "a.h", "b.h"]),
        ("main.o: main.c \\\r\n  a.h\r\n", ["main.c", "a.h"]),
        ("main.o: a\\ b.c c$$d.h e\\#f.h\n", ["a b.c", "c$d.h", "e#f.h"]),
        ("main.o: main.c a.h\n\na.h:\n", ["main.c", "a.h"]),
        (
            "a.d: src/main.rs src/m.rs\n\na: src/main.rs src/m.rs\n\nsrc/main.rs:\n",
            ["src/main.rs", "src/m.rs"],
        ),
        ("x: C:\\dir\\file.h\n", ["C:\\dir\\file.h"]),
        ("a b c: d\n", ["d"]),
        ("", []),
        ("no rule at all\n", []),
        ("# a comment: with a colon\n", []),
    ],
)
def test_prerequisites_are_what_was_read(text: str, paths: list[str]) -> None:
    assert depfile.parse(text) == depfile.Read(paths, {})


def test_rustc_tells_which_variables_it_read() -> None:
    text = "a: b.rs\n# env-dep:SET=one two\n# env-dep:EMPTY=\n# env-dep:UNSET\n# env-dep:LINES=a\\nb\\\\n\n"
    assert depfile.parse(text).env == {"SET": "one two", "EMPTY": "", "UNSET": None, "LINES": "a\nb\\n"}


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    read = depfile.parse(text)
    assert len(set(read.paths)) == len(read.paths)


@given(st.lists(st.text("ab $#.", min_size=1).filter(lambda name: "\\" not in name), unique=True, min_size=1))
def test_names_come_back_as_gcc_escapes_them(names: list[str]) -> None:
    escaped = [name.replace("$", "$$").replace("#", "\\#").replace(" ", "\\ ") for name in names]
    assert depfile.parse("out: " + " ".join(escaped) + "\n").paths == names


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs cc")
def test_what_the_c_compiler_here_writes_is_understood(tmp_path: Path) -> None:
    for name in ("plain.h", "with space.h", "do$$ar.h", "ha#h.h"):
        (tmp_path / name).write_text("")
    includes = "".join(f'#include "{name}"\n' for name in ("plain.h", "with space.h", "do$$ar.h", "ha#h.h"))
    (tmp_path / "main.c").write_text(includes + "int x;\n")
    words = ["cc", "-MMD", "-MP", "-MF", "main.d", "-c", "main.c", "-o", "main.o"]
    subprocess.run(words, cwd=tmp_path, check=True)
    read = depfile.parse((tmp_path / "main.d").read_text())
    assert sorted(read.paths) == ["do$$ar.h", "ha#h.h", "main.c", "plain.h", "with space.h"]
