"""Tables of text: columns lined up, cut to a width.  Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

GAP = "  "
MAX_CELL = 60


def width(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def cut(text: str, columns: int) -> str:
    """Return `text` in at most `columns` columns, with an ellipsis where it was longer."""
    if width(text) <= columns:
        return text
    kept = ""
    for char in text:
        if width(kept + char) > columns - 1:
            break
        kept += char
    return kept + "…" if columns > 0 else ""


def aligned(rows: Sequence[Sequence[str]], columns: int | None = None, indent: str = "") -> list[str]:
    """Return rows as lines with their cells under each other.

    Args:
        rows: of cells; each row may be shorter than the longest.
        columns: what the lines may take; the last cell is cut.  None for as much as they need.
        indent: stands before each line.
    """
    count = max((len(row) for row in rows), default=0)
    widths = [max((width(row[at]) for row in rows if at < len(row)), default=0) for at in range(count)]
    lines = []
    for row in rows:
        line = indent
        for at, cell in enumerate(row):
            last = at == len(row) - 1
            line += cell if last else cell + " " * (widths[at] - width(cell)) + GAP
        line = line.rstrip()
        lines.append(line if columns is None else cut(line, columns))
    return lines


def of_records(value: Any) -> list[str] | None:
    """Return a list of flat objects as a table with a header, or None where it is none."""
    if (
        not isinstance(value, list)
        or len(value) < 1
        or not all(isinstance(one, dict) and one for one in value)
    ):
        return None
    keys: list[str] = []
    for one in value:
        keys += [key for key in one if key not in keys]
    if len(keys) > 8 or any(isinstance(cell, (dict, list)) for one in value for cell in one.values()):
        return None
    rows = [keys, *([_cell(one, key) for key in keys] for one in value)]
    if any(len(cell) > MAX_CELL for row in rows for cell in row):
        return None
    return aligned(rows)


def _cell(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if value is None:
        return "-" if key in record else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("\n", " ")
