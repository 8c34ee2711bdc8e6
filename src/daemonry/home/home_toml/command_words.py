"""Commands of `home.toml`: text or a list of words, with the program found.

Owns splitting a command and finding its program.  Why one is refused is a ValueError in plain words; its
place in the file is the caller's.
"""

from __future__ import annotations

import os
import shlex
import shutil

from msgspec import Struct, field


class ProgramSearch(Struct, frozen=True):
    """Where the programs of a service are looked for.

    Attributes:
        directory: relative paths begin here.
        search_path: the service's PATH, for names without a slash.
        found: the names that were looked for on a PATH, as one reading of the file shares them.
    """

    directory: str
    search_path: str
    found: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def words(self, command: str | list[str]) -> tuple[str, ...]:
        """Return the words of a command, the first of them as an absolute path.

        Raises:
            ValueError: it is empty, cannot be split, or there is no such program.
        """
        if isinstance(command, str):
            try:
                command = shlex.split(command)
            except ValueError as error:
                raise ValueError(f"cannot be split into words: {error}".lower()) from None
        if not command or not command[0]:
            raise ValueError("is empty")
        if any("\0" in word for word in command):
            raise ValueError("has a NUL in it")
        return (self._program(command[0]), *command[1:])

    def _program(self, word: str) -> str:
        if "/" not in word:
            looked_for = word, self.search_path
            if looked_for not in self.found:
                self.found[looked_for] = shutil.which(word, path=self.search_path)
            found = self.found[looked_for]
            if found is None:
                raise ValueError(f"{word!r} is in none of {self.search_path}")
            return os.path.abspath(found)
        path = os.path.normpath(os.path.join(self.directory, os.path.expanduser(word)))
        if not os.path.isfile(path):
            raise ValueError(f"there is no {path}")
        if not os.access(path, os.X_OK):
            raise ValueError(f"{path} is not executable: chmod +x it")
        return path
