"""Files of options (`@file`): the same words as gcc takes from them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vx.project.errors import Unsupported
from vx.project.response_files import expanded, split


def test_the_words_of_a_file_stand_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "more").write_text("-O2\n'-DA=a b' @less\n")
    (tmp_path / "less").write_text('-DB=\\"x\\" ""')
    assert expanded(["-g", "@more", f"@{tmp_path}/less", "-c"], str(tmp_path), "CFLAGS") == [
        *("-g", "-O2", "-DA=a b", '-DB="x"', "", '-DB="x"', "", "-c"),
    ]


@given(st.text("a \\\"'\n\t", max_size=12))
def test_any_text_is_divided(text: str) -> None:
    words = split(text)
    assert len("".join(words)) <= len(text)
    if not set(text) & set("\\\"'"):
        assert words == text.split()


def test_words_are_those_of_the_compiler(tmp_path: Path) -> None:
    cc = shutil.which("gcc")
    if cc is None:
        pytest.skip("no gcc on the PATH")
    file = tmp_path / "words"
    file.write_text("-DA='b c' -DD=\"e\\\"f\" -DG=\\'h -DI='j\\'k l'\n-DM")
    told = subprocess.run(
        [cc, "-###", "-E", "-", f"@{file}"], capture_output=True, text=True, check=True
    ).stderr
    words = split(file.read_text())
    assert words == ["-DA=b c", '-DD=e"f', "-DG='h", "-DI=j'k l", "-DM"]
    for word in words:
        shown = word.replace("\\", "\\\\").replace('"', '\\"')
        assert shown.removeprefix("-D") in told


def test_what_is_no_file_of_options_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "itself").write_text("@itself")
    (tmp_path / "other").write_bytes(b"-DX=\xff")
    os.mkfifo(tmp_path / "pipe")
    for word, said in (
        ("@itself", "files of options name each other"),
        ("@other", "it is not UTF-8"),
        ("@nothing", "No such file or directory"),
        ("@pipe", ""),
    ):
        with pytest.raises(Unsupported, match=f"{word} in LDFLAGS is not supported by vx: {said}"):
            expanded([word], str(tmp_path), "LDFLAGS")
