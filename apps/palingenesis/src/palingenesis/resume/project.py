"""A project's own bounds: `.palingenesis.toml` in its directory.

Owns reading it.  Whoever wrote the project wrote that file, so it can lower a bound of its user's and do
nothing else: no command, no address, no bound that is raised.  One that cannot be understood might say "not
here", so nothing is begun until somebody looks at it.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from daemonry import load_config
from daemonry.errors import ConfigError
from palingenesis.resume.guard import HoldingBounds, Project, lowered

NAME: Final = ".palingenesis.toml"
MAX_BYTES: Final = 64 * 2**10


def bounds_of(cwd: str, bounds: HoldingBounds) -> HoldingBounds | str:
    """Return the bounds of a project, or why its file cannot be used."""
    path = os.path.join(cwd, NAME)
    try:
        found = os.lstat(path)
    except OSError:
        return bounds
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
        return f"{path} is not a file of at most {MAX_BYTES} bytes"
    try:
        return lowered(bounds, load_config(path, Project))
    except ConfigError as error:
        return str(error)
