"""The token of a TCP endpoint: a file that only its user can read.

Owns making, reading and checking the file, and finding the one of a daemon that is known by its
address alone: by the list of this user's daemons.  Proving by a token is `transport.proof`'s.
"""

from __future__ import annotations

import os
import stat

from daemonry.errors import UnsafePath
from daemonry.process.regular_file import NotRegular, open_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

# The file that a client's tokens are in, where its endpoint names none.
VARIABLE: Final = "DAEMONRY_TOKEN_FILE"
_MADE_BYTES: Final = 32
_READ_BYTES: Final = 4096
_LEAST_CHARS: Final = 32
_MOST_CHARS: Final = 256


def make(path: str, warn: Callable[[str], None] | None = None) -> str:
    """Write a new token to `path`, in place of an older one, and return it.

    Args:
        path: the file.
        warn: called with a line where others could read, or write, the older one.

    Raises:
        UnsafePath: it could not be written.
    """
    from daemonry.process.atomic_file import write_atomically

    token = os.urandom(_MADE_BYTES).hex()
    old_mode = _open_mode(path)
    try:
        # Not flushed to disk: it is worth nothing after the run that it was made for.
        write_atomically(path, f"{token}\n".encode("ascii"), durable=False)
    except OSError as error:
        raise UnsafePath(path, f"the token cannot be written: {error.strerror}") from error
    if old_mode and warn is not None:
        warn(
            f"{path} was open to others (mode {old_mode}): a new token is made,"
            " and the old one is no longer accepted"
        )
    return token


def _open_mode(path: str) -> str:
    """Return the mode of a file that others may read or write; "" for any other, and for none."""
    try:
        found = os.lstat(path)
    except OSError:
        return ""
    return _mode_for_others(found) if stat.S_ISREG(found.st_mode) else ""


def _mode_for_others(found: os.stat_result) -> str:
    return f"{stat.S_IMODE(found.st_mode):04o}" if found.st_mode & 0o077 else ""


def read(path: str) -> str:
    """Return the token in `path`.

    Raises:
        UnsafePath: it is not a file that only this user, or root, could have written and can read; or
            its content is not a token.
    """
    try:
        fd = open_regular(path)
    except NotRegular as error:
        raise UnsafePath(path, f"the token's file {error.strerror}") from error
    except OSError as error:
        raise UnsafePath(path, f"the token cannot be read: {error.strerror}") from error
    try:
        _check(path, os.fstat(fd))
        text = os.read(fd, _READ_BYTES).decode("ascii", "replace").strip()
    finally:
        os.close(fd)
    if not (_LEAST_CHARS <= len(text) <= _MOST_CHARS and all("!" <= char <= "~" for char in text)):
        raise UnsafePath(
            path,
            f"holds no token: {_LEAST_CHARS} to {_MOST_CHARS} printable ASCII characters without a blank",
        )
    return text


def _check(path: str, found: os.stat_result) -> None:
    if found.st_uid not in (os.geteuid(), 0):
        raise UnsafePath(path, f"the token's file belongs to user {found.st_uid}, not to {os.geteuid()}")
    if mode := _mode_for_others(found):
        raise UnsafePath(path, f"the token's file is open to others (mode {mode}): chmod 600 it")


def keep_token(path: str) -> str:
    """Return the token in `path`; make one there if there is no file.  Of several makers, one is first.

    Raises:
        UnsafePath: as `read`, or it could not be written.
    """
    if not os.path.lexists(path):
        aside = f"{path}.{os.getpid()}.new"
        make(aside)
        try:
            os.link(aside, path)
        except FileExistsError:
            pass  # another was first
        except OSError as error:
            raise UnsafePath(path, f"the token cannot be written: {error.strerror}") from error
        finally:
            remove(aside)
    return read(path)


def remove(path: str) -> None:
    """Remove the file at `path`; nothing happens when it is gone."""
    try:
        os.unlink(path)
    except OSError:
        pass
