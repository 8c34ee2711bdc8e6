"""A start that failed, told to those who waited for it.

Of a hundred processes that want a daemon which cannot start, one tries; the others were waiting for
that start and get its reason.  Later callers try again.

Owns the note that the one leaves under the start lock.
"""

from __future__ import annotations

import os
import zlib

from daemonry import clock, faults, strict_json
from daemonry.limits import MAX_STATE_FILE_BYTES
from daemonry.process.atomic_file import write_atomically
from daemonry.process.regular_file import read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry.daemon.recipe import Recipe
    from daemonry.errors import StartFailed
    from daemonry.process.place import Place


def note(place: Place, error: StartFailed, recipe: Recipe) -> None:
    """Leave the reason to those who wait; the caller had the start lock."""
    fields = {
        "at_s": clock.monotonic(),  # of the machine, and so the same for all of its processes
        "recipe": _sum(recipe),
        "stage": error.stage,
        "error": error.error,
        "exit_status": error.exit_status,
        "log_tail": error.log_tail,
    }
    try:
        write_atomically(_path(place), strict_json.encode(fields).encode(), durable=False)
    except OSError:
        pass  # then each of them finds out for itself


def raise_if_since(place: Place, since_s: float, recipe: Recipe) -> None:
    """Raise what a start of the same recipe has failed with after `since_s` on the monotonic clock.

    Raises:
        StartFailed: that.
    """
    try:
        told = strict_json.decode_object(read_regular(_path(place), MAX_STATE_FILE_BYTES).decode())
        if told["at_s"] <= since_s or told["at_s"] > clock.monotonic() or told["recipe"] != _sum(recipe):
            return
        error = faults.StartFailed(
            place.name, str(told["stage"]), str(told["error"]), told["exit_status"], str(told["log_tail"])
        )
    except (OSError, KeyError, TypeError, ValueError, faults.BadFrame):
        return
    raise error


def _path(place: Place) -> str:
    return place.file("start.failed")


def _sum(recipe: Recipe) -> int:
    return zlib.crc32(os.fsencode(repr(recipe)))
