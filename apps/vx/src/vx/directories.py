"""Directories in a user's project, made by a daemon.

Owns their permissions: the caller's umask counts, and not the daemon's own.
"""

from __future__ import annotations

import os


def make_dirs(folder: str, umask: int) -> None:
    """Make a directory and those above it, with the caller's permissions and not our own umask's.

    Raises:
        OSError: it cannot be made.
    """
    if os.path.isdir(folder):
        return
    make_dirs(os.path.dirname(folder), umask)
    try:
        os.mkdir(folder)
        os.chmod(folder, 0o777 & ~umask)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise
