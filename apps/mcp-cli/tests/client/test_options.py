"""The options of every command: with a daemon, by it alone, without one, and one-off servers."""

from __future__ import annotations

import json
import sys

import pytest

MODES = {"auto": [], "require": ["--require-daemon"], "direct": ["--no-daemon"]}


@pytest.fixture(params=["auto", "require", pytest.param("direct", marks=pytest.mark.slow)])
def mode(request, app):
    """The options of each mode; where a daemon is required, one runs."""
    if request.param == "require":
        assert app("daemon", "start").code == 0
    return MODES[request.param]


@pytest.mark.slow
def test_each_command_says_the_same_in_each_mode(app, mode):
    def done(*words, code=0):
        ended = app(*words, *mode)
        assert ended.code == code, ended
        return ended

    assert done("call", "fake/echo", "text=hello").out == "hello\n"
    assert done("call", "fake", "echo", '{"text": "hello"}').out == "hello\n"
    assert done("list", "fake").out.startswith(f"fake  {app.tools} tools\n  echo\n  raw\n")
    assert "  echo        Says it again\n" in done("list", "-d").out
    assert "fake/echo\n  Says it again\n    text  string  required" in done("tool", "fake/echo").out
    assert "echo(text: string)" in done("info", "fake").out
    assert done("search", "ech*").out == "fake/echo  Says it again\n"
    assert done("resources").out == "fake  0 resources\n"
    assert done("prompts").out == "fake  0 prompts\n"
    assert "answers" in done("ping", "fake").out
    failed = done("call", "fake/fail", code=1)
    assert (failed.out, failed.err) == ("", "it failed\n")
    refused = done("call", "fake/refuse", code=1)
    assert refused.err == 'fake/refuse: the server answered with error -32050: no\n  | {"why":1}\n'
    said = done("call", "fake/echo", "txt=1", code=2)
    assert said.err.startswith("fake/echo: txt is not a parameter: did you mean 'text'?")
    assert done("call", "fake/ehco", code=1).err == "fake has no tool 'ehco': did you mean 'echo'?\n"
    crashed = done("call", "fake/crash", code=6)
    assert "its outcome is unknown" in crashed.err
    assert "  | going down\n" in crashed.err
    assert done("call", "fake/echo", "text=again").out == "again\n"


@pytest.mark.slow
def test_json_is_the_servers_own_to_the_byte(app, mode, raw_text):
    whole = app("call", "fake/raw", "--json", *mode)
    assert whole.out == f'{{"outcome":"done","is_error":false,"result":{raw_text}}}\n'
    assert app("call", "fake/raw", "--raw", *mode).out == raw_text + "\n"
    failed = app("call", "fake/fail", "--json", *mode)
    assert (failed.code, json.loads(failed.out)["is_error"]) == (1, True)
    unknown = app("call", "fake/crash", "--json", *mode)
    assert (unknown.code, json.loads(unknown.out)["outcome"]) == (6, "maybe_ran")
    unsent = app("call", "fake/echo", "--json", *mode)
    assert (unsent.code, json.loads(unsent.out)["outcome"]) == (2, "not_sent")


@pytest.mark.slow
def test_no_daemon_leaves_none(app):
    assert app("call", "fake/echo", "text=1", "--no-daemon").out == "1\n"
    assert app("call", "fake/echo", "text=2", MCP_NO_DAEMON="1").out == "2\n"
    assert not app.socket_path.exists()
    assert app("daemon", "status").code == 3


def test_a_required_daemon_that_is_not_there_is_code_3(app):
    ended = app("call", "fake/echo", "text=1", "--require-daemon")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == (
        "mcp-cli: no daemon runs; start it with `mcp-cli daemon start`, or leave out --require-daemon\n"
    )


def test_modes_exclude_each_other(app):
    ended = app("--no-daemon", "list", "--require-daemon")
    assert (ended.code, ended.err.count("\n")) == (2, 1)


def test_options_stand_where_they_want(app):
    app.servers(one=[], two=[], three=[])
    app.done("config", "add", "four", "--env", "A=1", "sh", "--force", "x")
    listed = json.loads(app.done("config", "list", "--json"))["servers"]
    assert listed["four"]["args"] == ["x"]
    some = app.done("list", "one", "-d", "two")
    assert [line.split()[0] for line in some.splitlines() if not line.startswith(" ")] == ["one", "two"]


@pytest.mark.slow
def test_one_off_servers_need_no_configuration(app):
    fake = app.config_path.read_text().split('args = ["')[1].split('"')[0]
    app.config_path.unlink()
    command = f"{sys.executable} '{fake}'"
    assert app.done("--stdio", command, "call", "echo", "text=1") == "1\n"
    assert app.done("call", "server/echo", "text=2", "--stdio", command) == "2\n"
    assert app.done("--stdio", command, "list").startswith(f"server  {app.tools} tools\n")
    assert app("--stdio", command, "--url", "http://x", "list").code == 2
    assert app("--stdio", "'", "list").code == 1
