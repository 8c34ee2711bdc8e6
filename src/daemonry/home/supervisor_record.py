"""The record of a home's supervisor: the file that says which process it is, and whether it is ending.

Owns writing and removing it.  The format is `process.record`'s.
"""

from __future__ import annotations

import logging
import os

from daemonry.errors import UnsafePath
from daemonry.home.home import Home
from daemonry.home.names import RESERVED
from daemonry.home.own_files import OwnFiles
from daemonry.process import record
from daemonry.process.identity import Identity
from daemonry.process.record import DaemonRecord
from daemonry.version import __version__

logger: logging.Logger = logging.getLogger("daemonry.home")


class SupervisorRecord:
    """The record of this process as a home's supervisor.

    Args:
        home: the home.
        started_at: when the supervisor started, in seconds since 1970.
    """

    def __init__(self, home: Home, started_at: float) -> None:
        self.path: str = home.path(RESERVED, "json")
        self._home = home
        self._started_at = started_at

    def write(self, *, ending: bool) -> None:
        """Write it.

        Raises:
            UnsafePath: it cannot be written; a former one is still there.
        """
        endpoint = str(self._home.endpoint)
        identity, nonce = Identity.of_this_process(), os.urandom(8).hex()
        mine = DaemonRecord(ending, endpoint, identity, self._home.name, nonce, self._started_at, __version__)
        try:
            record.write(self.path, mine)
        except OSError as error:
            raise UnsafePath(self.path, f"cannot be written: {error.strerror or error}") from error

    def mark_ending(self) -> None:
        """Write that the supervisor is ending; a full disk does not keep it from that."""
        try:
            self.write(ending=True)
        except UnsafePath as error:
            logger.warning("%s", error)

    def remove(self, files: OwnFiles) -> None:
        """Remove it."""
        files.remove(self.path)
