"""What can lie where a file of a program's is to be, so that a test can put each there.

Owns making them, and the check that nothing behind them was changed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

# More than any file of a program's own holds, and no block of it on the disk.
SPARSE_BYTES: Final = 1 << 30
_ELSEWHERE: Final = "elsewhere.txt"
_WORDS: Final = "mine"


def _fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def _directory(path: Path) -> None:
    path.mkdir()
    (path / "inside").write_text(_WORDS)


def _symlink(path: Path) -> None:
    path.with_name(_ELSEWHERE).write_text(_WORDS)
    path.symlink_to(_ELSEWHERE)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.open(path.parent, os.O_PATH | os.O_DIRECTORY) if hasattr(os, "O_PATH") else -1
        try:  # by the directory's descriptor: a socket's path has at most 107 bytes
            made.bind(f"/proc/self/fd/{here}/{path.name}" if here >= 0 else str(path))
        finally:
            if here >= 0:
                os.close(here)


def _empty(path: Path) -> None:
    path.touch()


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, SPARSE_BYTES)


KINDS: Final[Mapping[str, Callable[[Path], None]]] = {
    "fifo": _fifo,
    "directory": _directory,
    "symlink": _symlink,
    "socket": _socket,
    "empty": _empty,
    "sparse": _sparse,
}


def put(kind: str, path: Path) -> None:
    """Put what `kind` names at `path`; a file that is there is moved aside."""
    if path.is_symlink() or path.exists():
        path.rename(path.with_name(f"was-{path.name}"))
    KINDS[kind](path)


def nothing_lost(kind: str, path: Path) -> None:
    """Fail if a file in the directory, or behind the link, has changed; sockets are removed."""
    near = list(path.parent.glob(f"{path.name}*"))
    if kind == "directory":
        found = [one / "inside" for one in near if (one / "inside").exists()]
        assert found, f"{path}: the directory's file is gone"
        assert found[0].read_text() == _WORDS
    elif kind == "symlink":
        assert path.with_name(_ELSEWHERE).read_text() == _WORDS, f"{path}: what the link names was changed"
    for one in near:
        if one.is_socket():
            one.unlink()
