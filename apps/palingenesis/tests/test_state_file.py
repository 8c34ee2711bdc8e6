"""What survives a restart, and what a damaged file costs."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from daemonry.errors import UnsafePath
from palingenesis.state_file import SavedState, StateFile

KEPT = SavedState(paused=True, current_session="/s/ü.md", saves_count=42, total_resumes=10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def test_what_was_written_is_read(path: Path) -> None:
    StateFile(str(path)).write(KEPT)
    assert StateFile(str(path)).read() == KEPT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in path.parent.iterdir()] == ["state.json"]


def test_nothing_written_means_the_defaults(path: Path) -> None:
    assert StateFile(str(path)).read() == SavedState(False, None, 0, 0)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b'{"paused": fal',
        b"\0" * 111,
        b"[]",
        b'{"saves_count": -1}',
        b'{"saves_count": "many"}',
        b'{"current_session": "\xff"}',
        b" " * 70_000,
    ],
)
def test_a_damaged_file_is_set_aside_and_told_once(
    path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(damage)
    assert StateFile(str(path)).read() == SavedState()
    assert path.with_name("state.json.bak").read_bytes() == damage
    assert not path.exists()
    assert len(caplog.messages) == 1
    assert "is damaged" in caplog.text
    assert StateFile(str(path)).read() == SavedState()
    assert len(caplog.messages) == 1


def test_fields_of_a_later_version_do_not_damage_it(path: Path) -> None:
    path.write_text('{"saves_count": 7, "time_saved": 1}')
    assert StateFile(str(path)).read() == SavedState(saves_count=7)


def test_a_file_that_cannot_be_read_is_not_taken_for_damaged(path: Path) -> None:
    """Beginning anew over a file that may be whole would lose it."""
    path.mkdir()
    with pytest.raises(UnsafePath, match="cannot be read: is a directory and not a regular file"):
        StateFile(str(path)).read()


def test_what_a_killed_writer_left_is_removed(path: Path) -> None:
    StateFile(str(path)).write(KEPT)
    (path.parent / "state.json.123.456.tmp").write_text("{")
    assert StateFile(str(path)).read() == KEPT
    assert [found.name for found in path.parent.iterdir()] == ["state.json"]


def test_a_full_disk_leaves_the_old_file_whole(tiny_disk: Path) -> None:
    file = StateFile(str(tiny_disk / "state.json"))
    file.write(KEPT)
    with pytest.raises(OSError, match="No space"):
        (tiny_disk / "fill").write_bytes(b"\0" * 2**20)
    with pytest.raises(OSError, match="No space"):
        file.write(SavedState(saves_count=43))
    assert file.read() == KEPT
    assert sorted(found.name for found in tiny_disk.iterdir()) == ["fill", "state.json"]
    (tiny_disk / "fill").unlink()
