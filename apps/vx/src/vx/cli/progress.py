"""What a build that runs looks like: a bar on a terminal, plain lines elsewhere.

Owns the showing, on standard error.  What a compiler says is shown as it says it, with its colours
where they are wanted.
"""

from __future__ import annotations

import os
import sys

from daemonry.cli import kit, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Progress:
    """One build as it goes on.

    Args:
        quiet: show only the compilers' output.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._colours = terminal.wants_colour(sys.stderr)
        self._running: list[str] = []
        self._line = terminal.LiveLine()

    def show(self, event: dict[str, Any]) -> None:
        """Show an event."""
        kind, title = event["kind"], kit.printable(event.get("title", ""))
        if kind == "said":
            self._write(terminal.shown_with_colours(event.get("text", ""), colours=self._colours))
        elif kind == "note":
            self._write(f"vx: {kit.printable(event.get('text', ''))}\n")
        elif self._quiet:
            return
        elif kind == "started":
            self._running.append(title)
            if not self._terminal:
                does = "running" if title.endswith((" (test)", " (command)")) else "compiling"
                self._write(f"vx: {does} {title}\n")
        elif kind == "ended":
            if title in self._running:
                self._running.remove(title)
            if not self._terminal and event.get("outcome") == "failed":
                self._write(f"vx: {title} failed\n")
        if self._terminal and not self._quiet:
            self._draw(event.get("done", 0), event.get("total", 0))

    def close(self) -> None:
        """Leave the terminal as it was.  Twice is not an error."""
        self._line.clear()

    def _write(self, text: str) -> None:
        self.close()
        sys.stderr.write(text)
        sys.stderr.flush()

    def _draw(self, done: int, total: int) -> None:
        if total:
            self._line.over(bar(done, total, self._running, columns=terminal.size(2)[0]))


def bar(done: int, total: int, running: list[str], *, columns: int) -> str:
    """Return one line that says how far a build is, and what runs now.

    Args:
        done: how many actions are over.
        total: of how many.
        running: the titles of those that run.
        columns: the most that the line may take.
    """
    line = f"building [{terminal.bar(done, total, '=> ')}] {done}/{total}"
    if running:
        line += ": " + ", ".join(running)
    return terminal.cut(line, max(columns - 1, 10), "...")  # the last column would wrap
