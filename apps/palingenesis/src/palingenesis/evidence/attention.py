"""Which sessions to look at now, so that a stop is seen in seconds and 10,000 records cost next to nothing.

Owns the order of looks.  Records of which the system gives notice are looked at next.  Besides, and without
notices at all: records that changed lately are looked at each time, all others in turn within four times;
directories each time for new records; everything is searched for now and then, the less often the longer it
takes.  While notices come, that is done by a fraction of the looks: notices can be missed.
"""

from __future__ import annotations

import fnmatch
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
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
# While the system gives notice, all but the noticed records are looked at in one of so many calls.
RARELY: Final = 8
# Notices that wait for the next call; further ones are missed.
MAX_NOTICES: Final = 10_000
# Everything is searched for again this often at most, and so seldom that it takes 0.2 % of the time.
ALL_EVERY_S: Final = 4.0
SHARE: Final = 0.002
# Gemini's records have so many characters of a session's id in their names, the others all.
ID_HEAD_CHARS: Final = 8
MAX_NAMED: Final = 20

Key = tuple[str, str]  # agent, path
_Mark = tuple[int, int, int]


class Attention:
    """Keeps what the records of a survey were when they were looked at last.

    Attributes:
        has_notices: whether the system gives notice of changes in all `directories`.
    """

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._marks: dict[Key, _Mark] = {}
        self._directories: dict[str, int] = {}
        self._order: list[Key] = []  # of the looks at all records in turn
        self._at = 0
        self._all_at_s = self._called_at_s = 0.0
        self._noticed: deque[str] = deque(maxlen=MAX_NOTICES)
        self._by_path: dict[str, Key] = {}
        self._calls = 0
        self.has_notices = False

    def directories(self) -> list[str]:
        """Return the directories that are there and in which records are, or new ones can come."""
        return sorted(path for path, modified in self._directories.items() if modified)

    def notice(self, path: str) -> None:
        """Take a notice that something is new about a path; from any thread."""
        self._noticed.append(path)

    def named(self, agent: str, session_id: str) -> list[Key]:
        """Return the records that may be a session's by their names, which have its id or the head of it."""
        head = session_id[:ID_HEAD_CHARS]
        if len(head) < ID_HEAD_CHARS:
            return []
        found = [key for key in self._marks if key[0] == agent and head in os.path.basename(key[1])]
        whole = [key for key in found if session_id in os.path.basename(key[1])]
        return (whole or found)[:MAX_NAMED]

    def look_at_everything(self) -> None:
        """Have the next call look at everything: notices may have been missed."""
        self._all_at_s = 0.0

    def changed(self, now_s: float) -> list[Key]:
        """Return the records that changed since the last call, the first time all of the last days."""
        clock_went_back = now_s < self._called_at_s
        self._called_at_s = now_s
        self._calls += 1
        noticed, directories = self._take_notices()
        if clock_went_back or now_s >= self._all_at_s:
            return self._everything(now_s)
        keys = noticed
        if not self.has_notices or self._calls % RARELY == 0:
            directories = list(self._directories)
            keys = [*noticed, *self._hot(now_s), *self._next_cold()]
        found = [(key, one) for key in keys if (one := places.look(key[1])) is not None]
        for directory in directories:
            if (modified := _modified(directory)) != self._directories[directory]:
                self._directories[directory] = modified
                if self._leads_to_others(directory):
                    return self._everything(now_s)
                found += self._new_in(directory)
        return self._compare(found, now_s)

    def _take_notices(self) -> tuple[list[Key], list[str]]:
        """Return the records and the directories that the notices since the last call are about."""
        keys: dict[Key, None] = {}
        directories: dict[str, None] = {}
        for _ in range(len(self._noticed)):
            path = self._noticed.popleft()
            key = self._by_path.get(path) or self._by_path.get(path.removesuffix("-wal"))
            if key is not None:
                keys[key] = None
            for directory in (path, os.path.dirname(path)):
                if directory in self._directories:
                    directories[directory] = None
        return list(keys), list(directories)

    def _hot(self, now_s: float) -> list[Key]:
        """Return the records that changed lately, the newest first."""
        hot = [(mark, key) for key, mark in self._marks.items() if now_s - mark[0] / 1e9 < HOT_S]
        return [key for _, key in sorted(hot, reverse=True)[:MAX_HOT]]

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
        self._marks = {key: mark for key, mark in self._marks.items() if key in found}
        self._by_path, self._order, self._at, self._directories = {}, [], 0, {}
        roots = self._survey.roots()
        for path in {*(os.path.dirname(path) for _, path in found), *roots}:
            self._add_directories(path, roots)
        changed = self._compare(found.items(), now_s)
        self._all_at_s = now_s + max(ALL_EVERY_S, (time.thread_time() - began_s) / SHARE)
        return changed

    def _add_directories(self, path: str, roots: list[str]) -> None:
        """Add a directory, and those between it and its root, in which others can come."""
        while path not in self._directories:
            self._directories[path] = _modified(path)
            if path in roots:
                break
            path = os.path.dirname(path)

    def _leads_to_others(self, directory: str) -> bool:
        """Whether other directories with records can come in a directory."""
        depth = directory.count("/") + 1
        return any(
            pattern.count("/") > depth and _fits(directory, pattern)
            for patterns in self._survey.patterns.values()
            for pattern in patterns
        )

    def _new_in(self, directory: str) -> Iterator[tuple[Key, Found]]:
        """Yield the records in a directory that are not known yet."""
        for agent, patterns in self._survey.patterns.items():
            for pattern in patterns:
                if not _fits(directory, os.path.dirname(pattern), whole=True):
                    continue
                for path in places.named(directory, os.path.basename(pattern)):
                    if (agent, path) not in self._marks and (found := places.look(path)) is not None:
                        yield (agent, path), found

    def _compare(self, now: Iterable[tuple[Key, Found]], now_s: float) -> list[Key]:
        changed = []
        for key, found in now:
            mark = _mark(found)
            if key[1] not in self._by_path:
                self._by_path[key[1]] = key
                self._order.append(key)
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


def _fits(directory: str, pattern: str, *, whole: bool = False) -> bool:
    """Whether a directory fits a pattern of directories, or the beginning of one."""
    names, parts = directory.split("/"), pattern.split("/")
    if len(names) > len(parts) or (whole and len(names) != len(parts)):
        return False
    return all(fnmatch.fnmatchcase(name, part) for name, part in zip(names, parts, strict=False))


def _modified(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
