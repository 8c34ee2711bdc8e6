"""The entries on the disk: `{state}/sessions.json`, replaced as a whole.

Owns the file and its form.  An entry is written before anything is done or shown by it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from typing import Final

import msgspec

from daemonry import open_regular, read_regular, write_atomically
from palingenesis import names_json
from palingenesis.resume.entry import SessionEntry
from palingenesis.resume.states import State

logger = logging.getLogger("palingenesis.resume")

MAX_BYTES: Final = 32 * 2**20
# What ended is forgotten with its evidence.
FORGET_S: Final = 9 * 86400.0
# Entries of what ended: more are forgotten earlier, the oldest first, and those that were given up last.
MAX_ENDED: Final = 5_000
_ENDED: Final = frozenset({State.DONE, State.LEFT_TO_USER, State.STOPPED, State.GAVE_UP})


class LedgerFile(msgspec.Struct, frozen=True):
    """The whole file.

    Attributes:
        version: of its form.
        watching_since_s: when palingenesis first watched.
        entries: all sessions.
    """

    version: int = 1
    watching_since_s: float = 0.0
    entries: tuple[SessionEntry, ...] = ()


def path_in(state_dir: str) -> str:
    """Return where the file is."""
    return os.path.join(state_dir, "sessions.json")


def read(path: str) -> LedgerFile:
    """Return the content of the file; nothing where there is none.

    Raises:
        OSError: it cannot be read.
        ValueError: it cannot be understood.
    """
    try:
        data = read_regular(path, MAX_BYTES)
    except FileNotFoundError:
        return LedgerFile()
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise ValueError(f"longer than {MAX_BYTES} bytes") from None
        raise
    kept = names_json.decode(data, LedgerFile)
    if kept.version != 1:
        raise ValueError(f"of version {kept.version}")
    return kept


class Ledger:
    """The file at `path`, and a lock that makes this process the only one that writes it.

    Raises:
        BlockingIOError: another process has the lock.
        OSError: the directory cannot be written.
    """

    def __init__(self, state_dir: str, now_s: float) -> None:
        self._lock = open_regular(os.path.join(state_dir, "sessions.lock"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(self._lock)
            raise
        self._path = path_in(state_dir)
        kept = self._read()
        self.watching_since_s = kept.watching_since_s or now_s
        self.entries = {entry.key: entry for entry in kept.entries}
        if not kept.watching_since_s:
            self._write()

    def _read(self) -> LedgerFile:
        try:
            return read(self._path)
        except ValueError as error:
            aside = self._path + ".bak"
            os.replace(self._path, aside)
            logger.warning(
                "%s is damaged (%s): set aside as %s; sessions that stopped so far are not resumed",
                self._path,
                error,
                aside,
            )
            return LedgerFile()

    def keep(self, *changed: SessionEntry) -> None:
        """Write entries down.

        Raises:
            OSError: they could not be written; the earlier entries stay.
        """
        before = self.entries
        self.entries = {**before, **{entry.key: entry for entry in changed}}
        try:
            self._write()
        except BaseException:
            self.entries = before
            raise

    def forget(self, now_s: float) -> None:
        """Drop what ended long ago, in memory; the next write drops it on the disk."""
        ended = [entry for entry in self.entries.values() if entry.state in _ENDED]
        old = {entry.key for entry in ended if now_s - entry.since_s >= FORGET_S}
        if len(ended) > MAX_ENDED:
            ended.sort(key=lambda entry: (entry.state is State.GAVE_UP, entry.since_s))
            old |= {entry.key for entry in ended[:-MAX_ENDED]}
        if old:
            self.entries = {key: entry for key, entry in self.entries.items() if key not in old}

    def _write(self) -> None:
        kept = LedgerFile(1, self.watching_since_s, tuple(self.entries.values()))
        write_atomically(self._path, names_json.encode(kept), mode=0o600)

    def close(self) -> None:
        """Let the lock go."""
        os.close(self._lock)
