"""`mcp-cli list`: all servers at once, with those that fail."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest


@pytest.mark.slow
def test_list_starts_all_together_and_names_the_one_that_fails(app):
    slow = {f"slow{number}": ["--start-s", "1"] for number in range(10)}
    app.servers(broken=["--exit-at-once", "3"], **slow)
    app("daemon", "start")
    begun = time.monotonic()
    ended = app("list")
    took_s = time.monotonic() - begun
    assert ended.code == 0
    assert ended.out.count(f"{app.tools} tools") == 10
    assert ended.err.startswith("broken: ")
    assert "  | cannot work today\n" in ended.err
    assert took_s < 8, f"ten servers of a second each took {took_s:.1f} s"
    strict = app("list", "--strict", "--json")
    assert strict.code == 1
    broken = json.loads(strict.out)["servers"][0]
    assert (broken["server"], broken["ok"], broken["stderr"]) == ("broken", False, ["cannot work today"])


def test_filtered_tools_are_said_to_be(app):
    app.servers(fake={"allowed_tools": ["e*", "write_*"], "disabled_tools": ["write_*"]})
    assert app.done("list") == f"fake  2 tools, {app.tools - 2} hidden\n  echo\n  env\n"
    hidden = app("call", "fake/write_file")
    assert (hidden.code, hidden.err) == (
        1,
        'fake/write_file: the configuration hides this tool: disabled_tools has "write_*"\n',
    )
    assert app("tool", "fake/write_file").err == hidden.err
    assert "allowed_tools" in app("call", "fake/cwd").err


def test_nor_by_a_list_which_asks_no_server_then(app):
    app.done("call", "fake/echo", "text=1")
    pid = app.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        listed = app("list", "--timeout", "0.5")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (listed.code, listed.out) == (5, "")
    assert listed.err == "mcp-cli: no answer from the daemon within 0.5 s (configure)\n"
