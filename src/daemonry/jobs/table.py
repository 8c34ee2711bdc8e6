"""The jobs of a daemon in a file that survives kill -9 and power cuts: SQLite, with a write-ahead log.

Owns the rows and every change of a state: a change names the state that it begins from, so of two processes
(an upgrade has two) one makes it.  The order of states is `states`'.  Blocking: called in a thread.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from daemonry import errors
from daemonry.jobs.record import JobInfo
from daemonry.jobs.states import ENDED, JobState, JobStep, step

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE jobs (
    job INTEGER PRIMARY KEY AUTOINCREMENT,
    task TEXT NOT NULL,
    parameters TEXT NOT NULL,
    key TEXT UNIQUE,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    progress REAL NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '',
    result TEXT NOT NULL DEFAULT 'null',
    error TEXT NOT NULL DEFAULT '',
    submitted_s REAL NOT NULL,
    started_s REAL NOT NULL DEFAULT 0,
    ended_s REAL NOT NULL DEFAULT 0,
    due_s REAL NOT NULL DEFAULT 0,
    runner TEXT NOT NULL DEFAULT ''
);
CREATE INDEX by_state ON jobs (state, task, job);
"""
_COLUMNS: Final = (
    "job, task, state, parameters, coalesce(key, ''), attempts, progress, message, result, error, "
    "submitted_s, started_s, ended_s, due_s"
)
_ENDED: Final = ", ".join(f"'{state.value}'" for state in ENDED)
_OPEN: Final = ", ".join(f"'{state.value}'" for state in JobState if state not in ENDED)
# How long another process may hold the file: a commit, on a slow disk.
_BUSY_S: Final = 10.0


