"""What is told of runs."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vx import directories
from vx.reports.report import (
    CANCELLED,
    FORMAT,
    NOT_KEPT,
    ActionReport,
    RunReport,
    before_of,
    changes,
    last_miss,
    summary,
)
from vx.reports.run_files import read, read_all, runs_dir, write
from vx.reports.ulid import is_ulid, ulid


def action(outcome: str = "executed", **fields) -> ActionReport:
    return ActionReport("id", "title", outcome, result="key", **fields)


def run(
    *actions: ActionReport, success: bool = True, error: str = "", number: int = 1, profile: str = "dev"
) -> RunReport:
    return RunReport(
        FORMAT,
        ulid(number, b"0" * 10),
        success,
        error,
        "p",
        "/p",
        profile,
        "x",
        0.0,
        1500,
        "1",
        list(actions),
        ["/p/out"],
    )


def told(before: ActionReport | None, now: ActionReport) -> list[str]:
    return [str(one) for one in changes(before, now)]


def test_changes_in_words() -> None:
    before = action(parts={"flags": "", "command": "x"}, files={"a": "1", "b": "2"}, env={"V": "1"})
    now = action(parts={"flags": "-O", "command": "x -O"}, files={"a": "9", "c": "3"}, env={"V": None})
    assert told(before, now) == [
        "flags: '' -> '-O'",
        "file a changed",
        "file b is not read any more",
        "file c is new",
        "variable V: '1' -> nothing",
    ]
    assert told(None, now) == ["built for the first time here"]
    assert told(now, now) == []


def test_a_dependency_that_changed_is_said_as_one() -> None:
    assert told(
        action(parts={"needs .vx/deps/liba.rlib": "1"}), action(parts={"needs .vx/deps/liba.rlib": "2"})
    ) == [".vx/deps/liba.rlib, which it is built with, changed"]


def test_the_last_miss_is_looked_for_in_earlier_runs() -> None:
    runs = [run(action("cached")), run(action("cached")), run(action("executed"))]
    assert last_miss(runs) == (2, runs[2].actions[0])
    assert last_miss(runs[:2]) is None
    assert before_of(action(), runs[:1], "dev") == runs[0].actions[0]
    failed = run(ActionReport("id", "title", "failed"))
    assert before_of(action(), [failed, runs[0]], "dev") == runs[0].actions[0]


def test_a_build_is_compared_with_the_last_of_its_profile() -> None:
    """Else who looks at a release build in between is told of flags, and not of the file that changed."""
    dev, release = run(action(recipe="dev")), run(action(recipe="release"), profile="release")
    assert before_of(action(), [release, dev], "dev") == dev.actions[0]
    assert before_of(action(), [dev], "release") == dev.actions[0]


def test_what_a_failed_compiler_has_read_is_no_change() -> None:
    """It says nothing of what it read, which is not that it reads nothing any more."""
    before = action(parts={"flags": ""}, files={"a": "1"})
    assert told(before, action("failed", parts={"flags": "-O"})) == ["flags: '' -> '-O'"]


def test_what_was_read_while_a_file_changed_is_no_change() -> None:
    """Its inputs are not known: each of them would be new, or not read any more."""
    before, now = action(files={"a": "1"}), action(files={"a": "2"})
    unknown = ActionReport("id", "title", "executed", result=NOT_KEPT, parts={"flags": "-O"})
    assert told(before, unknown) == ["flags: nothing -> '-O'"]
    assert told(unknown, now) == ["flags: '-O' -> nothing"]
    assert before_of(now, [run(unknown), run(before)], "dev") == before
    assert before_of(now, [run(unknown)], "dev") == unknown


def test_summaries() -> None:
    assert summary(run(action("cached")))[0] == "p (dev): cached (nothing to build) in 1.50 s"
    assert summary(run(action()))[0] == "p (dev): built in 1.50 s"
    assert "  error: no" in summary(run(success=False, error="no"))
    assert summary(run(success=False, error=CANCELLED))[0] == "p (dev): cancelled in 1.50 s"


@given(
    st.integers(0, 2**48 - 1),
    st.binary(min_size=10, max_size=10),
    st.integers(0, 2**48 - 1),
    st.binary(min_size=10, max_size=10),
)
def test_ulids_sort_by_time(one_ms: int, one: bytes, other_ms: int, other: bytes) -> None:
    first, second = ulid(one_ms, one), ulid(other_ms, other)
    assert is_ulid(first)
    if one_ms != other_ms:
        assert (first < second) is (one_ms < other_ms)


def test_reports_survive_what_may_be_beside_them(tmp_path) -> None:
    assert read_all(str(tmp_path)) == []
    report = run(action())
    write(str(tmp_path), report)
    assert read(str(tmp_path), report.id) == report
    folder = tmp_path / ".vx/runs"
    assert str(folder) == runs_dir(str(tmp_path))
    (folder / f"{ulid(5, b'1' * 10)}.json").write_text("{half")
    (folder / "notes.json").write_text("{}")
    assert read_all(str(tmp_path)) == [report]
    assert (tmp_path / ".vx/.gitignore").read_text() == "*\n"


def test_version_control_leaves_out_what_was_made_on_a_full_disk(tmp_path, monkeypatch) -> None:
    """Of which the directory alone remained, and the next run found it there."""

    def full(*_words: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", ".gitignore")

    with monkeypatch.context() as patch:
        patch.setattr(directories, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            write(str(tmp_path), run(action()))
    write(str(tmp_path), run(action()))
    assert (tmp_path / ".vx/.gitignore").read_text() == "*\n"
