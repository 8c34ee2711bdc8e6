"""`daemonry ps`: every daemon of this user.

Owns the table.  Each daemon is asked at the same time, so one that does not answer delays
nothing but itself.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from daemonry.cli import exit_codes, output
from daemonry.daemon.instance import Instance
from daemonry.errors import DaemonryError
from daemonry.limits import PROBE_TIMEOUT_S
from daemonry.process import registry
from daemonry.process.place import Place

_COLUMNS = ("name", "pid", "state", "uptime", "version", "endpoint")


def ps(*, as_json: bool, names_only: bool) -> int:
    """Print the list and return the exit code."""
    places = list(registry.places())
    if names_only:
        for name in sorted({place.name for place in places}):
            output.say(name)
        return exit_codes.DONE
    with ThreadPoolExecutor(max_workers=16) as pool:
        rows = [row for row in pool.map(_row, places) if row is not None]
    if as_json:
        output.say_json(rows)
    else:
        _say_table(rows)
    return exit_codes.DONE


def _row(place: Place) -> dict[str, Any] | None:
    instance = Instance(place)
    if instance.lock_held() is False:
        if not os.path.exists(place.record_path):
            registry.remove(place)
            return None
        return _fields(instance, "crashed", {})
    try:
        status = instance.status(PROBE_TIMEOUT_S)
    except DaemonryError:
        return _fields(instance, instance.liveness(0.2).answer, {})
    return _fields(instance, str(status.get("state", "serving")), status)


def _fields(instance: Instance, state: str, status: Any) -> dict[str, Any]:
    record = instance.record()
    return {
        "name": instance.name,
        "pid": record.pid if record is not None else None,
        "state": state,
        "uptime_secs": status.get("uptime_secs"),
        "version": record.version if record is not None else None,
        "endpoint": record.endpoint if record is not None else None,
    }


def _say_table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        output.say("no daemons")
        return
    table = [[name.upper() for name in _COLUMNS]] + [_cells(row) for row in rows]
    widths = [max(len(line[at]) for line in table) for at in range(len(_COLUMNS))]
    for number, line in enumerate(table):
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        if number:
            cells[2] = output.state(line[2]) + " " * (widths[2] - len(line[2]))
        output.say("  ".join(cells).rstrip())


def _cells(row: dict[str, Any]) -> list[str]:
    uptime = row["uptime_secs"]
    shown = {**row, "uptime": output.span(uptime) if isinstance(uptime, (int, float)) else "-"}
    return [output.value(shown[name]) for name in _COLUMNS]
