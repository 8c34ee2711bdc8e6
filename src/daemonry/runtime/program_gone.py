"""Whether the program of a daemon is gone for good: uninstalled, and not exchanged by an upgrade.

Owns the judgement; looking now and then is `self_check`'s.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from daemonry.limits import PROGRAM_GONE_S

if TYPE_CHECKING:
    from collections.abc import Callable


def is_there(path: str) -> bool:
    """Whether a file is there, or in an archive that is; one that cannot be looked at counts as there."""
    while True:
        try:
            os.stat(path)
        except FileNotFoundError:
            return False
        except NotADirectoryError:  # below a file: a zip
            path = os.path.dirname(path)
            continue
        except OSError:
            return True
        return True


class ProgramWatch:
    """Looks whether a program is still there.

    Args:
        paths: its files: the daemon's module, and the archive or executable that it is in.
        is_there: tells whether one is.

    Attributes:
        paths: those of them that were there at first.
    """

    def __init__(self, paths: list[str], is_there: Callable[[str], bool] = is_there) -> None:
        self.paths: list[str] = [path for path in paths if path and is_there(path)]
        self._is_there = is_there
        self._gone_since_s: float | None = None

    @property
    def is_missing(self) -> bool:
        """Whether a file was gone at the last look."""
        return self._gone_since_s is not None

    def gone(self, now_s: float) -> str:
        """Return a file that has been gone for so long that the program is; "" for none."""
        missing = next((path for path in self.paths if not self._is_there(path)), "")
        if not missing:
            self._gone_since_s = None
            return ""
        if self._gone_since_s is None:
            self._gone_since_s = now_s
        return missing if now_s - self._gone_since_s >= PROGRAM_GONE_S else ""
