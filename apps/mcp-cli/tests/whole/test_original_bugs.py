"""The original's bugs, numbered as SEEDS.md lists them: each shown absent.

Number 11 is about the original's own tests, and 13 about its audit; what of them concerns a user is here.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from daemonry.testing import wait_until


@pytest.mark.slow
def test_bug_1_what_a_dead_daemon_left_is_cleared_away(app):
    app.done("call", "fake/echo", "text=1")
    os.kill(pid := app.pid(), signal.SIGKILL)
    wait_until(lambda: app("daemon", "status").code == 3, what="the daemon to be gone")
    assert app.socket_path.exists()
    assert app("call", "fake/echo", "text=2").out == "2\n"
    assert app.pid() != pid


@pytest.mark.slow
def test_bug_2_of_many_commands_that_start_a_daemon_one_does(app):
    commands = [app.popen("call", "fake/echo", f"text={number}") for number in range(6)]
    answers = [command.communicate(timeout=60) for command in commands]
    assert [out for out, _ in answers] == [f"{number}\n" for number in range(6)], answers
    pid = app.pid()
    inode = app.socket_path.stat().st_ino
    assert "already running" in app.done("daemon", "start")
    second = app("daemon", "start", "--foreground")
    assert "already running" in second.out + second.err
    assert (app.pid(), app.socket_path.stat().st_ino) == (pid, inode)
    assert app.done("call", "fake/echo", "text=x") == "x\n"


@pytest.mark.slow
def test_bug_3_work_under_way_keeps_the_daemon_and_its_end_does_not(app):
    begun = time.monotonic()
    assert app("call", "fake/slow", "n=3", MCP_DAEMON_TTL="1").out == "done\n"
    assert time.monotonic() - begun >= 3
    # Not by asking it: who asks for its servers is a client, too.
    wait_until(lambda: not app.socket_path.exists(), 20, what="the idle daemon to end")
    wait_until(lambda: app("daemon", "status").code == 3, 20, what="the idle daemon to be gone")


def test_bug_4_a_signal_ends_the_daemon_cleanly_and_ctrl_c_of_a_command_does_not_reach_it(app):
    app.done("call", "fake/echo", "text=1")
    pid = app.pid()
    assert os.getsid(pid) != os.getsid(0)
    assert os.getpgid(pid) != os.getpgid(0)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not app.socket_path.exists(), 20, what="the socket to be removed")
    wait_until(lambda: app("daemon", "status").code == 3, 20, what="the daemon to be gone")


@pytest.mark.slow
def test_bug_5_the_configuration_that_is_named_counts_and_one_daemon_serves_every_directory(app):
    named = app.sandbox.write(
        "elsewhere/named.toml", app.config_path.read_text().replace('"fake"', '"named"')
    )
    app.config_path.unlink()
    assert app.done("call", "-c", str(named), "named/echo", "text=1") == "1\n"
    pid = app.pid()
    where = subprocess.run(
        [sys.executable, "-m", "mcp_cli", "call", "named/cwd", "-c", "named.toml"],
        cwd=named.parent,
        env=app.sandbox.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout == f"{named.parent}\n"
    assert app.pid() == pid
    assert app.done("shutdown", "-c", str(named)) == "mcp-cli: stopped\n"


def test_bug_6_clients_that_say_nothing_hold_nobody_up(app):
    app.done("call", "fake/echo", "text=1")
    silent = [socket.socket(socket.AF_UNIX) for _ in range(20)]
    for one in silent:
        one.connect(str(app.socket_path))
    assert app.done("call", "fake/echo", "text=2") == "2\n"
    for one in silent:
        one.close()


def test_bug_7_the_fingerprint_is_the_same_in_every_process(app):
    app.servers(fake={"transport": {"env": dict.fromkeys("zyxwabcd", "1")}})
    digits = {
        json.loads(app.done("config", "validate", "--json", PYTHONHASHSEED=str(seed)))["fingerprint"]
        for seed in range(5)
    }
    assert len(digits) == 1
    assert len(digits.pop()) == 64


@pytest.mark.slow
def test_bug_8_a_dead_server_is_not_used_again_and_a_live_one_is_started_once(app):
    starts = app.sandbox.path / "starts"
    app.servers(fake=["--start-file", str(starts)])
    for number in range(3):
        assert app.done("call", "fake/echo", f"text={number}") == f"{number}\n"
    assert len(starts.read_text().split()) == 1
    assert app("call", "fake/crash").code == 6
    assert app.done("call", "fake/echo", "text=again") == "again\n"
    assert len(starts.read_text().split()) == 2
    wrong = app("call", "fake/wrong_id", "--timeout", "1")
    assert (wrong.code, wrong.out) == (6, "")  # somebody else's answer is not taken for this call's


@pytest.mark.slow
def test_bug_9_servers_are_asked_together(app):
    app.servers(**{f"slow{number}": ["--start-s", "3"] for number in range(5)})
    app("daemon", "start")
    begun = time.monotonic()
    assert app.done("list").count(f"{app.tools} tools") == 5
    assert time.monotonic() - begun < 12


def test_bug_10_a_failed_call_is_a_failure_and_standard_input_is_read(app):
    codes = [
        app("call", *words).code for words in (["fake/fail"], ["fake/nope"], ["nope/echo"], ["fake/echo"])
    ]
    assert codes == [1, 1, 1, 2]
    assert app("call", "fake/echo", "-", stdin='{"text": "in"}').out == "in\n"


def test_bug_11_daemon_and_command_agree_on_the_socket(app):
    code = "import mcp_cli.ipc, os; print(mcp_cli.ipc.get_socket_path())"
    paths = {app.sandbox.run(sys.executable, "-c", code).out.strip() for _ in range(2)}
    assert paths == {str(app.socket_path)}
    assert str(os.getpid()) not in app.socket_path.name


@pytest.mark.slow
def test_bug_12_another_process_with_the_daemons_number_is_not_the_daemon(app):
    """A number alone is no proof, in either direction: nobody is taken for it, and nobody is killed."""
    app.done("call", "fake/echo", "text=1")
    (record,) = app.sandbox.path.glob("home/.local/state/mcp-cli/*/mcp-cli.json")
    bystander = subprocess.Popen(["sleep", "60"])
    forged = json.dumps(_with_pid(json.loads(record.read_text()), bystander.pid))
    os.kill(app.pid(), signal.SIGKILL)
    wait_until(lambda: app("daemon", "status").code == 3, what="the daemon to be gone")
    try:
        record.write_text(forged)
        assert app("daemon", "status").code == 3
        assert app("daemon", "stop", "--force").code == 0
        assert bystander.poll() is None
        assert app("call", "fake/echo", "text=2").out == "2\n"
    finally:
        bystander.kill()
        bystander.wait()


def _with_pid(value: object, pid: int) -> object:
    if isinstance(value, dict):
        return {key: pid if key == "pid" else _with_pid(one, pid) for key, one in value.items()}
    return value
