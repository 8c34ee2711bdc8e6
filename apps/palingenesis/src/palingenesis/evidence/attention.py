"""Which sessions to look at now, so that a stop is seen in seconds and 10,000 records cost next to nothing.

Owns the order of looks.  Records that changed lately are looked at each time, all others in turn within four
times; directories each time for new records; everything is searched for now and then, the less often the
longer it takes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Final

from palingenesis.evidence import places
from palingenesis.evidence.places import Found
from palingenesis.evidence.survey import RECENT_S, Survey

# A record that changed within this time may change any moment.
HOT_S: Final = 3600.0
MAX_HOT: Final = 500
# All other records are looked at in turn, each once in so many calls, of which there is one a second.
TURNS: Final = 4
MAX_COLD: Final = 5_000
# Everything is searched for again this often at most, and so seldom that it takes 0.2 % of the time.
ALL_EVERY_S: Final = 4.0
SHARE: Final = 0.002

Key = tuple[str, str]  # agent, path
_Mark = tuple[int, int, int]


class Attention:
    """Keeps what the records of a survey were when they were looked at last."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._marks: dict[Key, _Mark] = {}
        self._directories: dict[str, int] = {}
        self._order: list[Key] = []  # of the looks at all records in turn
        self._at = 0
        self._all_at_s = self._called_at_s = 0.0

    def changed(self, now_s: float) -> list[Key]:
        """Return the records that changed since the last call, the first time all of the last days."""
        clock_went_back = now_s < self._called_at_s
        self._called_at_s = now_s
        if clock_went_back or now_s >= self._all_at_s or self._has_new_names():
            return self._everything(now_s)
        hot = [(key, mark) for key, mark in self._marks.items() if now_s - mark[0] / 1e9 < HOT_S]
        hot.sort(key=lambda one: one[1], reverse=True)
        keys = [*(key for key, _ in hot[:MAX_HOT]), *self._next_cold()]
        now = ((key, found) for key in keys if (found := places.look(key[1])) is not None)
        return self._compare(now, now_s)

    def _next_cold(self) -> list[Key]:
        """Return those of the next part of all records that have changed."""
        part = min(len(self._order) // TURNS + 1, MAX_COLD)
        keys = self._order[self._at : self._at + part]
        self._at = self._at + part if self._at + part < len(self._order) else 0
        return [key for key in keys if _modified(key[1]) != self._marks[key][0]]

    def _everything(self, now_s: float) -> list[Key]:
        began_s = time.thread_time()
        found = {
            (agent, one.path): one for agent in self._survey.profiles for one in self._survey.find(agent)
        }
        self._directories = {path: _modified(path) for path in {os.path.dirname(path) for _, path in found}}
        for root in self._survey.roots():
            self._directories.setdefault(root, _modified(root))
        self._marks = {key: mark for key, mark in self._marks.items() if key in found}
        changed = self._compare(found.items(), now_s)
        self._order, self._at = list(self._marks), 0
        self._all_at_s = now_s + max(ALL_EVERY_S, (time.thread_time() - began_s) / SHARE)
        return changed

    def _has_new_names(self) -> bool:
        return any(_modified(path) != before for path, before in self._directories.items())

    def _compare(self, now: Iterable[tuple[Key, Found]], now_s: float) -> list[Key]:
        changed = []
        for key, found in now:
            mark = _mark(found)
            if mark != self._marks.get(key):
                self._marks[key] = mark
                if now_s - mark[0] / 1e9 < RECENT_S:
                    changed.append(key)
        return changed


def _mark(found: Found) -> _Mark:
    log = places.look(found.path + "-wal") if found.path.endswith(".db") else None
    if log is None:
        return found.modified_ns, found.size, found.inode
    return max(found.modified_ns, log.modified_ns), found.size + log.size, found.inode


def _modified(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
