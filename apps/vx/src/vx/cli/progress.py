"""What a build that runs looks like: a bar on a terminal, plain lines elsewhere.

Owns the showing, on standard error.  What a compiler says is shown as it says it, with its colours
where they are wanted.
"""

from __future__ import annotations

import os
import sys

from daemonry import terminal_text
from daemonry.cli import kit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BAR_CELLS = 24
# What begins a terminal's commands, and what ends those that compilers colour with; "" where a text is cut.
_CSI = "\x1b["
_DROPPED = ("m", "K", "")


class Progress:
    """One build as it goes on.

    Args:
        quiet: show only what compilers say.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._colours = self._terminal and not os.environ.get("NO_COLOR")
        self._running: list[str] = []
        self._drawn = False

    def show(self, event: dict[str, Any]) -> None:
        """Show an event."""
        kind, title = event["kind"], kit.printable(event.get("title", ""))
        if kind == "said":
            self._write(text_for(event["text"], colours=self._colours))
        elif kind == "note":
            self._write(f"vx: {kit.printable(event['text'])}\n")
        elif self._quiet:
            return
        elif kind == "started":
            self._running.append(title)
            if not self._terminal:
                self._write(f"vx: compiling {title}\n")
        elif kind == "ended":
            if title in self._running:
                self._running.remove(title)
            if not self._terminal and event.get("outcome") == "failed":
                self._write(f"vx: {title} failed\n")
        if self._terminal and not self._quiet:
            self._draw(event.get("done", 0), event.get("total", 0))

    def close(self) -> None:
        """Leave the terminal as it was.  Twice is not an error."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._drawn = False

    def _write(self, text: str) -> None:
        self.close()
        sys.stderr.write(text)
        sys.stderr.flush()

    def _draw(self, done: int, total: int) -> None:
        if not total:
            return
        line = bar(done, total, self._running, columns=_columns())
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()
        self._drawn = True


def bar(done: int, total: int, running: list[str], *, columns: int) -> str:
    """Return one line that says how far a build is, and what runs now.

    Args:
        done: how many actions are over.
        total: of how many.
        running: the titles of those that run.
        columns: the most that the line may take.
    """
    filled = _BAR_CELLS * done // total
    cells = "=" * filled + (">" if filled < _BAR_CELLS else "") + " " * (_BAR_CELLS - filled - 1)
    line = f"building [{cells}] {done}/{total}"
    if running:
        line += ": " + ", ".join(running)
    room = max(columns - 1, 10)  # the last column would wrap
    return line if len(line) <= room else line[: room - 3] + "..."


def text_for(text: str, *, colours: bool) -> str:
    """Return a compiler's words for a terminal: its colours where they are wanted, and no other command."""
    first, *pieces = text.split(_CSI)
    found = [terminal_text.shown(first)]
    for piece in pieces:
        end = 0
        while end < len(piece) and piece[end] in "0123456789;":
            end += 1
        last, rest = piece[end : end + 1], piece[end + 1 :]
        if last in _DROPPED:
            found.append(_CSI + piece[: end + 1] if last == "m" and colours else "")
        else:
            found.append(terminal_text.shown(_CSI + piece[: end + 1]))
        found.append(terminal_text.shown(rest))
    return "".join(found)


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return 80
