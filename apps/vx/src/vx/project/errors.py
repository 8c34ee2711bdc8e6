"""What is wrong with a project, in one line that names the file and what to do.

Owns the two ways in which a project is turned down before anything runs.
"""

from __future__ import annotations


class ProjectInvalid(Exception):
    """A project's manifest cannot be read, or contradicts itself.

    Attributes:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class Unsupported(ProjectInvalid):
    """A project uses what vx does not do; nothing was run.

    Attributes:
        what: the name of what is not supported: `build script`, `registry dependency serde`.
    """

    def __init__(self, path: str, what: str, advice: str = "") -> None:
        super().__init__(path, f"{what} is not supported by vx" + (f": {advice}" if advice else ""))
        self.what = what
