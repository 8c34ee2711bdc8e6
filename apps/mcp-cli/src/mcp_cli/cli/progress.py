"""The terminal while a call runs: progress on one line that is written over, logs and notes above it.

Owns standard error during a call.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from daemonry.cli import terminal
from mcp_cli.client.options import Options
from mcp_cli.client.tool_call import answered

if TYPE_CHECKING:
    from mcp_cli.client.given_answers import GivenAnswers


class ProgressDisplay:
    """Shows events on standard error.

    Args:
        options: the command's.
        server: whose events they are.
    """

    def __init__(self, options: Options, server: str) -> None:
        self._server = server
        self._options = options
        self._line = terminal.LiveLine()
        self._tty = sys.stderr.isatty()
        self._quiet = options.quiet
        self._given: GivenAnswers | None = None

    def event(self, event: dict[str, Any]) -> None:
        """Show one event."""
        kind = event["kind"]
        text = event.get("text", "")
        if kind == "question":
            self.clear()
            self._question(event)
        elif kind == "visit":
            self._above(f"open this in a browser: {text}")
            _open(text)
        elif self._quiet:
            return
        elif kind == "progress":
            self._progress(event)
        elif kind == "log":
            name = event.get("logger") or self._server
            self._above(f"[{event.get('level') or 'info'}] {name}: {_log_text(event)}")
        elif kind == "stderr":
            self._above(f"{self._server}: {text}")
        elif kind == "note":
            # Notes on the call matter while one waits; a warning about a server matters later too.
            passing = self._tty and not event.get("level")
            self._line.over(text) if passing else self._above(text)

    def _question(self, event: dict[str, Any]) -> None:
        from mcp_cli.cli import questions
        from mcp_cli.client.given_answers import GivenAnswers

        options = self._options
        if options.answer is not None and self._given is None:
            self._given = GivenAnswers(options.answer)
        present = options.answer is None and bool(answered(options))
        questions.put(event, self._server, self._given, present=present)

    def clear(self) -> None:
        """Remove the line that is written over."""
        self._line.clear()

    def _progress(self, event: dict[str, Any]) -> None:
        done, total, text = event.get("progress", 0.0), event.get("total"), event.get("text", "")
        if total and total > 0:
            share = max(0.0, min(1.0, done / total))
            said = f"{terminal.bar(done, total)} {share:4.0%} {text}"
        else:
            said = f"{done:g} {text}"
        if self._tty:
            self._line.over(f"{self._server}: {said}")
        elif self._options.verbose:
            self._above(f"{self._server}: progress {done:g}{f'/{total:g}' if total else ''} {text}".rstrip())

    def _above(self, text: str) -> None:
        self._line.above(terminal.end_of_line(terminal.for_stream(text, sys.stderr)))


def _log_text(event: dict[str, Any]) -> str:
    import json

    try:
        data = json.loads(event.get("result") or "null")
    except ValueError:
        return str(event.get("result"))
    if isinstance(data, dict) and isinstance(data.get("message"), str) and len(data) == 1:
        data = data["message"]
    return data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)


def _open(url: str) -> None:
    """Open a page for the user, where there is a desktop to do it on, or a command that reaches one."""
    # BROWSER is how editors and WSL open pages of a machine without a screen.
    named = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    desktop = sys.platform == "darwin" or named
    if desktop and sys.stderr.isatty() and url.startswith(("http://", "https://")):
        import webbrowser

        webbrowser.open(url)
