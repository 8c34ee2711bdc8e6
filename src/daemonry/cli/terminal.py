r"""The terminal kit: widths, tables, a bar, a line that is written over, colours, and foreign text made safe.

    size            a terminal's columns and lines
    width, cut      how many columns a text takes; the text in so many columns
    aligned         rows of cells as lines, the cells below each other
    bar             a bar of characters: how far something is
    LiveLine        one line of standard error that is written over
    wants_colour, styled
                    whether a stream wants colour; a text in a style
    shown_with_colours
                    a program's output: its colours stay, all else that commands a terminal is escaped
    write, end_of_line
                    text that UTF-8 cannot carry; one line feed at a text's end
    printable, shown, for_stream, json_for_stream
                    foreign text made safe, by the table of `daemonry.terminal_text`

These are the names that programs may rely on.  Widths are in columns of a terminal: most letters of East
Asia and emoji take two, combining marks none.

Pure but for `size`, `LiveLine` and `write`.  Loaded by the quick commands of programs, so it imports nothing
that they do not load anyway.
"""

from __future__ import annotations

import os
import sys

from daemonry.cli.output import styled, wants_colour
from daemonry.terminal_text import for_stream, json_for_stream, printable, shown, shown_with_colours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Final

__all__ = [
    "BAR_CELLS",
    "COLUMNS",
    "LINES",
    "LiveLine",
    "aligned",
    "bar",
    "cut",
    "end_of_line",
    "for_stream",
    "json_for_stream",
    "printable",
    "shown",
    "shown_with_colours",
    "size",
    "styled",
    "wants_colour",
    "width",
    "write",
]

# The size of a terminal that does not know its own: a pseudo-terminal that nobody gave a size says 0.
COLUMNS: Final = 80
LINES: Final = 24
# A bar leaves room for a title on a terminal of 80 columns.
BAR_CELLS: Final = 24
# Between two columns of a table.
_GAP: Final = "  "
_CLEAR_LINE: Final = "\r\x1b[K"


def size(fd: int) -> tuple[int, int]:
    """Return the columns and lines of the terminal at a descriptor; 80 and 24 where that is unknown."""
    try:
        found = os.get_terminal_size(fd)
    except (OSError, ValueError):
        return COLUMNS, LINES
    return found.columns or COLUMNS, found.lines or LINES


def width(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def cut(text: str, columns: int, mark: str = "…") -> str:
    """Return `text` in at most `columns` columns; a longer one is cut, and `mark` stands at its end."""
    if width(text) <= columns:
        return text
    room = columns - width(mark)
    if room < 0:
        return ""
    used = 0
    for at, char in enumerate(text):
        used += width(char)
        if used > room:
            return text[:at] + mark
    return text


def aligned(
    rows: Sequence[Sequence[str]],
    columns: int | None = None,
    indent: str = "",
    *,
    mark: str = "…",
    dressed: Callable[[int, int, str], str] | None = None,
) -> list[str]:
    """Return rows as lines with their cells below each other.

    Args:
        rows: of cells; each row may be shorter than the longest.
        columns: the most that a line may take; its end is cut.  None for as much as it needs.
        indent: stands before each line.
        mark: stands where a line was cut.
        dressed: returns a cell with its colours, given its row, its column (both from 0) and its text.
    """
    count = max((len(row) for row in rows), default=0)
    widths = [max((width(row[at]) for row in rows if at < len(row)), default=0) for at in range(count)]
    lines = []
    for number, row in enumerate(rows):
        line = indent
        for at, cell in enumerate(row):
            line += cell if dressed is None else dressed(number, at, cell)
            if at < len(row) - 1:
                line += " " * (widths[at] - width(cell)) + _GAP
        line = line.rstrip()
        lines.append(line if columns is None else cut(line, columns, mark))
    return lines


def bar(done: float, total: float, marks: str = "#.", cells: int = BAR_CELLS) -> str:
    """Return a bar that says how far something is; it is full when all is done, and not before.

    Args:
        done: how much of it is done; less than nothing counts as nothing, more than all as all.
        total: how much there is, above 0.
        marks: what stands for a part that is done and one that is not; between them, if there are three,
            what stands at the boundary.
        cells: how many characters the bar has.
    """
    # Numbers of others may be NaN, which are not above 0.
    filled = cells if done >= total else int(cells * done // total) if done > 0 else 0
    text = marks[0] * filled
    if filled < cells:
        text += marks[1:-1]
    return text + marks[-1] * (cells - len(text))


class LiveLine:
    """One line of standard error that is written over as something goes on."""

    def __init__(self) -> None:
        self.text: str = ""

    def over(self, text: str) -> None:
        """Show `text` in place of the line; foreign text is escaped, and cut to the width."""
        columns, _ = size(2)
        # A character in the last column would begin a new line.
        self.text = cut(shown(text).replace("\n", " "), columns - 1, "")
        sys.stderr.write(_CLEAR_LINE + self.text)
        sys.stderr.flush()

    def above(self, text: str) -> None:
        """Write `text`, which ends with a line feed, and show the line again below it."""
        line = self.text
        self.clear()
        sys.stderr.write(text)
        if line:
            self.over(line)
        sys.stderr.flush()

    def clear(self) -> None:
        """Remove the line, if there is one."""
        if self.text:
            self.text = ""
            sys.stderr.write(_CLEAR_LINE)
            sys.stderr.flush()


def end_of_line(text: str) -> str:
    """Return `text` with a line feed at its end; an empty text stays empty."""
    return text if not text or text.endswith("\n") else f"{text}\n"


def write(text: str, stream: Any) -> None:
    """Write text; characters that UTF-8 cannot carry are written as escapes."""
    if not text.isascii():
        stream.reconfigure(errors="backslashreplace")
    stream.write(text)
