"""The crash file: where standard output and error of a background daemon go.

Owns keeping the file small and showing its end; `spawn` sends the descriptors there.  Python's
own tracebacks, `faulthandler`'s, and whatever a C library prints end up here; the structured log
is another file (`logs`), because one that others write to cannot be rotated.
"""

from __future__ import annotations

import os

from daemonry.limits import CRASH_FILE_BYTES, CRASH_REPORT_BYTES, CRASH_TAIL_BYTES
from daemonry.process.regular_file import is_regular, open_regular

# How `faulthandler` begins its report, and the part about the thread that failed (Python/traceback.c).
_FATAL = b"Fatal Python error: "
_ITS_THREAD = b"Current thread "


def roll(path: str) -> None:
    """Keep a file that holds anything as PATH.prev."""
    if is_regular(path) and os.stat(path).st_size:
        os.replace(path, path + ".prev")


def remove_empty(path: str) -> None:
    """Remove a file that nothing was written to; what cannot be removed stays."""
    try:
        if is_regular(path) and os.stat(path).st_size == 0:
            os.unlink(path)
    except OSError:
        pass


def cap(path: str, most_bytes: int = CRASH_FILE_BYTES) -> bool:
    """Empty the file in place when it has grown beyond the limit, keeping its end as PATH.prev.

    In place, because others hold it open; they append, so they go on at its new end.

    Returns:
        Whether that was done.
    """
    try:
        if os.stat(path).st_size <= most_bytes:
            return False
        with open(open_regular(path, os.O_RDWR), "rb+") as file:
            file.seek(-most_bytes // 2, os.SEEK_END)
            end = file.read()
            kept_fd = open_regular(path + ".prev", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            with open(kept_fd, "wb") as kept:
                kept.write(end)
            file.truncate(0)
    except OSError:
        return False  # a full disk: tried again at the next look
    return True


def tail(path: str, most_bytes: int = CRASH_TAIL_BYTES) -> str:
    """Return what tells most about a crash, from the start of a line; "" when there is nothing.

    That is the file's end, unless the interpreter's own report of a fatal error stands there and is
    longer: of that it is the beginning, because `faulthandler` names the most recent call first.
    """
    try:
        with open(open_regular(path), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - max(most_bytes, CRASH_REPORT_BYTES)))
            data = file.read()
    except OSError:
        return ""
    shown = _fatal_error(data, most_bytes) or _end(data, most_bytes)
    return shown.decode("utf-8", "backslashreplace").strip()


def _end(data: bytes, most_bytes: int) -> bytes:
    if len(data) <= most_bytes:
        return data
    end = data[-most_bytes:]
    return end.partition(b"\n")[2] or end  # one line may be longer than all that is shown


def _fatal_error(data: bytes, most_bytes: int) -> bytes | None:
    """Return the last fatal error's first line and the calls of its thread; None when the end shows them."""
    start = data.rfind(b"\n" + _FATAL) + 1 or (0 if data.startswith(_FATAL) else len(data))
    if len(data) - start <= most_bytes:
        return None
    reason, _, rest = data[start:].partition(b"\n")
    at = max(rest.find(_ITS_THREAD), 0)  # other threads may stand before it
    return (reason + b"\n" + rest[at:])[:most_bytes].rpartition(b"\n")[0] + b"\n..."
