"""An error in a project's directories names the file that the user knows, absolute."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from vx import directories
from vx.aether.placing import place
from vx.reports import run_files
from vx.reports.report import FORMAT, RunReport


def denied(*_args: Any, **_options: Any) -> int:
    raise PermissionError(errno.EACCES, "Permission denied", ".vx")


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "mkdir", denied)
    with (
        pytest.raises(OSError, match="Permission denied") as raised,
        directories.opened(str(tmp_path), ".vx/build", 0o022),
    ):
        pass
    assert raised.value.filename == f"{tmp_path}/.vx"


def test_an_output_that_cannot_be_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "replace", denied)
    with (tmp_path / "made").open("wb+") as source, pytest.raises(OSError, match="denied") as raised:
        place(source.fileno(), str(tmp_path), ".vx/build/p", executable=True, umask=0o022)
    assert raised.value.filename == f"{tmp_path}/.vx/build/p"


def test_a_report_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_files.make_vx_dir(str(tmp_path))
    monkeypatch.setattr(directories, "replace", denied)
    run_id = "01M7X8F4VZ1C117845Q79WZXZD"
    report = RunReport(FORMAT, run_id, True, "", "p", str(tmp_path), "dev", "x", 0.0, 1, "1")
    with pytest.raises(PermissionError) as raised:
        run_files.write(str(tmp_path), report)
    assert raised.value.filename == f"{tmp_path}/.vx/runs"
