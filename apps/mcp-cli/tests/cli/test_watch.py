"""`watch`, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LIVE = Path(__file__).parents[1] / "live_server.py"


def test_changes_are_lines_of_json_and_the_exit_code_says_how_it_ended(app: Any) -> None:
    app.servers(live={"transport": {"args": [str(LIVE), "--modern"]}})
    watching = app.popen("watch", "live", "a:1", "--lists", "--count", "2")
    assert json.loads(watching.stdout.readline()) == {"server": "live", "event": "watching", "again": False}
    app.done("call", "live/touch", "uri=a:1")
    app.done("call", "live/touch")
    out, err = watching.communicate(timeout=30)
    assert (watching.returncode, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"server": "live", "event": "changed", "what": "resource", "uri": "a:1"},
        {"server": "live", "event": "changed", "what": "tools"},
    ]
    late = app("watch", "live", "--timeout", "0.2")
    assert (late.code, late.err) == (5, "live: no change within 0.2 s\n")
    assert app("watch", "live", "--count", "0").code == 2
    refused = app("watch", "live", "no:such")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