class JobTable:
    """The jobs in one file.

    Args:
        path: the file; made if it is not there.
        keep: how many ended jobs are kept.

    Raises:
        Refused: the file cannot be used, with the reason: the daemon does not start.
    """

    def __init__(self, path: str, keep: int) -> None:
        self._keep = keep
        self.path: str = path
        try:
            self._db = sqlite3.connect(path, _BUSY_S, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
            if found == 0:
                self._db.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {_VERSION};COMMIT;")
            elif found != _VERSION:
                raise sqlite3.DatabaseError(f"it has the form {found}, and this release reads {_VERSION}")
        except sqlite3.Error as error:
            raise errors.Refused(f"the jobs in {path} cannot be used: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def submit(self, task: str, parameters: str, key: str, most_open: int) -> tuple[int, bool]:
        """Add a job and return its number, and whether it is new: a key that is known has one already.

        The number is 0 where there are as many jobs as there may be.
        """
        with _Transaction(self._db):
            if key:
                known = self._db.execute("SELECT job FROM jobs WHERE key = ?", (key,)).fetchone()
                if known is not None:
                    return int(known[0]), False
            if self.count_open() >= most_open:
                return 0, False
            made = self._db.execute(
                "INSERT INTO jobs (task, parameters, key, state, submitted_s) VALUES (?, ?, ?, ?, ?)",
                (task, parameters, key or None, JobState.QUEUED.value, time.time()),
            )
            return int(made.lastrowid or 0), True

    def get(self, job: int) -> JobInfo | None:
        """Return a job; None where there is no such one."""
        row = self._db.execute(f"SELECT {_COLUMNS} FROM jobs WHERE job = ?", (job,)).fetchone()
        return None if row is None else _info(row)

    def last(self, state: str, limit: int) -> list[JobInfo]:
        """Return the last jobs, those of one state or all, the first submitted first."""
        where, values = ("WHERE state = ?", (state,)) if state else ("", ())
        found = self._db.execute(
            f"SELECT {_COLUMNS} FROM jobs {where} ORDER BY job DESC LIMIT ?", (*values, limit)
        )
        return [_info(row) for row in found.fetchall()][::-1]

    def queued(self, spare: Mapping[str, int], room: int) -> list[tuple[int, str]]:
        """Return the numbers and tasks of the first that are queued, as far as they matter.

        Args:
            spare: how many more may run of each task.
            room: how many more may run at all.
        """
        found: list[tuple[int, str]] = []
        for task, most in spare.items():
            rows = self._db.execute(
                "SELECT job FROM jobs WHERE state = 'queued' AND task = ? ORDER BY job LIMIT ?",
                (task, max(0, min(most, room))),
            )
            found += [(int(job), task) for (job,) in rows.fetchall()]
        return sorted(found)

    def count_open(self) -> int:
        """Return how many have not ended."""
        found = self._db.execute(f"SELECT count(*) FROM jobs WHERE state IN ({_OPEN})")
        return int(found.fetchone()[0])

    def next_due_s(self) -> float | None:
        """Return when the next one that waits is due, in seconds since 1970; None for no such one."""
        found = self._db.execute("SELECT min(due_s) FROM jobs WHERE state = 'waiting'").fetchone()[0]
        return None if found is None else float(found)

    def due(self, now_s: float) -> list[int]:
        """Return those that wait and are due."""
        found = self._db.execute("SELECT job FROM jobs WHERE state = 'waiting' AND due_s <= ?", (now_s,))
        return [int(job) for (job,) in found.fetchall()]

    def begun(self) -> list[tuple[int, str, int, str]]:
        """Return the number, task, attempts and runner of each whose work may be going on."""
        found = self._db.execute(
            "SELECT job, task, attempts, runner FROM jobs WHERE state IN ('running', 'canceling')"
        )
        return [
            (int(job), str(task), int(tries), str(runner)) for job, task, tries, runner in found.fetchall()
        ]

    def step(self, job: int, happened: JobStep, fields: Mapping[str, Any] | None = None) -> JobState | None:
        """Change a job's state as the table of states says, and return the new one.

        None where the job is not there, or the event has no place in its state; nothing is changed then.

        Args:
            job: its number.
            happened: the event.
            fields: columns that change with it.
        """
        with _Transaction(self._db):
            row = self._db.execute("SELECT state FROM jobs WHERE job = ?", (job,)).fetchone()
            following = None if row is None else step(JobState(row[0]), happened)
            if following is None or following.value == row[0]:
                return following
            changes: dict[str, Any] = {"state": following.value, **(fields or {})}
            if following in ENDED:
                changes["ended_s"] = time.time()
            if happened is JobStep.RETRY_ASKED:
                changes |= {"attempts": 0, "error": "", "ended_s": 0.0}
            names = ", ".join(f"{name} = ?" for name in changes)
            self._db.execute(f"UPDATE jobs SET {names} WHERE job = ?", (*changes.values(), job))
        return following

    def start(self, job: int, runner: str) -> JobInfo | None:
        """Note on the disk that a job begins, and return it; None where it is not queued any more."""
        with _Transaction(self._db):
            done = self._db.execute(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1, runner = ?, started_s = ?, "
                "progress = 0, message = '', error = '' WHERE job = ? AND state = 'queued'",
                (runner, time.time(), job),
            )
        return self.get(job) if done.rowcount else None

    def prune(self) -> Iterable[int]:
        """Forget the ended jobs beyond those that are kept, the first ended first, and return them."""
        ended = f"SELECT job FROM jobs WHERE state IN ({_ENDED}) ORDER BY ended_s DESC, job DESC"
        with _Transaction(self._db):
            found = self._db.execute(f"{ended} LIMIT -1 OFFSET ?", (self._keep,)).fetchall()
            self._db.executemany("DELETE FROM jobs WHERE job = ?", found)
        return [int(job) for (job,) in found]


class _Transaction:
    """A transaction that may write, from its first moment: `with sqlite3.Connection` begins none."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *rest: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _info(row: tuple[Any, ...]) -> JobInfo:
    job, task, state, parameters, key, attempts, progress, message, result, *rest = row
    decode = msgspec.json.decode
    return JobInfo(
        job, task, state, decode(parameters), key, attempts, progress, message, decode(result), *rest
    )
