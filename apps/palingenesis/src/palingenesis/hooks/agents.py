"""Which file of which agent takes hooks, and which of its events say something about a stop.

Owns the table.  Checked with Claude Code 2.1.332, Codex CLI 0.171.0 and Gemini CLI 0.61.0; all three have
the same form: `hooks.EVENT[].hooks[] = {"type": "command", "command": ...}`.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Hooked(NamedTuple):
    """An agent that runs hooks.

    Attributes:
        settings: its file, with variables.
        events: the events that are hooked.
        note: a step that its user has to do, too; "" for none.
    """

    settings: str
    events: tuple[str, ...]
    note: str = ""


AGENTS: Final = {
    "claude": Hooked(
        "{CLAUDE_CONFIG_DIR:-~/.claude}/settings.json",
        ("UserPromptSubmit", "Stop", "StopFailure", "SessionEnd", "Notification"),
    ),
    "codex": Hooked(
        "{CODEX_HOME:-~/.codex}/hooks.json",
        ("UserPromptSubmit", "Stop", "Interrupt", "SessionEnd"),
        "codex runs no hook before you trust it: type /hooks in it",
    ),
    "gemini": Hooked("~/.gemini/settings.json", ("BeforeAgent", "AfterAgent", "SessionEnd", "Notification")),
}
