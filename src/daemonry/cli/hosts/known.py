"""The machines that a shell offers behind `--host`: those of daemonry.toml, and the names of ~/.ssh/config.

Owns reading that file for names; their meaning is ssh's.
"""

from __future__ import annotations

import os
from typing import Final

from daemonry.cli.hosts import everywhere
from daemonry.errors import DaemonryError
from daemonry.process.regular_file import read_regular

_MAX_CONFIG_BYTES: Final = 1 << 20


def names() -> list[str]:
    """Return their names, without errors: a shell has no place for them."""
    return [*_of_daemonry(), *_of_ssh()]


def _of_daemonry() -> list[str]:
    try:
        return everywhere.listed()
    except (DaemonryError, OSError):
        return []


def _of_ssh() -> list[str]:
    """Return the names in the user's own file, without the patterns; no `Include` is followed."""
    try:
        text = read_regular(os.path.expanduser("~/.ssh/config"), _MAX_CONFIG_BYTES)
    except (DaemonryError, OSError):
        return []
    lines = (line.replace("=", " ", 1).split() for line in text.decode("utf-8", "replace").splitlines())
    hosts = (
        name.strip('"') for words in lines if words[:1] and words[0].lower() == "host" for name in words[1:]
    )
    return [name for name in hosts if not set(name) & set("*?!")]
