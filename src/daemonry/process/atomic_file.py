"""Files that are either the old ones or the new ones, whatever happens in between.

Owns writing: aside, to disk, then renamed over.  A full disk, a crash or a second writer leaves
the old file whole.
"""

from __future__ import annotations

import os

from daemonry.process.regular_file import open_regular


def write_atomically(path: str, data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace the file at `path` with `data`.

    Args:
        path: the file; its directory must exist.
        data: all of its new content.
        mode: its permissions, less the umask.
        durable: wait until the content is on the disk; without it a power cut may leave either.

    Raises:
        OSError: it could not be written; the file at `path` is as it was.
    """
    # The process id and the thread keep two writers apart; the rename decides which one is last.
    aside = f"{path}.{os.getpid()}.{_thread_id()}.tmp"
    fd = open_regular(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        try:
            _write_all(fd, data)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(aside, path)
    except BaseException:
        os.unlink(aside)
        raise
    if durable:
        _sync_directory(os.path.dirname(path) or ".")


def sweep(directory: str) -> None:
    """Remove what writers that were killed left aside in `directory`.  Never raises.

    The files of a writer that lives, or of a process that has its id now, are left.
    """
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        parts = name.rsplit(".", 3)
        if len(parts) < 4 or parts[3] != "tmp" or not (parts[1] + parts[2]).isdigit() or lives(int(parts[1])):
            continue
        try:
            os.unlink(f"{directory}/{name}")
        except OSError:
            pass


def lives(pid: int) -> bool:
    """Whether there is a process with this id, of whatever user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


def _thread_id() -> int:
    import _thread

    return _thread.get_ident()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
