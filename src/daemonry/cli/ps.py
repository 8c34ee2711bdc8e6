"""`daemonry ps`: every daemon of this user, and every home with its services.

Owns the table; finding and asking them is `survey`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from daemonry.cli import exit_codes, output, survey, terminal

_COLUMNS = ("name", "pid", "state", "uptime", "version", "endpoint")
_STATE = _COLUMNS.index("state")


def ps(*, as_json: bool, names_only: bool) -> int:
    """Print the list and return the exit code."""
    if names_only:
        for name in survey.names():
            output.say(name)
        return exit_codes.DONE
    rows = survey.rows()
    if as_json:
        output.say_json(rows)
    else:
        _say_table(rows)
    return exit_codes.DONE


# --- the table ----------------------------------------------------------------------------------


def _say_table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        output.say("no daemons")
        return
    lines = [line for row in rows for line in _lines(row)]
    table = [[name.upper() for name in _COLUMNS], *(cells for cells, _ in lines)]

    def dressed(row: int, column: int, cell: str) -> str:
        return output.state(lines[row - 1][1]) if row and column == _STATE else cell

    for line in terminal.aligned(table, dressed=dressed):
        output.say(line)


def _lines(row: dict[str, Any]) -> Iterable[tuple[list[str], str]]:
    """Yield the lines of a daemon, or of a home and its services: their cells, and the state."""
    name = f"{output.value(row['name'])} (home)" if row["kind"] == "home" else output.value(row["name"])
    yield _cells(row, name), row["state"]
    services = row.get("services", ())
    for number, one in enumerate(services):
        branch = "`-" if number == len(services) - 1 else "|-"
        also = f" ({output.value(one['daemon'])})" if one["daemon"] not in (None, one["name"]) else ""
        yield _cells(one, f"{branch} {output.value(one['name'])}{also}"), one["state"]


def _cells(row: dict[str, Any], name: str) -> list[str]:
    uptime = row["uptime_secs"]
    shown = {**row, "uptime": output.span(uptime) if isinstance(uptime, (int, float)) else "-"}
    return [name, *(output.value(shown[column]) for column in _COLUMNS[1:])]
