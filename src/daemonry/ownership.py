"""Whether root may take a file's word: what its owner and mode say about who else could have written it.

Owns the rule, for configurations, homes and programs alike.  No I/O: what `stat` found is given.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Protocol

    class FileStatus(Protocol):
        """What stat(2) tells of a file: an `os.stat_result` is one."""

        @property
        def st_uid(self) -> int:
            """Whose the file is."""

        @property
        def st_gid(self) -> int:
            """Of which group."""

        @property
        def st_mode(self) -> int:
            """Its kind and permissions."""


_ROOT: Final = 0
_STICKY: Final = 0o1000
_GROUP_MAY_WRITE: Final = 0o020
_OTHERS_MAY_WRITE: Final = 0o002


def why_not_roots(found: FileStatus) -> str:
    """Return why somebody else than root could have written a file; "" where nobody could."""
    if found.st_uid != _ROOT:
        return f"belongs to uid {found.st_uid}, and this daemon is root's"
    return _why_writable(found)


def why_not_roots_directory(found: FileStatus) -> str:
    """Return why somebody else than root could exchange what lies in a directory; "" where nobody could.

    Where the sticky bit is set, as in /tmp, users can remove only their own files.
    """
    if found.st_uid != _ROOT:
        return f"belongs to uid {found.st_uid}, and this daemon is root's"
    return "" if found.st_mode & _STICKY else _why_writable(found)


def _why_writable(found: FileStatus) -> str:
    if found.st_mode & _OTHERS_MAY_WRITE or (found.st_mode & _GROUP_MAY_WRITE and found.st_gid != _ROOT):
        return f"others may write to it (mode {found.st_mode & 0o777:04o}), and this daemon is root's"
    return ""
