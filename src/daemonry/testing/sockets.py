"""Socket paths for tests: unique, short, and clean before they are used.

Owns the names `mcp-test-PID-N[-SUFFIX].sock` in the temporary directory.  They are those of the
project that this part of the kit comes from, so that its own clean-up finds them too.
"""

from __future__ import annotations

import itertools
import os
import stat
import tempfile
from pathlib import Path

PREFIX = "mcp-test-"
SUFFIX = ".sock"

_numbers = itertools.count()  # next() on it is atomic: unique from any thread


def cleanup_socket_file(path: str | os.PathLike[str]) -> None:
    """Remove the file at `path` if there is one.  Never raises, whatever is there."""
    try:
        os.unlink(path)
    except (OSError, ValueError):
        pass


def cleanup_all_test_sockets() -> None:
    """Remove every test socket in the temporary directory, and nothing else there.

    For when a run was cut off: it takes sockets of other runs on this machine too.
    """
    for path in left_sockets():
        cleanup_socket_file(path)


def left_sockets(pid: int | None = None) -> list[Path]:
    """Return the test sockets in the temporary directory; with `pid`, those of one process."""
    start = PREFIX if pid is None else f"{PREFIX}{pid}-"
    try:
        names = os.listdir(tempfile.gettempdir())
    except OSError:
        return []
    directory = Path(tempfile.gettempdir())
    found = [directory / name for name in names if name.startswith(start) and name.endswith(SUFFIX)]
    return sorted(path for path in found if not _is_directory(path))


def get_test_socket_path() -> Path:
    """Return a socket path that no other call returns, with nothing at it."""
    return _clean(f"{PREFIX}{os.getpid()}-{next(_numbers)}{SUFFIX}")


def get_test_socket_path_with_suffix(suffix: str) -> Path:
    """Return a socket path that no other call returns, with `suffix` in its name."""
    if "/" in suffix or "\0" in suffix:
        raise ValueError(f"{suffix!r} cannot be part of a file name")
    return _clean(f"{PREFIX}{os.getpid()}-{next(_numbers)}-{suffix}{SUFFIX}")


def _clean(name: str) -> Path:
    path = Path(tempfile.gettempdir()) / name
    cleanup_socket_file(path)
    return path


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return True
