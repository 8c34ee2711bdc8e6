"""Where a thread's code is now, as a line that its author knows.

Owns the choice of the line: the innermost one of the program itself, not of a library around it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

# Frames of these called the program's code, or were called by it.
_LIBRARIES = sys.stdlib_module_names | {"daemonry", "uvloop"}


def frame_of(thread_id: int | None) -> FrameType | None:
    """Return the innermost frame of a thread; None when there is no such thread."""
    frames = sys._current_frames()  # noqa: SLF001  # documented, in spite of its name
    return frames.get(thread_id) if thread_id is not None else None


def where(frame: FrameType | None) -> str:
    """Return the innermost line of a stack that is the program's own, as `file:line in function`."""
    innermost = frame
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in _LIBRARIES:
            return _line(frame)
        frame = frame.f_back
    return _line(innermost) if innermost is not None else "an unknown place"


def _line(frame: FrameType) -> str:
    file = frame.f_code.co_filename.rpartition("/")[2]
    return f"{file}:{frame.f_lineno} in {frame.f_code.co_name}"
