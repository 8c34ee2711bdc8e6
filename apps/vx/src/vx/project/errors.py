"""The faults of a project, each in one line that names the file, the place, and the remedy.

Owns the two ways in which a project is turned down before anything runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

    from daemonry.errors import ConfigError
    from daemonry.typed_toml import ConfigText, KeyPath


class ProjectInvalid(Exception):
    """A project's manifest cannot be read, or contradicts itself.

    Attributes:
        path: the file.
        reason: the fault.
        line: where in the file, from 1; 0 where no single place is meant, or the text is no longer there.
        column: the same, in characters.
    """

    def __init__(self, path: str, reason: str, line: int = 0, column: int = 0) -> None:
        super().__init__(f"{path}:{line}:{column}: {reason}" if line else f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.line = line
        self.column = column

    @classmethod
    def of(cls, error: ConfigError) -> Self:
        """Return an error of a file's reader as one of a project."""
        reason = f"{error.key}: {error.reason}" if error.key else error.reason
        return cls(error.path, reason, error.line, error.column)


class Unsupported(ProjectInvalid):
    """A project uses what vx does not do; nothing was run.

    Attributes:
        what: the name of the unsupported thing: `build script`, `registry dependency serde`.
    """

    def __init__(self, path: str, what: str, advice: str = "", line: int = 0, column: int = 0) -> None:
        reason = f"{what} is not supported by vx" + (f": {advice}" if advice else "")
        super().__init__(path, reason, line, column)
        self.what = what


def invalid(source: ConfigText, where: KeyPath, reason: str) -> ProjectInvalid:
    """Return an error about a value of a manifest: `FILE:LINE:COLUMN: key: reason`."""
    return ProjectInvalid.of(source.error(where, reason))


def unsupported(source: ConfigText, where: KeyPath, what: str, advice: str = "") -> Unsupported:
    """Return an error about what vx does not do, with the place of the key that asks for it."""
    found = source.error(where, what)
    return Unsupported(source.path, found.reason, advice, found.line, found.column)
