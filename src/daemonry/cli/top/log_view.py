"""The log of the line that is chosen, as it grows.

Owns the choice of lines and its bounds.  Each line is one line on the screen, made safe, and cut.
"""

from __future__ import annotations

from typing import Final

from daemonry.process import log_reader
from daemonry.terminal_text import printable

# The most lines that are shown at first, and of those that arrive between two looks.
MAX_LINES: Final = 200
_MAX_CHARS: Final = 500


class LogTail:
    """The end of one log.

    Args:
        path: the log; it need not be there yet.
        service: the service that writes it; "" for a daemon or a supervisor.
    """

    def __init__(self, path: str, service: str) -> None:
        self._service = service
        self._follower = log_reader.Follower(path, log_reader.last(MAX_LINES))

    def lines(self) -> list[str]:
        """Return the lines since the last look; never waits.

        An unreadable log is a line that says so.
        """
        try:
            found = self._follower.lines()
        except OSError as error:
            return [f"the log cannot be read: {error.strerror or error}"]
        return [self._text(line) for line in found[-MAX_LINES:]]

    def close(self) -> None:
        """Close the file.  Twice is not an error."""
        self._follower.close()

    def _text(self, line: str) -> str:
        fields = log_reader.parsed(line, self._service)
        moment = str(fields.get("time", "")).partition("T")[2].removesuffix("Z")
        level = str(fields.get("level", ""))
        shown = "" if level in ("", "info") else level.upper()
        parts = (moment, shown, str(fields.get("message", "")))
        return printable(" ".join(part for part in parts if part), _MAX_CHARS)
