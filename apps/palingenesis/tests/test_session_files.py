"""Looks at the disk: what is found, what counts as changed, what is a session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from palingenesis import session_files
from palingenesis.session_files import (
    FileVerdict,
    Signature,
    changed,
    is_within,
    judge,
    newest,
    scan,
    signature,
)

SESSION = "---\ntitle: A\n---\n"


def write(path: Path, text: str = SESSION, at_s: int | None = None) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if at_s is not None:
        os.utime(path, (at_s, at_s))
    return str(path)


def test_scan_finds_sessions_in_directories_below(tmp_path: Path) -> None:
    wanted = {write(tmp_path / "a.md"), write(tmp_path / "x/y/b.md")}
    for other in ("c.txt", ".hidden.md", ".git/d.md", "node_modules/p/README.md"):
        write(tmp_path / other)
    assert set(scan(str(tmp_path))) == wanted


def test_scan_of_nothing_is_empty(tmp_path: Path) -> None:
    assert scan(str(tmp_path / "missing")) == {}


def test_scan_stops_at_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root directory given by mistake must not keep the daemon from starting."""
    monkeypatch.setattr(session_files, "MAX_ENTRIES", 3)
    for number in range(10):
        write(tmp_path / f"d{number}/a.md")
    assert len(scan(str(tmp_path))) < 10


def test_only_regular_files_have_a_signature(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    (tmp_path / "dir.md").mkdir()
    (tmp_path / "dangling.md").symlink_to("nowhere")
    assert [signature(str(path)) for path in tmp_path.iterdir()] == [None] * 3
    assert signature("nul\0byte") is None


def test_a_chmod_is_no_change_and_a_replacement_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.md", at_s=1000)
    before = scan(str(tmp_path))
    os.chmod(path, 0o600)
    assert changed(before, scan(str(tmp_path))) == []
    write(tmp_path / "new", at_s=1000)
    os.rename(tmp_path / "new", path)
    assert changed(before, scan(str(tmp_path))) == [path]


def test_changed_tells_the_last_change_last() -> None:
    before = {"same": Signature(5, 1, 1)}
    now = {"late": Signature(9, 1, 2), "same": Signature(5, 1, 1), "early": Signature(7, 1, 3)}
    assert changed(before, now) == ["early", "late"]


def test_judge_knows_good_bad_and_none(tmp_path: Path) -> None:
    assert judge(write(tmp_path / "good.md")) == FileVerdict(True, "")
    bad = judge(write(tmp_path / "bad.md", "---\na: [\n---\n"))
    assert bad.is_session
    assert bad.trouble.startswith("its front matter cannot be read:")
    none = judge(write(tmp_path / "none.md", "# Notes\n"))
    assert not none.is_session
    assert judge(str(tmp_path / "missing.md")) == FileVerdict(
        False, "cannot be read: No such file or directory"
    )


def test_judge_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    """A file may become a pipe between being seen and being opened."""
    os.mkfifo(tmp_path / "pipe.md")
    assert not judge(str(tmp_path / "pipe.md")).is_session


def test_newest_is_the_session_that_changed_last(tmp_path: Path) -> None:
    write(tmp_path / "old.md", at_s=1000)
    expected = write(tmp_path / "x/new.md", at_s=2000)
    write(tmp_path / "README.md", "# no session\n", at_s=3000)
    assert newest(scan(str(tmp_path))) == expected
    assert newest({}) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a.md", True), ("x/a.md", True), (".git/a.md", False), ("x/node_modules/y/a.md", False)],
)
def test_is_within_agrees_with_scan(tmp_path: Path, path: str, expected: bool) -> None:
    written = write(tmp_path / path)
    assert is_within(written, str(tmp_path)) is expected
    assert (written in scan(str(tmp_path))) is expected
