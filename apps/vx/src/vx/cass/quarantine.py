"""Damaged files, moved out of the way for a person to look at; the last few only."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Final

from vx.cass import files, layout
from vx.cass.directory import Directory
from vx.cass.layout import Kind
from vx.interfaces import Damage

logger = logging.getLogger("vx.cass")

# Enough for a person to see a pattern.  Older ones are removed.
MAX_QUARANTINED: Final = 32


class Quarantine:
    """The store's folder of damaged files.

    Args:
        directory: the store's.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def set_aside(self, kind: Kind, name: str, bad: os.stat_result, reason: str) -> Damage:
        """Move a damaged file here; return the report of it.

        Args:
            kind: blob or manifest.
            name: its digest or key.
            bad: the file that was found damaged; another one under its name stays.
            reason: how it is damaged.

        Raises:
            StoreTrouble: it cannot be moved.
        """
        path = layout.path_of(self._directory.path, kind, name)
        kept_at = f"{self._directory.path}/quarantine/{kind}-{name}"
        try:
            # Unless somebody has put a good one in its place meanwhile.
            if os.stat(path, follow_symlinks=False).st_ino == bad.st_ino:
                os.rename(path, kept_at)
                self.thin(MAX_QUARANTINED)
        except FileNotFoundError:
            pass  # another reader has found it too
        except OSError as error:
            raise files.store_error(path, error) from error
        logger.warning("damaged: %s %s %s; set aside as %s", kind, name, reason, kept_at)
        return Damage(kind, name, reason, kept_at)

    def thin(self, most: int) -> None:
        """Remove the oldest until at most `most` are left."""
        paths = self._directory.files("quarantine")
        if len(paths) <= most:
            return
        ages = []
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                ages.append((os.lstat(path).st_ctime_ns, path))
        for _, path in sorted(ages)[: len(ages) - most]:
            files.unlink(path)
