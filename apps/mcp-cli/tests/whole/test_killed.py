"""What is killed in a call, the server, the daemon or the command: a clear outcome, and nothing left."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest

from daemonry.testing import wait_until

# Long enough that a call which is not ended by what the test does fails the test.
SLOW = ("call", "fake/slow", '{"n": 100, "progress": true}')


def started(app) -> list[int]:
    """The process ids of the fake servers that were ever started."""
    path = app.sandbox.path / "starts"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def called(app) -> bool:
    return (app.sandbox.path / "starts.calls").exists()


@pytest.fixture
def watched(app):
    app.servers(fake=["--start-file", str(app.sandbox.path / "starts")])
    return app


def under_way(app) -> bool:
    return app("daemon", "status", "--json").json().get("calls") == 1


@pytest.mark.parametrize("mode", [(), ("--no-daemon",)])
def test_a_server_that_is_killed_in_a_call(watched, alive, mode):
    command = watched.popen(*mode, *SLOW)
    wait_until(lambda: started(watched))
    server = started(watched)[0]
    wait_until(lambda: called(watched))
    os.kill(server, signal.SIGKILL)
    out, err = command.communicate(timeout=20)
    assert command.returncode == 6, (out, err)
    assert "SIGKILL" in err
    assert watched.done(*mode, "call", "fake/echo", '{"text": "next"}') == "next\n"
    assert not alive(server)


@pytest.mark.slow
def test_a_daemon_that_is_killed_in_a_call(watched, alive):
    command = watched.popen(*SLOW)
    wait_until(lambda: started(watched))
    wait_until(lambda: called(watched))
    server = started(watched)[0]
    os.kill(watched.pid(), signal.SIGKILL)
    out, err = command.communicate(timeout=20)
    assert command.returncode == 6, (out, err)
    wait_until(lambda: not alive(server), 3, what="the server's end")
    ended = watched("call", "fake/echo", '{"text": "next"}')
    assert (ended.code, ended.out) == (0, "next\n"), ended
    assert started(watched)[-1] != server


@pytest.mark.parametrize("arguments", [SLOW[2], '{"n": 100}'], ids=["progress", "silent"])
def test_a_daemon_that_is_stopped_in_a_call_has_it_made_once(watched, arguments):
    """A daemon that ends breaks off what it has begun; to make that again would do it twice."""
    command = watched.popen("call", "fake/slow", arguments)
    wait_until(lambda: called(watched))
    assert watched("daemon", "stop", "--force").code == 0
    out, err = command.communicate(timeout=20)
    assert command.returncode == 6, (out, err)
    calls = (watched.sandbox.path / "starts.calls").read_text().split()
    assert calls.count("slow") == 1, calls


def test_a_command_that_is_killed_in_a_call_has_it_cancelled(watched, alive):
    command = watched.popen(*SLOW)
    wait_until(lambda: started(watched))
    wait_until(lambda: called(watched))
    server = started(watched)[0]
    command.kill()
    command.communicate(timeout=20)
    wait_until(lambda: not under_way(watched))
    told = json.loads(watched.done("call", "fake/cancelled", "{}"))
    assert len(told) == 1
    assert started(watched) == [server]
    assert alive(server)


def test_a_command_without_a_daemon_that_is_killed_leaves_no_server(watched, alive):
    command = watched.popen("--no-daemon", *SLOW)
    wait_until(lambda: started(watched))
    wait_until(lambda: called(watched))
    server = started(watched)[0]
    assert alive(server)
    command.kill()
    command.communicate(timeout=20)
    wait_until(lambda: not alive(server), 3, what="the server's end")
    wait_until(lambda: not watched.sandbox.leftovers(), what="the end of what watched over it")


@pytest.mark.parametrize("mode", [(), ("--no-daemon",)])
def test_ctrl_c_reaches_the_server(watched, alive, mode):
    command = watched.popen(*mode, *SLOW)
    wait_until(lambda: started(watched))
    wait_until(lambda: called(watched))
    command.send_signal(signal.SIGINT)
    command.communicate(timeout=20)
    assert command.returncode != 0
    if mode:
        assert not alive(started(watched)[0])
    else:
        wait_until(lambda: not under_way(watched))
        assert len(json.loads(watched.done("call", "fake/cancelled", "{}"))) == 1


@pytest.mark.slow
def test_the_daemon_ends_when_nobody_asks_and_not_in_a_call(watched, alive):
    ended = watched("call", "fake/slow", '{"n": 2.5, "progress": true}', MCP_DAEMON_TTL="1")
    assert (ended.code, ended.out) == (0, "done\n"), ended
    server = started(watched)[0]
    # Not by asking it: that would be work.
    wait_until(lambda: not watched.socket_path.exists(), 15, what="the daemon's end")
    wait_until(lambda: not alive(server), 3, what="the server's end")


@pytest.mark.slow
def test_its_servers_end_with_a_daemon_that_is_stopped(watched, alive):
    watched.done("call", "fake/echo", '{"text": "x"}')
    (server,) = started(watched)
    assert alive(server)
    watched.done("daemon", "stop")
    assert not alive(server)


@pytest.mark.slow
def test_the_daemon_loads_the_sdk_with_its_first_server_only(app):
    app.done("daemon", "start")
    pid = app.pid()

    def maps() -> str:
        with open(f"/proc/{pid}/maps") as file:
            return file.read()

    if sys.platform != "linux":
        pytest.skip("reads /proc")
    assert "pydantic_core" not in maps()
    app.done("call", "fake/echo", '{"text": "x"}')
    assert "pydantic_core" in maps()
