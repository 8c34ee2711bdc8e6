"""Anything may lie where palingenesis keeps its state: it starts, or says in a line what is in its way."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemonry.errors import DaemonryError
from daemonry.testing import odd_files
from palingenesis.resume.audit import Audit
from palingenesis.resume.ledger import Ledger
from palingenesis.state_file import SavedState, StateFile

if TYPE_CHECKING:
    from conftest import App

NO_FILES = {"fifo", "directory", "symlink", "socket"}


@pytest.mark.parametrize("kind", odd_files.KINDS)
def test_the_state_is_read_or_what_lies_there_is_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "state.json"
    odd_files.put(kind, path)
    if kind in NO_FILES:
        with pytest.raises(DaemonryError, match=re.escape(str(path))):
            StateFile(str(path)).read()
    else:
        assert StateFile(str(path)).read() == SavedState()
    odd_files.nothing_lost(kind, path)


@pytest.mark.parametrize("kind", odd_files.KINDS)
@pytest.mark.parametrize("name", ["sessions.json", "sessions.lock"])
def test_the_ledger_is_read_or_what_lies_there_is_told(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / name
    odd_files.put(kind, path)
    if kind in NO_FILES:
        with pytest.raises(OSError, match=name):
            Ledger(str(tmp_path), 1.0)
    else:
        assert Ledger(str(tmp_path), 1.0).entries == {}
    odd_files.nothing_lost(kind, path)


@pytest.mark.parametrize("kind", odd_files.KINDS)
def test_the_audit_is_written_or_a_line_warns(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "audit.jsonl"
    odd_files.put(kind, path)
    Audit(str(path)).write("resumed", 1.0)
    if kind in NO_FILES:
        (record,) = caplog.records
        assert f"{path} cannot be written" in record.getMessage()
    odd_files.nothing_lost(kind, path)


@pytest.mark.parametrize("name", ["state.json", "sessions.json", "sessions.lock"])
def test_a_fifo_among_its_state_holds_no_command_up(app: App, name: str) -> None:
    app.state_dir.mkdir(parents=True, exist_ok=True)
    odd_files.put("fifo", app.state_dir / name)
    started = app("daemon", "start")
    told = started.out + started.err
    assert "Traceback" not in told, started
    assert started.code == 0 or str(app.state_dir / name) in told, started
    assert "Traceback" not in app("status").err


@pytest.mark.parametrize("kind", odd_files.KINDS)
def test_a_session_that_is_none_ends_nothing(app: App, kind: str) -> None:
    odd_files.put(kind, app.sessions / "odd.md")
    assert app("daemon", "start").code == 0
    for words in (("sessions",), ("status",), ("why", "odd.md")):
        ended = app(*words)
        assert "Traceback" not in ended.out + ended.err, ended
    odd_files.nothing_lost(kind, app.sessions / "odd.md")
