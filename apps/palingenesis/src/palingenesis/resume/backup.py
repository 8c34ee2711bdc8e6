"""Backups of the records of sessions whose context was full: some, and none too large.

Owns the directory: copies named for the time and the record, the oldest removed first.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from typing import Final

logger = logging.getLogger("palingenesis.resume")

MAX_BYTES: Final = 256 * 2**20


def keep_backup(path: str, directory: str, count: int) -> str:
    """Copy a record, and return where to; "" where that was not done, which the log says."""
    if count <= 0:
        return ""
    target = os.path.join(directory, f"{time.time_ns()}-{os.path.basename(path)}")
    try:
        if os.stat(path).st_size > MAX_BYTES:
            logger.warning("%s is not backed up: over %d MiB", os.fsencode(path), MAX_BYTES // 2**20)
            return ""
        os.makedirs(directory, mode=0o700, exist_ok=True)
        shutil.copyfile(path, target)
        for name in sorted(os.listdir(directory))[:-count]:
            os.unlink(os.path.join(directory, name))
    except OSError as error:
        logger.warning("%s is not backed up: %s", os.fsencode(path), error.strerror)
        return ""
    return target
