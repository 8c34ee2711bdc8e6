"""`daemonry ps`: every daemon of this user, and every home with its services.

Owns the table; finding and asking them is `survey`'s.
"""

from __future__ import annotations

from daemonry.cli import exit_codes, output, survey, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

_COLUMNS = ("name", "pid", "state", "uptime", "version", "endpoint")


def ps(*, as_json: bool, names_only: bool, all_hosts: bool = False) -> int:
    """Print the list and return the exit code.

    Args:
        as_json: whether it is printed as JSON.
        names_only: whether only the names of this machine's daemons are printed.
        all_hosts: whether the user's other machines are asked too.
    """
    if all_hosts:
        return _everywhere(as_json=as_json)
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


def _everywhere(*, as_json: bool) -> int:
    from daemonry.cli.hosts import everywhere

    rows = everywhere.rows()
    if as_json:
        output.say_json(rows)
    else:
        _say_table([row for row in rows if row["kind"] != "host"], ("host", *_COLUMNS))
    gone = [row for row in rows if row["kind"] == "host"]
    if not as_json:
        for row in gone:
            is_so = "is unreachable" if row["state"] == "unreachable" else "gives no list"
            output.complain(f"{output.value(row['host'])} {is_so}: {output.value(row['reason'])}")
    return exit_codes.NO_ANSWER if gone else exit_codes.DONE


# --- the table ----------------------------------------------------------------------------------


def _say_table(rows: list[dict[str, Any]], columns: Sequence[str] = _COLUMNS) -> None:
    if not rows:
        output.say("no daemons")
        return
    with_host = columns[0] == "host"
    lines = [([_host(row)] * with_host + cells, state) for row in rows for cells, state in _lines(row)]
    table = [[name.upper() for name in columns], *(cells for cells, _ in lines)]
    of_state = columns.index("state")

    def dressed(row: int, column: int, cell: str) -> str:
        return output.state(lines[row - 1][1]) if row and column == of_state else cell

    for line in terminal.aligned(table, dressed=dressed):
        output.say(line)


def _host(row: dict[str, Any]) -> str:
    return output.value(row["host"]) if row.get("host") else "-"


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
