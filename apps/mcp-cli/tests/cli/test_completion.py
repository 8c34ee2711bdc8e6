"""Completion of servers, tools and parameters."""

from __future__ import annotations

import subprocess

import pytest


@pytest.mark.slow
def test_completion_offers_what_the_live_daemon_has(app):
    def offered(*words):
        return app.done("_complete", *words).split()

    assert "call" in offered("")
    assert offered("ca") == ["call"]
    assert offered("call", "") == ["fake/"]
    assert offered("call", "fake/e") == []  # no daemon runs, and none is started for this
    assert not app.socket_path.exists()
    app.done("call", "fake/echo", "text=1")
    assert offered("call", "fake/e") == ["fake/echo", "fake/env"]
    assert offered("call", "fake/echo", "t") == ["text="]
    assert offered("call", "fake/slow", "progress=") == ["progress=false", "progress=true"]
    assert offered("info", "") == ["fake"]
    assert offered("daemon", "sta") == ["start", "status"]
    assert "--strict" in offered("list", "--")
    assert offered("call", "--s") == ["--save-dir", "--schema", "--stdio"]
    assert offered("call", "fake/echo", "--t") == ["--text=", "--timeout"]
    assert offered("config", "remove", "") == ["fake"]
    assert offered("config", "import", "cl") == ["claude-code", "claude-desktop"]
    assert offered("serve", "--print-config", "c") == ["claude", "codex", "cursor"]
    assert offered("list", "--protocol", "2026") == ["2026-07-28"]
    for shell in ("bash", "zsh", "fish"):
        assert "_complete" in app.done("completion", shell)
    bash = app.done("completion", "bash")
    assert subprocess.run(["bash", "-n"], input=bash, text=True, check=False).returncode == 0
