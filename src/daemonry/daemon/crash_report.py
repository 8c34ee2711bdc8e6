"""The report that the next client gets, once, about a daemon that ended without cleaning up.

Owns the note: written by the daemon that follows (or by one that fails), or made on the spot by
a client that finds a record whose process is gone.  Telling removes it, by a rename, so of
several clients one tells.
"""

from __future__ import annotations

import os

from daemonry.limits import MAX_STATE_FILE_BYTES
from daemonry.process import record
from daemonry.process.lock import Lock
from daemonry.process.regular_file import read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry.process.place import Place
    from daemonry.process.record import DaemonRecord


def take_note(place: Place) -> str | None:
    """Return the report about the last crash, and see to it that nobody else tells it.

    Costs one failed opening when there is nothing to tell and the daemon lives or ended cleanly.
    """
    told = f"{place.crash_note_path}.{os.getpid()}"
    try:
        note = read_regular(place.crash_note_path, MAX_STATE_FILE_BYTES)
        os.rename(place.crash_note_path, told)
    except OSError:
        return None
    os.unlink(told)
    return note.decode("utf-8", "backslashreplace").strip() or None


def note_if_crashed(place: Place) -> str | None:
    """Return the report about a daemon that is gone; None if it ended cleanly.

    The record of a daemon that cleaned up is removed; one that lies there while the life lock is
    free was left behind.  It is set aside under that lock, so that a starting daemon is not
    disturbed and one client tells.
    """
    noted = take_note(place)
    if noted is not None or not os.path.exists(place.record_path):
        return noted
    life_lock = Lock.try_take(place.life_lock_path)
    if life_lock is None:
        return None
    try:
        left = record.read(place.record_path)
        os.unlink(place.record_path)
    except OSError:
        return None
    finally:
        life_lock.release()
    return describe(left, place.crash_path) if left is not None else None


def write_note(place: Place, text: str) -> None:
    """Leave a note for the next client.  Fails in silence: it is a courtesy, not a duty."""
    from daemonry.process.atomic_file import write_atomically

    try:
        write_atomically(place.crash_note_path, text.encode("utf-8", "backslashreplace"), durable=False)
    except OSError:
        pass


def describe(left: DaemonRecord, crash_path: str) -> str:
    """Return what a record that was left behind, and the crash file, tell."""
    import time

    from daemonry.process import crash_file
    from daemonry.terminal_text import printable

    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(left.started_at))
    lines = [f"{left.name}: the run of {started} (pid {left.pid}) ended without cleaning up"]
    output = crash_file.tail(crash_path) if _changed_since(crash_path, left.started_at) else ""
    if output:
        lines += [
            f"its last output ({crash_path}):",
            *("    " + printable(line) for line in output.splitlines()),
        ]
    return "\n".join(lines)


def _changed_since(path: str, started_at: float) -> bool:
    """Whether a file was written to after a run began: an older one is another run's."""
    try:
        return os.stat(path).st_mtime >= started_at
    except OSError:
        return False
