"""What servers say on its way to a terminal, and how large that is.

Which characters are shown as escapes is `daemonry.terminal_text`'s.  Where output goes to a file or a pipe
it is left as it is.  On the path of every warm call.
"""

from __future__ import annotations

from daemonry.terminal_text import for_stream as safe
from daemonry.terminal_text import json_for_stream as json_safe
from daemonry.terminal_text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["COLUMNS", "LINES", "end_of_line", "json_safe", "safe", "shown", "size", "write"]

# A pseudo-terminal that nobody gave a size says 0.
COLUMNS = 80
LINES = 24


def size(fd: int) -> tuple[int, int]:
    """Return a terminal's columns and lines."""
    import os

    try:
        found = os.get_terminal_size(fd)
    except OSError:
        return COLUMNS, LINES
    return found.columns or COLUMNS, found.lines or LINES


def end_of_line(text: str) -> str:
    """Return `text` with a line feed at its end; nothing stays nothing."""
    return text if not text or text.endswith("\n") else f"{text}\n"


def write(text: str, stream: Any) -> None:
    """Write text that may hold what UTF-8 cannot carry."""
    if not text.isascii():
        stream.reconfigure(errors="backslashreplace")
    stream.write(text)
