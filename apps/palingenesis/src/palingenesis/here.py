"""The directory that a command was called in, which can be gone."""

from __future__ import annotations

import os


def here() -> str:
    """Return the working directory.

    Raises:
        FileNotFoundError: somebody has removed it; its words are for the user.
    """
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise FileNotFoundError("palingenesis: this directory is gone: change to another one") from None
