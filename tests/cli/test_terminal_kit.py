"""The terminal kit: what fits, what lines up, what is written over, and what of foreign text is left."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.cli import terminal


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_columns_line_up_also_where_characters_are_wide():
    rows = [["漢字", "x"], ["ab", "yyyyyyyy"], ["e\u0301", "z"]]
    assert terminal.aligned(rows) == ["漢字  x", "ab    yyyyyyyy", "e\u0301     z"]
    assert terminal.aligned(rows, 9)[1] == "ab    yy…"
    assert terminal.aligned(rows, 9, mark="")[1] == "ab    yyy"


def test_rows_may_be_short_and_lines_end_with_no_blank():
    assert terminal.aligned([["a"], [], ["bb", "", "c"], ["d", ""]], indent="  ") == [
        "  a",
        "",
        "  bb    c",
        "  d",
    ]


def test_a_cells_colour_takes_no_room():
    def dressed(row: int, column: int, cell: str) -> str:
        return f"<{cell}>" if (row, column) == (1, 0) else cell

    assert terminal.aligned([["long", "x"], ["s", "y"]], dressed=dressed) == ["long  x", "<s>     y"]


@given(st.text(max_size=40), st.integers(-3, 50), st.sampled_from(["…", "", "..."]))
def test_a_cut_text_fits(text: str, columns: int, mark: str) -> None:
    cut = terminal.cut(text, columns, mark)
    assert cut == text or terminal.width(cut) <= max(columns, 0)
    assert (cut == text) == (terminal.width(text) <= columns or not text)


@pytest.mark.parametrize(
    ("done", "total", "bar"),
    [
        (0, 4, "...."),
        (1, 4, "#..."),
        (3.99, 4, "###."),
        (4, 4, "####"),
        (9, 4, "####"),
        (-1, 4, "...."),
        (float("nan"), 4, "...."),
        (float("inf"), float("inf"), "####"),
    ],
)
def test_a_bar_is_full_when_all_is_done_and_not_before(done: float, total: float, bar: str) -> None:
    assert terminal.bar(done, total, cells=4) == bar


def test_a_bar_may_have_a_head():
    assert [terminal.bar(done, 2, "=> ", 4) for done in range(3)] == [">   ", "==> ", "===="]


def test_a_live_line_is_written_over_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(terminal, "size", lambda _: (10, 24))
    line = terminal.LiveLine()
    line.clear()
    line.over("one\x1b[2J\ntwo and more")
    line.above("said\n")
    line.clear()
    line.clear()
    clear = "\r\x1b[K"
    assert screen.getvalue() == f"{clear}one\\x1b[2{clear}said\n{clear}one\\x1b[2{clear}"


@pytest.mark.parametrize(
    ("environment", "wanted"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_who_wants_no_colour_gets_none(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], wanted: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert terminal.wants_colour(Screen()) == wanted
    assert not terminal.wants_colour(io.StringIO())


def test_a_terminal_without_a_size_has_the_usual_one(tmp_path):
    with (tmp_path / "file").open("w") as file:
        assert terminal.size(file.fileno()) == (80, 24)


@pytest.mark.parametrize(
    ("text", "colours", "shown"),
    [
        ("\x1b[1m\x1b[31merror\x1b[0m: x\n", False, "error: x\n"),
        ("\x1b[31merror\x1b[0m\n", True, "\x1b[31merror\x1b[0m\n"),
        ("\x1b[01m\x1b[Kx.c:\x1b[m\x1b[K bad\n", True, "\x1b[01mx.c:\x1b[m bad\n"),  # gcc's own
        ("a\x1b[2Jb\x07c\n", True, "a\\x1b[2Jb\\x07c\n"),  # what would clear the screen, or ring
        ("a\x1b[2Jb\x1b]0;title\x07\n", False, "a\\x1b[2Jb\\x1b]0;title\\x07\n"),
        ("\x1b[31m\u202ex\U000e0041\n", True, "\x1b[31m\\u202ex\\U000e0041\n"),
        ("a\x1b[", False, "a"),
    ],
)
def test_a_compilers_colours_stay_and_no_other_command(text: str, colours: bool, shown: str) -> None:
    assert terminal.shown_with_colours(text, colours=colours) == shown
