"""What servers say, made safe for a terminal.

Owns which characters are shown as escapes.  Where output goes to a file or a pipe it is left as it
is.  On the path of every warm call.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

# A pseudo-terminal that nobody gave a size says 0.
COLUMNS = 80
LINES = 24

_table: dict[int, str] = {}


def safe(text: str, stream: IO[str]) -> str:
    """Return `text` as it may be written to `stream`: on a terminal, without what would command it."""
    return text if harmless(text) or not stream.isatty() else disarmed(text)


def harmless(text: str) -> bool:
    """Whether there is nothing in `text` but ASCII that prints, blanks and line ends."""
    return text.isascii() and (text.isprintable() or text.replace("\n", "").replace("\t", "").isprintable())


def disarmed(text: str) -> str:
    r"""Return `text` with control characters shown as `\x1b`; tabs and line feeds stay.

    Besides the control characters these are shown: what turns the direction of writing (a name that
    reads other than it is), line and paragraph separators, and lone surrogates.
    """
    if not _table:
        points = [*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, 0x2028, 0x2029]
        points += [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]
        _table.update({point: f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}" for point in points})
        del _table[0x09], _table[0x0A]
        _table[0x0D] = "\\r"
    text = text.replace("\r\n", "\n").translate(_table)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


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
