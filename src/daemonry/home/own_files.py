"""Files below a home whose failure holds nothing up: a supervisor writes and removes them, or logs why not.

Owns that one file which cannot be written or removed (a directory lies there, the disk is full) is
logged once, and is not an exception: the services, `ps` and `down` go on without it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

logger: logging.Logger = logging.getLogger("daemonry.home")


class OwnFiles:
    """What went wrong with which file, so that each trouble is logged once and not at every restart."""

    def __init__(self) -> None:
        self._logged: dict[str, str] = {}

    def write(self, path: str, write: Callable[[], None]) -> None:
        """Have `write` write the file at `path`; an OSError is logged."""
        try:
            write()
        except OSError as error:
            self._log(path, "written", error)
        else:
            self._logged.pop(path, None)

    def remove(self, path: str) -> None:
        """Remove the file at `path`; nothing happens when it is gone, and an OSError is logged."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._log(path, "removed", error)
            return
        self._logged.pop(path, None)

    def _log(self, path: str, done: str, error: OSError) -> None:
        reason = error.strerror or str(error)
        if self._logged.get(path) != reason:
            self._logged[path] = reason
            logger.error("%s cannot be %s: %s", path, done, reason)
