"""`mcp-cli daemon`: start, stop, status, the idle time."""

from __future__ import annotations

import pytest

from daemonry import Client
from daemonry.testing import wait_until
from mcp_cli.protocol.interfaces import Mcp


@pytest.mark.parametrize(("said", "idle_s"), [("2.5", 2.5), ("0", 0), ("-5", 60), ("nan", 60), ("soon", 60)])
def test_an_idle_time_that_is_none_is_the_usual_one(app, said, idle_s):
    """A daemon that nobody asked to stay does not stay for ever."""
    app.done("daemon", "start", MCP_DAEMON_TTL=said)
    assert app("daemon", "status", "--json").json().get("idle_timeout_secs", 0) == idle_s


def test_the_daemons_commands(app):
    assert app("daemon", "status").code == 3
    app.done("daemon", "start", "--ttl", "0.5")
    wait_until(lambda: not app.socket_path.exists(), 20, what="the idle daemon to end")
    wait_until(lambda: app("daemon", "status").code == 3, 20, what="the idle daemon to be gone")
    assert "ready" in app.done("daemon", "start")
    assert "already running" in app.done("daemon", "start")
    pid = app.pid()
    app.done("daemon", "restart")
    assert app.pid() != pid
    assert app("daemon", "logs", "--tail", "5").out
    assert app.done("shutdown") == "mcp-cli: stopped\n"
    assert app.done("shutdown") == "mcp-cli: not running\n"
    assert not app.socket_path.exists()


@pytest.mark.slow
def test_the_idle_time_that_a_daemon_was_given_is_no_difference_until_it_is_another(app):
    def differs(**env):
        return app("daemon", "status", "--json", **env).json().get("environment_differs", [])

    app.done("call", "fake/echo", "text=1")
    assert differs() == []
    assert differs(MCP_DAEMON_TTL="7") == ["MCP_DAEMON_TTL"]
    app.config("daemon_ttl = 7\n" + app.config_path.read_text())
    assert differs() == ["MCP_DAEMON_TTL"]
    app.done("daemon", "restart")
    assert differs() == []


def test_a_paused_daemon_says_which_servers_it_keeps_and_starts_none(app):
    """The list is a look; a call is work."""
    app.done("call", "fake/echo", "text=x")
    with Client.connect(f"unix:{app.socket_path}") as client:
        client.call("org.daemonry.Control.Pause")
        assert [(one.server, one.state) for one in client.proxy(Mcp).servers()] == [("fake", "ready")]
        refused = app("call", "fake/echo", "text=x")
        assert (refused.code, "paused" in refused.err) == (1, True), refused
        client.call("org.daemonry.Control.Resume")
    assert app.done("call", "fake/echo", "text=x") == "x\n"
