"""Each decision and act, with its reason: `{state}/audit.jsonl`, one object a line.

Owns the file and its rotation (the original's: 10 MiB, five old ones).
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Any, Final

from daemonry import open_regular
from palingenesis import names_json

logger = logging.getLogger("palingenesis.audit")

MAX_BYTES: Final = 10 * 2**20
OLD_FILES: Final = 5


class Audit:
    """The file at `path`."""

    def __init__(self, path: str) -> None:
        self._path = path

    def write(self, what: str, at_s: float, **fields: Any) -> None:
        """Add a line; a disk that is full costs the line, with a warning, and nothing else."""
        line = names_json.encode({"at_s": round(at_s, 3), "what": what, **fields}) + b"\n"
        try:
            self._rotate(len(line))
            fd = open_regular(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            try:
                os.write(fd, line)
            finally:
                os.close(fd)
        except OSError as error:
            logger.warning("%s cannot be written: %s", self._path, error.strerror)

    def _rotate(self, more: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self._path).st_size + more <= MAX_BYTES:
                return
            for number in range(OLD_FILES - 1, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(f"{self._path}.{number}", f"{self._path}.{number + 1}")
            os.replace(self._path, f"{self._path}.1")
