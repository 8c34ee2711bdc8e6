"""Where nothing was found: what counts as a change since, and what is somebody else's business."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vx.aether.vain_paths import still_absent
from vx.file_digests import FileDigests
from vx.project.action import Action, Tool

if TYPE_CHECKING:
    import pytest

COMPILE = Action(
    id="p main.c",
    title="main.c",
    tool=Tool("cc", "an identity", "cc"),
    kind="cc",
    arguments=(),
    parts={},
    outputs=(),
)


def looked_at(tmp_path: Path, directory: str):
    """Return what is said of a directory in which a file came just before the tool began."""
    root = tmp_path / "holds/project"
    root.mkdir(parents=True)
    path = tmp_path / directory
    path.mkdir(exist_ok=True)
    (path / "new").touch()
    started_ns = os.stat(path).st_mtime_ns
    return still_absent(FileDigests(), str(root), COMPILE, set(), {str(path)}, {}, started_ns), str(path)


def test_a_directory_that_came_just_now_is_not_trusted(tmp_path: Path) -> None:
    assert looked_at(tmp_path, "include")[0] is None


def test_the_project_may_lie_where_others_write(tmp_path: Path) -> None:
    found, path = looked_at(tmp_path, "holds")
    assert found is not None
    assert found.folders.keys() == {path}


def test_a_directory_named_like_the_start_of_the_projects_is_another(tmp_path: Path) -> None:
    assert looked_at(tmp_path, "hold")[0] is None


def test_a_busy_directory_of_temporary_files_makes_nothing_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vx.aether.vain_paths._TEMPORARY", frozenset({str(tmp_path / "tmp")}))
    found, path = looked_at(tmp_path, "tmp")
    assert found is not None
    assert found.folders.keys() == {path}
