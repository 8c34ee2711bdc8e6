"""The lines on the screen of `top`: a line for each daemon, home and service, as a tree.

Owns the lines and their texts.  Names and states come from others, so that each is bounded and made safe.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from daemonry.cli.output import span
from daemonry.home.consumption import Rates, Use, between
from daemonry.terminal_text import printable

COLUMNS: Final = ("name", "state", "pid", "up", "calls/s", "cpu %", "memory", "wake/s")
# More than a person looks at; a home with more services is cut, and says so.
MAX_LINES: Final = 1000
_MAX_NAME_CHARS: Final = 60
# How a line is named that stands for something which no longer runs.
GONE: Final = "stopped"


class Measured(NamedTuple):
    """The resources of a process at one moment.

    Attributes:
        use: of it and all processes below it; None where it does not run.
        calls: calls since its start; None where that is not known.
    """

    use: Use | None = None
    calls: int | None = None


class ServiceLine(NamedTuple):
    """One line.

    Attributes:
        key: tells it from others, for as long as the screen lasts.
        kind: "daemon", "home" or "service".
        name: the daemon's name, or the service's, or that of the home's directory.
        home: the directory of the home, or of the service's home; "" for a daemon.
        daemon: the daemon's name, if it is one; "" otherwise.
        endpoint: where it is reached, if it is a daemon or a home that runs; "" otherwise.
        state: its state.
        pid: its process, if it runs.
        uptime_s: for how long it has run.
        log_path: its log.
        branch: what stands before its name to show where it belongs.
    """

    key: str
    kind: str
    name: str
    home: str
    daemon: str
    endpoint: str
    state: str
    pid: int | None
    uptime_s: float | None
    log_path: str
    branch: str = ""

    @property
    def label(self) -> str:
        """Its name as it stands on the screen."""
        name = printable(self.name, _MAX_NAME_CHARS)
        if self.kind == "home":
            return f"{name} (home)"
        also = f" ({printable(self.daemon, _MAX_NAME_CHARS)})" if self.daemon not in ("", self.name) else ""
        return f"{self.branch}{name}{also}"


def of_rows(rows: Iterable[Mapping[str, Any]]) -> list[ServiceLine]:
    """Return the lines of rows of `survey.rows`, at most `MAX_LINES`."""
    found: list[ServiceLine] = []
    for row in rows:
        for line in _of_row(row):
            if len(found) == MAX_LINES:
                return found
            found.append(line)
    return found


def _of_row(row: Mapping[str, Any]) -> Iterator[ServiceLine]:
    home = str(row.get("home", ""))
    daemon = row["name"] if row["kind"] == "daemon" else ""
    yield _line(row, home, daemon, row.get("log") or f"{home}/home.log", "")
    services = row.get("services", ())
    for number, one in enumerate(services):
        branch = "└ " if number == len(services) - 1 else "├ "
        yield _line(one, home, one["daemon"] or "", f"{home}/{one['name']}.log", branch)


def _line(row: Mapping[str, Any], home: str, daemon: str, log_path: str, branch: str) -> ServiceLine:
    where = home or row["endpoint"] or ""
    uptime = row["uptime_secs"]
    return ServiceLine(
        key="\n".join((row["kind"], where, str(row["name"]))),
        kind=str(row["kind"]),
        name=str(row["name"]),
        home=home,
        daemon=str(daemon),
        endpoint=str(row["endpoint"] or ""),
        state=str(row["state"]),
        pid=row["pid"] if isinstance(row["pid"], int) else None,
        uptime_s=uptime if isinstance(uptime, (int, float)) else None,
        log_path=str(log_path),
        branch=branch,
    )


def with_gone(before: Iterable[ServiceLine], now: list[ServiceLine]) -> list[ServiceLine]:
    """Return the lines of now, and below them those that were there and are not: they can be started again.

    A service is in its home's file or not, so only daemons and homes stay.
    """
    there = {line.key for line in now}
    gone = [
        line._replace(state=GONE, pid=None, uptime_s=None, endpoint="")
        for line in before
        if line.key not in there and line.kind != "service"
    ]
    return [*now, *gone][:MAX_LINES]


def of_absent_home(directory: str) -> ServiceLine:
    """Return the line of a home that is not up."""
    name = directory.rpartition("/")[2] or directory
    log_path = f"{directory}/home.log"
    return ServiceLine(
        f"home\n{directory}\n{name}", "home", name, directory, "", "", GONE, None, None, log_path
    )


def cells(line: ServiceLine, before: Measured, now: Measured) -> tuple[str, ...]:
    """Return the texts of a line, one for each of `COLUMNS`.

    Args:
        line: the line.
        before: its resources a moment ago.
        now: its resources now.
    """
    rates = between(before.use, now.use) if before.use is not None and now.use is not None else None
    return (
        line.label,
        printable(line.state, _MAX_NAME_CHARS),
        "" if line.pid is None else str(line.pid),
        "" if line.uptime_s is None else span(max(0.0, line.uptime_s)),
        _calls(before, now),
        _number(None if rates is None else rates.cpu * 100),
        "" if now.use is None or not now.use.memory_bytes else _bytes(now.use.memory_bytes),
        _number(_wake_ups(rates)),
    )


def _wake_ups(rates: Rates | None) -> float | None:
    return None if rates is None else rates.wake_ups_per_s


def _calls(before: Measured, now: Measured) -> str:
    if None in (before.calls, now.calls, before.use, now.use):
        return ""
    assert before.calls is not None
    assert now.calls is not None
    assert before.use is not None
    assert now.use is not None
    span_s = now.use.at_s - before.use.at_s
    return _number((now.calls - before.calls) / span_s if span_s > 0 and now.calls >= before.calls else None)


def _number(of: float | None) -> str:
    if of is None:
        return ""
    return f"{of:.1f}" if of < 100 else f"{of:.0f}"


def _bytes(size: int) -> str:
    mib = size / 2**20
    return f"{mib:.1f} M" if mib < 1024 else f"{mib / 1024:.1f} G"
