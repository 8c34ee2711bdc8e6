"""What a job did to the files that it was given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vx import digests
from vx.interfaces import Input
from vx.rhea.laid_out import LaidOut


@pytest.fixture
def given(tmp_path: Path) -> LaidOut:
    laid_out = LaidOut(str(tmp_path))
    (tmp_path / "out").mkdir()
    (tmp_path / "src").mkdir()
    for path in ("src/a", "src/b"):
        (tmp_path / path).write_text("as it was")
        laid_out.add(Input(path, digests.of_bytes(b"as it was")))
    return laid_out


def test_what_was_read_and_what_was_written_among_the_outputs_is_in_order(tmp_path, given) -> None:
    (tmp_path / "out/made").write_text("x")
    (tmp_path / "src/a").read_text()
    assert given.changed(["out"]) == ""


def test_the_same_content_once_more_is_no_change(tmp_path, given) -> None:
    (tmp_path / "src/a").unlink()
    (tmp_path / "src/a").write_text("as it was")
    os.chmod(tmp_path / "src/b", 0o600)
    assert given.changed(["out"]) == ""


@pytest.mark.parametrize("path", ["src/a", "src/new", "outside"])
def test_a_file_that_was_written_is_named(tmp_path, given, path: str) -> None:
    (tmp_path / path).write_text("as it is")
    assert given.changed(["out"]) == path


def test_a_file_that_keeps_its_size_and_time_has_changed_all_the_same(tmp_path, given) -> None:
    before = (tmp_path / "src/a").stat()
    (tmp_path / "src/new").write_text("as it is!")
    os.utime(tmp_path / "src/new", ns=(before.st_mtime_ns, before.st_mtime_ns))
    os.rename(tmp_path / "src/new", tmp_path / "src/a")
    assert given.changed(["out"]) == "src/a"


def test_a_file_that_is_gone_is_named(tmp_path, given) -> None:
    (tmp_path / "src/b").unlink()
    assert given.changed(["out"]) == "src/b"


@pytest.mark.parametrize("target", ["/etc", "/nowhere", "/etc/hostname"])
def test_a_link_is_named(tmp_path, given, target: str) -> None:
    (tmp_path / "src/a").unlink()
    (tmp_path / "src/a").symlink_to(target)
    assert given.changed(["out"]) == "src/a"


def test_what_python_keeps_of_a_program_is_nothing(tmp_path, given) -> None:
    (tmp_path / "src/__pycache__").mkdir()
    (tmp_path / "src/__pycache__/a.pyc").write_text("x")
    assert given.changed(["out"]) == ""
