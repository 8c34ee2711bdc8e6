"""Failures as a command reports them: one line, the right exit code, and whether the call ran."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from daemonry.testing import wait_until


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--exit-at-once", "4"], "  | cannot work today\n"),
        (["--garbage"], None),
    ],
)
@pytest.mark.slow
def test_a_server_that_misbehaves_at_its_start(app, options, said):
    app.servers(fake=options)
    ended = app("call", "fake/echo", "text=1")
    if said is None:
        assert (ended.code, ended.out) == (0, "1\n")
    else:
        assert (ended.code, ended.out) == (1, "")
        assert said in ended.err


def test_a_command_that_is_not_there_is_named(app):
    app.servers(fake={"transport": {"command": "no-such-program"}})
    ended = app("call", "fake/echo", "text=1")
    assert ended.code == 1
    assert "no-such-program" in ended.err
    assert app("config", "validate").err.endswith("no-such-program is not there, or cannot be run\n")


@pytest.mark.slow
def test_a_server_that_hangs_is_given_up_after_the_time_that_was_given(app):
    app.servers(fake={"args": ["--hang-initialize"], "start_timeout_secs": 1})
    ended = app("call", "fake/echo", "text=1")
    assert ended.code == 1
    assert "did not complete its start" in ended.err
    app.servers(fake=[])
    silent = app("call", "fake/slow", "n=30", "--timeout", "0.5")
    assert (silent.code, silent.err) == (
        6,
        "fake/slow: silent for 0.5 s and cancelled; its outcome is unknown\n",
    )
    assert app.done("call", "fake/slow", "n=1.2", "progress=true", "--timeout", "0.6") == "done\n"


def test_ctrl_c_reaches_the_server_and_is_130(app):
    app.done("call", "fake/echo", "text=1")
    call = app.popen("call", "fake/slow", "n=60")
    wait_until(lambda: "1 under way" in app("daemon", "status").out, what="the call to be under way")
    call.send_signal(signal.SIGINT)
    out, err = call.communicate(timeout=10)
    assert (call.returncode, out) == (130, "")
    assert "was cancelled" in err
    wait_until(lambda: app.done("call", "fake/cancelled") != "[]\n", what="the server to be told")


def test_ctrl_c_ends_the_command_while_it_imports(app):
    """Python drops a KeyboardInterrupt in the middle of an import, and the call would go on."""
    app.sandbox.write("other/mcp_cli/__init__.py", "")
    app.sandbox.write(
        "other/mcp_cli/cli/entry.py",
        "import signal\ndef main():\n    print(signal.getsignal(signal.SIGINT).name)\n",
    )
    assert app("list", PYTHONPATH=str(app.sandbox.path / "other")).out == "SIG_DFL\n"


@pytest.mark.slow
def test_a_command_in_the_background_of_a_script_is_not_interrupted(app):
    """A shell has such ignore Ctrl-C, which is meant for what is in front."""
    app.done("call", "fake/echo", "text=1")
    call = app.popen(
        "call", "fake/slow", "n=3", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)
    )
    wait_until(lambda: "1 under way" in app("daemon", "status").out, what="the call to be under way")
    call.send_signal(signal.SIGINT)
    out, err = call.communicate(timeout=20)
    assert (call.returncode, out, err) == (0, "done\n", "")


def test_kill_9_of_the_command_cancels_its_call(app):
    app.done("call", "fake/echo", "text=1")
    call = app.popen("call", "fake/slow", "n=60")
    wait_until(lambda: "1 under way" in app("daemon", "status").out, what="the call to be under way")
    call.kill()
    call.communicate(timeout=10)
    wait_until(lambda: app.done("call", "fake/cancelled") != "[]\n", what="the server to be told")


@pytest.mark.slow
def test_kill_9_of_the_daemon_in_a_call_is_code_6_and_the_next_call_works(app, alive):
    app.done("call", "fake/echo", "text=1")
    servers = [
        int(word)
        for line in app("daemon", "status").out.splitlines()
        if "ready" in line
        for word in [line.split("pid ")[1].split()[0]]
    ]
    call = app.popen("call", "fake/slow", "n=60")
    wait_until(lambda: "1 under way" in app("daemon", "status").out, what="the call to be under way")
    os.kill(app.pid(), signal.SIGKILL)
    out, err = call.communicate(timeout=20)
    assert (call.returncode, out) == (6, "")
    assert err == "fake/slow: the daemon went away in the call, which may have run\n"
    wait_until(lambda: not any(alive(pid) for pid in servers), what="the servers of the dead daemon to end")
    assert app("call", "fake/echo", "text=2").out == "2\n"


@pytest.mark.slow
def test_a_daemon_that_hangs_is_not_waited_for(app):
    app.done("call", "fake/echo", "text=1")
    pid = app.pid()
    code = (
        "import mcp_cli.client.connect as r; r.PROBE_EVERY_S = 0.3; r.PROBE_TIMEOUT_S = 0.5\n"
        "from mcp_cli.cli.entry import main; main()"
    )
    call = app.sandbox.popen(
        sys.executable, "-c", code, "call", "fake/slow", "n=60", stdin=subprocess.DEVNULL
    )
    wait_until(lambda: "1 under way" in app("daemon", "status").out, what="the call to be under way")
    os.kill(pid, signal.SIGSTOP)
    try:
        out, err = call.communicate(timeout=20)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (call.returncode, out) == (6, "")
    assert f"the daemon (pid {pid}) does not answer any more: the call may have run" in err


def test_a_failure_names_its_server(app):
    for words in (
        ["read", "fake", "demo://nothing"],
        ["prompt", "fake/nothing"],
        ["complete", "fake/p", "a"],
    ):
        ended = app(*words)
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith("fake: the server answered with error -32601: Method not found"), ended
    assert app("read", "demo://nothing").err.startswith("mcp-cli: the server answered")
