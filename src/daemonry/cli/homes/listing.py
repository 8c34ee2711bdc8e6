"""`daemonry ps --home DIR`: the services of a home.

Owns the table: columns and colours on a terminal, one plain line per service elsewhere, and JSON.
"""

from __future__ import annotations

import time

from daemonry.cli import exit_codes, output, terminal
from daemonry.cli.homes.events import services_of
from daemonry.cli.homes.home_words import HomeWords
from daemonry.errors import NotRunning
from daemonry.home.home import Home
from daemonry.limits import REQUEST_TIMEOUT_S
from daemonry.terminal_text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_COLUMNS: Final = ("service", "state", "pid", "since", "restarts", "last exit", "note")
_STATE: Final = _COLUMNS.index("state")


def ps(home: Home, asked: HomeWords) -> int:
    """Print the services; return the exit code."""
    try:
        with home.connect(REQUEST_TIMEOUT_S) as client:
            services = services_of(client)
    except NotRunning:
        if asked.json:
            output.say_json([])
        else:
            output.say(printable(f"{home.name}: not up"))
        return exit_codes.NOT_RUNNING
    if asked.json:
        output.say_json(services)
        return exit_codes.DONE
    table = [[name.upper() for name in _COLUMNS], *(_cells(one) for one in services)]
    for line in terminal.aligned(table, dressed=_with_colour):
        output.say(line)
    return exit_codes.DONE


def _with_colour(row: int, column: int, cell: str) -> str:
    return output.state(cell) if row and column == _STATE else cell


def _cells(one: dict[str, Any]) -> list[str]:
    since = output.span(max(0.0, time.time() - one["since"]))
    note = one["note"] or (f"ready by {one['readiness']}" if one["state"] == "ready" else None)
    cells = (one["name"], one["state"], one["pid"], since, one["restarts"], one["last_exit"], note)
    return [output.value(cell) for cell in cells]
