"""What a hostile session is called and says, on a terminal: palingenesis shows none of it as it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from daemonry.testing.on_terminal import EVIL, on_a_terminal, unsafe_in

if TYPE_CHECKING:
    from conftest import App

COMMAND = Path(sys.executable).parent / "palingenesis"
SAMPLE = Path(__file__).parents[1] / "samples" / "claude-usage-limit-5h.jsonl"


def test_no_command_shows_what_a_session_says_as_it_is(app: App) -> None:
    app.session(f"odd{EVIL}.md", text=EVIL)
    folder = app.sandbox.path / f"home/.claude/projects/-odd{EVIL}"
    folder.mkdir(parents=True)
    lines = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
    for line in lines:
        line |= {"cwd": f"/odd{EVIL}", "gitBranch": EVIL}
        if isinstance(line.get("message"), dict) and isinstance(line["message"].get("content"), str):
            line["message"]["content"] += EVIL
    (folder / f"11111111-2222-3333-4444-5555{EVIL}.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines)
    )
    assert app("daemon", "start").code == 0
    for words in (
        ("sessions",),
        ("sessions", "--json"),
        ("why", f"odd{EVIL}.md"),
        ("why", "11111111"),
        ("why", f"none{EVIL}"),
        ("status",),
        ("status", "--json"),
        ("agents",),
        ("logs", "--tail", "0"),
    ):
        _, text = on_a_terminal(app.sandbox.env, COMMAND, *words)
        assert "Traceback" not in text, (words, text)
        assert unsafe_in(text) == [], (words, text)
    assert "gnp.exe" in on_a_terminal(app.sandbox.env, COMMAND, "sessions")[1]
