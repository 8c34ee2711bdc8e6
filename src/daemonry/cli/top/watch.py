"""Looking at everything that `top` shows, again and again.

Owns the last look, with which the next one is compared, and asking daemons how many calls they have had.
A look blocks for as long as the slowest daemon takes to answer, up to a second or two: it belongs into a
thread.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from daemonry.cli import survey
from daemonry.cli.top.lines import Measured, ServiceLine, cells, of_absent_home, of_rows, with_gone
from daemonry.errors import DaemonryError
from daemonry.home.consumption import measure
from daemonry.limits import PROBE_TIMEOUT_S
from daemonry.service.client.blocking import Client
from daemonry.transport.endpoint import Endpoint

_GET_COUNTS: Final = "org.daemonry.Control.GetCounts"
# States in which a daemon answers calls about itself.
_ANSWERS: Final = frozenset(("running", "paused", "ready", "serving"))
_HAS_PROCFS: Final = sys.platform == "linux"


class Seen(NamedTuple):
    """One line, and its texts.

    Attributes:
        line: the line.
        cells: a text for each of `lines.COLUMNS`.
    """

    line: ServiceLine
    cells: tuple[str, ...]


class Watch:
    """Looks at daemons and homes.

    Args:
        home: the directory of the only home that is looked at; None for all that this user runs.
    """

    def __init__(self, home: str | None) -> None:
        self._home = home
        self._lines: list[ServiceLine] = []
        self._measured: dict[str, Measured] = {}
        self._pool = ThreadPoolExecutor(max_workers=8)

    def look(self) -> list[Seen]:
        """Return all lines, with the rates since the last look.

        A daemon or home that was there before and is gone stays as "stopped", so that a key can start it.
        """
        self._lines = with_gone(self._lines, self._found())
        before, self._measured = self._measured, self._measure(self._lines)
        none = Measured()
        return [
            Seen(line, cells(line, before.get(line.key, none), self._measured[line.key]))
            for line in self._lines
        ]

    def close(self) -> None:
        """End its threads, without waiting for answers."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _found(self) -> list[ServiceLine]:
        if self._home is None:
            return of_rows(survey.rows())
        row = survey.home_row(self._home)
        return of_rows([row]) if row is not None else [of_absent_home(self._home)]

    def _measure(self, lines: Iterable[ServiceLine]) -> dict[str, Measured]:
        return dict(self._pool.map(_measured, lines))


def _measured(line: ServiceLine) -> tuple[str, Measured]:
    if line.pid is None:
        return line.key, Measured()
    use = measure(line.pid, wake_ups=True) if _HAS_PROCFS else None
    return line.key, Measured(use, _calls(line))


def _calls(line: ServiceLine) -> int | None:
    """Return how many calls a daemon has had; None for a program that is not a daemon, or gives no answer."""
    if not line.daemon or not line.endpoint or line.state not in _ANSWERS:
        return None
    try:
        with Client.connect(Endpoint.parse(line.endpoint), PROBE_TIMEOUT_S) as client:
            told = client.call(_GET_COUNTS, {}, timeout_s=PROBE_TIMEOUT_S)["begun"]
    except (DaemonryError, OSError, KeyError):
        return None
    return told if isinstance(told, int) else None
