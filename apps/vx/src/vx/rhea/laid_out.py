"""What a job did to the files that it was given, seen when it has ended.

Owns telling whether a job wrote, made or removed a file outside its output folders.  Its directory is
removed after it, so such a write would be lost without a word.  The kernel refuses nothing here: root writes
to read-only files, and a script that is refused may go on as if nothing were.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import Final

from vx import digests
from vx.interfaces import Input

# What Python keeps beside a program that it runs: it does without.
_PYTHONS_OWN: Final = "__pycache__"
# What git keeps for itself, such as the times of files in its index: lost without harm.
_GITS_OWN: Final = ".git"


class LaidOut:
    """The files that a job was given, as they were when it began.

    Args:
        root: where they are.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._files: dict[str, tuple[str, tuple[int, ...]]] = {}

    def add(self, one: Input) -> None:
        """Note a file that is in its place.

        Raises:
            OSError: it is not.
        """
        # One whose marks were replaced has another content than its digest's.
        digest = "" if one.marked else one.digest
        self._files[one.path] = (digest, _signature(f"{self._root}/{one.path}"))

    def changed(self, output_dirs: Iterable[str]) -> str:
        """Return the first file that has another content, is new, or is gone; "" for none.

        A file that was written with the content that it had is as it was.

        Args:
            output_dirs: the folders in which the job may write.
        """
        outputs = tuple(f"{one}/" for one in (*output_dirs, _GITS_OWN))
        found = {one for one in self._there() if not one.startswith(outputs)}
        known = {one for one in self._files if not one.startswith(outputs)}
        for path in sorted(found | known):
            if path not in found or path not in self._files or not self._is_whole(path):
                return path
        return ""

    def _there(self) -> Iterable[str]:
        for directory, folders, names in os.walk(self._root):
            if _PYTHONS_OWN in folders and not self._is_given(f"{directory}/{_PYTHONS_OWN}"):
                folders.remove(_PYTHONS_OWN)
            links = [one for one in folders if os.path.islink(f"{directory}/{one}")]
            for name in (*names, *links):
                yield os.path.relpath(f"{directory}/{name}", self._root)

    def _is_given(self, folder: str) -> bool:
        return any(f"{self._root}/{path}".startswith(f"{folder}/") for path in self._files)

    def _is_whole(self, path: str) -> bool:
        digest, before = self._files[path]
        try:
            if _signature(f"{self._root}/{path}") == before:
                return True
            with open(digests.open_file(f"{self._root}/{path}"), "rb") as file:
                return digests.of_fd(file.fileno())[0] == digest
        except OSError:
            return False


def _signature(path: str) -> tuple[int, ...]:
    """Return what a write changes: nobody sets a file's ctime."""
    found = os.lstat(path)
    return stat.S_IFMT(found.st_mode), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
