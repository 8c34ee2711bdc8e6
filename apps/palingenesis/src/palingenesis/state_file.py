"""What survives a restart: four facts in `{state}/state.json`.

Owns the file: its form, its checks, and that a write leaves either the old or the new one.  What
the facts mean, and when they change, is `keeper`'s.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import logging
import os
import threading
from typing import Annotated

import msgspec

from daemonry import read_regular, write_atomically
from daemonry.errors import UnsafePath

logger = logging.getLogger("palingenesis.state")

_Count = Annotated[int, msgspec.Meta(ge=0)]
# Ours has under 5 KB: one path and three numbers.
_MAX_BYTES = 64 * 2**10


class SavedState(msgspec.Struct, frozen=True):
    """The content of the file.

    Attributes:
        paused: whether monitoring is paused.
        current_session: the session file that changed last.
        saves_count: saves of session files seen so far.
        total_resumes: sessions resumed so far.
    """

    paused: bool = False
    current_session: str | None = None
    saves_count: _Count = 0
    total_resumes: _Count = 0


class StateFile:
    """The file at `path`; its directory is there and ours alone.

    Attributes:
        path: where it is.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        # A writer whose caller was cancelled goes on in its thread; the next one waits for it.
        self._writing = threading.Lock()

    def read(self) -> SavedState:
        """Return the state of the file; the defaults where there is none.

        A file that cannot be understood is set aside as PATH.bak, and the defaults are returned.

        Raises:
            UnsafePath: it is there and cannot be opened or read.
        """
        self._remove_leftovers()
        try:
            data = read_regular(self.path, _MAX_BYTES)
        except FileNotFoundError:
            return SavedState()
        except OSError as error:
            if error.errno == errno.EFBIG:
                self._set_aside(str(error.strerror))
                return SavedState()
            raise UnsafePath(self.path, f"cannot be read: {error.strerror}") from error
        try:
            return msgspec.json.decode(data, type=SavedState)
        except ValueError as error:  # msgspec's errors are ValueErrors too
            self._set_aside(str(error))
            return SavedState()

    def write(self, state: SavedState) -> None:
        """Keep `state`, also over a power cut.

        Raises:
            OSError: it could not be written; the earlier state stays.
        """
        data = msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n"
        with self._writing:
            write_atomically(self.path, data, mode=0o600)

    def _set_aside(self, reason: str) -> None:
        aside = self.path + ".bak"
        try:
            os.replace(self.path, aside)
        except OSError as error:
            raise UnsafePath(self.path, f"is damaged and cannot be set aside: {error.strerror}") from error
        logger.warning("%s is damaged (%s): set aside as %s, and a new one begun", self.path, reason, aside)

    def _remove_leftovers(self) -> None:
        """Remove what writes that a kill -9 cut short left beside the file."""
        for path in glob.glob(glob.escape(self.path) + ".*.tmp"):
            with contextlib.suppress(OSError):
                os.unlink(path)
