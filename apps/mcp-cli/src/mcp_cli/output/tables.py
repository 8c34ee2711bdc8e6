"""A list of flat objects as a table, where it can be one.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daemonry.cli.terminal import aligned

MAX_CELL = 60


def of_records(value: Any) -> list[str] | None:
    """Return a list of flat objects as a table with a header, or None for any other value."""
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
