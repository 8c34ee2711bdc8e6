"""Notices on the disk: `{state}/notices/NAME.json`, one a stop, kept until it is delivered.

Owns the files.  A notice that was delivered leaves NAME.sent, so that one stop gives one notice, over
restarts of the daemon too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from typing import Final

import msgspec

from daemonry import read_regular, write_atomically

MAX_BYTES: Final = 64 * 2**10
# More stops than that at once are one that repeats.
MAX_WAITING: Final = 200
FORGET_S: Final = 9 * 86400.0


class Notice(msgspec.Struct, frozen=True):
    """One notice.

    Attributes:
        text: its words, one line.
        at_s: when the stop was.
        tries: how often it could not be delivered.
        due_s: when it is to be delivered, or tried again.
    """

    text: str
    at_s: float
    tries: int = 0
    due_s: float = 0.0


class NoticeOutbox:
    """The notices of one state directory."""

    def __init__(self, state_dir: str) -> None:
        self.directory = os.path.join(state_dir, "notices")

    def put(self, name: str, notice: Notice) -> bool:
        """Keep a notice; False where the same stop has one already, or too many wait.

        Raises:
            OSError: it cannot be kept.
        """
        path = self._path(name)
        if os.path.lexists(path + ".json") or os.path.lexists(path + ".sent"):
            return False
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        if len(self.waiting()) >= MAX_WAITING:
            return False
        write_atomically(path + ".json", msgspec.json.encode(notice), mode=0o600)
        return True

    def waiting(self) -> list[tuple[str, Notice]]:
        """Return the notices that wait, as path and notice, the oldest first."""
        found = []
        for name in self._names(".json"):
            path = os.path.join(self.directory, name)
            try:
                found.append((path, msgspec.json.decode(read_regular(path, MAX_BYTES), type=Notice)))
            except (OSError, ValueError):
                with contextlib.suppress(OSError):
                    os.unlink(path)
        return sorted(found, key=lambda one: one[1].at_s)

    def later(self, path: str, notice: Notice) -> None:
        """Keep a notice for another try."""
        with contextlib.suppress(OSError):
            write_atomically(path, msgspec.json.encode(notice), mode=0o600)

    def sent(self, path: str) -> None:
        """Note that a notice was delivered, or given up."""
        with contextlib.suppress(OSError):
            os.replace(path, path.removesuffix(".json") + ".sent")

    def sweep(self) -> None:
        """Forget notices that were delivered long ago."""
        for name in self._names(".sent"):
            path = os.path.join(self.directory, name)
            with contextlib.suppress(OSError):
                if time.time() - os.stat(path).st_mtime > FORGET_S:
                    os.unlink(path)

    def _names(self, ending: str) -> list[str]:
        try:
            return [name for name in os.listdir(self.directory) if name.endswith(ending)]
        except OSError:
            return []

    def _path(self, name: str) -> str:
        digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        return os.path.join(self.directory, digest)
