"""Which blob of cass is which blob of a server that names them by SHA-256: a two-way index on the disk.

Owns the file `$VX_HOME/cass.digests`, an SQLite database, so that nothing is hashed for its other name twice.
What it learns goes to the disk in batches, for a transaction costs as much as the question that a hit asks.
It may lose entries, the last batch where the process is killed: then a blob is hashed again.  It is written
by processes of this user alone, and whatever it leads to is verified by its digest.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from vx.remote.digest_functions import RemoteDigest

logger = logging.getLogger("vx.cass")

_FORM: Final = """
CREATE TABLE IF NOT EXISTS digests (
    ours BLOB PRIMARY KEY, theirs BLOB NOT NULL, size INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_theirs ON digests (theirs);
"""
# Questions in one statement: SQLite's own bound of variables is 32,766.
_AT_ONCE: Final = 500
_BUSY_S: Final = 5.0
# Of blobs whose names are not on the disk yet.
_BATCH: Final = 256


class DigestIndex:
    """The index.

    Args:
        path: of the database; made where it does not exist, and anew where it is damaged.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._new: dict[str, RemoteDigest] = {}
        self._new_ours: dict[str, str] = {}
        try:
            self._base = self._open()
        except sqlite3.DatabaseError as error:
            logger.warning("%s: %s: it is made anew", path, error)
            with suppress(FileNotFoundError):
                os.unlink(path)
            self._base = self._open()

    def theirs(self, ours: Iterable[str]) -> dict[str, RemoteDigest]:
        """Return the names there of those blobs that it knows, by their names here."""
        wanted = list(dict.fromkeys(ours))
        with self._lock:
            found = {one: self._new[one] for one in wanted if one in self._new}
            rows = self._rows("ours", [one for one in wanted if one not in found])
        return found | {row[0].hex(): RemoteDigest(row[1].hex(), row[2]) for row in rows}

    def ours(self, theirs: Iterable[str]) -> dict[str, str]:
        """Return the names here of those blobs that it knows, by their hashes there."""
        wanted = list(dict.fromkeys(theirs))
        with self._lock:
            found = {one: self._new_ours[one] for one in wanted if one in self._new_ours}
            rows = self._rows("theirs", [one for one in wanted if one not in found])
        return found | {row[1].hex(): row[0].hex() for row in rows}

    def learn(self, found: Mapping[str, RemoteDigest]) -> None:
        """Keep both names of blobs, by their names here."""
        with self._lock:
            self._new |= found
            self._new_ours |= {theirs.hash: ours for ours, theirs in found.items()}
            if len(self._new) >= _BATCH:
                self._write()

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._write()
            self._base.close()

    def _write(self) -> None:
        rows = [
            (bytes.fromhex(ours), bytes.fromhex(theirs.hash), theirs.size)
            for ours, theirs in self._new.items()
        ]
        self._new, self._new_ours = {}, {}
        with suppress(sqlite3.Error), self._base:
            self._base.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", rows)

    def _open(self) -> sqlite3.Connection:
        base = sqlite3.connect(self._path, timeout=_BUSY_S, check_same_thread=False)
        try:
            base.execute("PRAGMA synchronous = OFF")
            base.execute("PRAGMA journal_mode = WAL")
            base.executescript(_FORM)
            base.execute("SELECT ours, theirs, size FROM digests LIMIT 1").fetchall()
        except BaseException:
            base.close()
            raise
        return base

    def _rows(self, column: str, wanted: Iterable[str]) -> list[tuple[bytes, bytes, int]]:
        names = [bytes.fromhex(one) for one in wanted]
        rows: list[tuple[bytes, bytes, int]] = []
        for begin in range(0, len(names), _AT_ONCE):
            part = names[begin : begin + _AT_ONCE]
            marks = ",".join("?" * len(part))
            asked = f"SELECT ours, theirs, size FROM digests WHERE {column} IN ({marks})"  # noqa: S608
            with suppress(sqlite3.Error):
                rows += self._base.execute(asked, part).fetchall()
        return rows
