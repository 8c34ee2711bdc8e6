"""The directory `.palingenesis` beside the records of an agent, for all that resume the sessions there.

Owns where it is, and the check of whose it is.  Two daemons of one user need not have a state directory, a
home or a variable in common, nor even see the same processes; but whoever can resume a session writes its
record, so they share the directory of the record.
"""

from __future__ import annotations

import contextlib
import os
import stat

from palingenesis.evidence.places import SHARED_PLACE


class NotOurs(OSError):
    """Somebody else has made the directory, or may write in it."""


def place_in(directory: str) -> str:
    """Return the place in a directory, which is made where it is not there.

    Raises:
        NotOurs: another user made it, or may write in it.
        OSError: it cannot be made.
    """
    place = path_in(directory)
    with contextlib.suppress(FileExistsError):
        os.mkdir(place, 0o700)
    found = os.lstat(place)
    if not stat.S_ISDIR(found.st_mode):
        raise NotOurs(f"{place} is not a directory: remove it")
    if found.st_uid != os.geteuid():
        raise NotOurs(f"{place} belongs to user {found.st_uid}: remove it, or run as that user")
    if found.st_mode & 0o022:
        raise NotOurs(f"{place} can be written by others: chmod 700 it")
    return place


def path_in(directory: str) -> str:
    """Return where the place in a directory is.

    In a directory in which others may write, such as /tmp, each user has one.
    """
    directory = os.path.realpath(directory)
    try:
        is_public = bool(os.stat(directory).st_mode & 0o002)
    except OSError:
        is_public = False
    return os.path.join(directory, f"{SHARED_PLACE}-{os.geteuid()}" if is_public else SHARED_PLACE)
