"""The named tests of S001 and of the client beside it, under their names: the library's part.

Those of the palingenesis program itself are in `apps/palingenesis/tests`.
"""

import asyncio
import contextlib
import gc
import json
import logging
import socket
import threading

import pytest

from daemonry.errors import (
    AlreadyBound,
    ConfigError,
    ConnectionRefused,
    DeadlineExceeded,
    NotBound,
    NotListening,
    SocketBindError,
)
from daemonry.service.client.text import request
from daemonry.service.server.server import Server
from daemonry.testing import wait_until
from daemonry.wire.text import TextCommand, TextReply, read_reply

FIELDS = ["state", "uptime_secs", "current_session", "saves_count", "total_resumes"]


# --- protocol.rs ----------------------------------------------------------------------------------


def test_command_parsing():
    """P8, P11."""
    assert TextCommand.parse("STATUS") == TextCommand("STATUS")
    assert TextCommand.parse("status\n") == TextCommand("STATUS")
    assert TextCommand.parse("PAUSE") == TextCommand("PAUSE")
    assert TextCommand.parse("RESUME") == TextCommand("RESUME")
    assert TextCommand.parse("RELOAD") == TextCommand("RELOAD")
    assert TextCommand.parse("UNKNOWN") is None


@pytest.mark.parametrize("session", ["/path/to/session.md", None])
def test_response_serialization(session):
    """P11: `OK`, `ERR: ...`, and a STATUS that comes back as it went."""
    assert TextReply.ok().to_text() == "OK\n"
    assert TextReply.error("test").to_text() == "ERR: test\n"
    fields = dict(zip(FIELDS, ["monitoring", 3600, session, 42, 10], strict=True))
    line = TextReply.status(fields).to_text()
    assert json.loads(line) == fields
    assert line.endswith("}\n")
    assert read_reply(line.encode()).fields == fields


# --- socket.rs --------------------------------------------------------------------------------------


@pytest.fixture
def private(tmp_path):
    """A socket's path in a directory that is ours alone, as the daemon's runtime directory is."""
    tmp_path.chmod(0o700)
    return tmp_path / "test.sock"


def test_socket_bind_and_cleanup(private):
    """P1, P7, P10."""
    server = Server(private)
    server.bind()
    assert private.is_socket()
    with pytest.raises(AlreadyBound):
        server.bind()
    server.cleanup()
    assert not private.exists()
    server.cleanup()
    with pytest.raises(NotBound):
        asyncio.run(server.run(object(), asyncio.Event()))


def test_stale_socket_removal(private, socket_path, caplog):
    """P6 with contradiction 3: a plain file is replaced where all is ours, and refused elsewhere."""
    private.write_text("stale")
    server = Server(private, leftovers="replace")
    server.bind()
    assert private.is_socket()
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"replacing a regular file at {private}"
    ]
    server.cleanup()

    socket_path.write_text("a user's")
    with pytest.raises(SocketBindError, match="a regular file, which is not ours to remove"):
        Server(socket_path).bind()
    assert socket_path.read_text() == "a user's"


def test_stale_socket_of_a_dead_daemon_is_removed(private, caplog):
    """P6, AC6: the usual case, under both rules."""
    for leftovers in ("refuse", "replace"):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(private))
        server = Server(private, leftovers=leftovers)
        server.bind()
        assert f"removing the stale socket {private}" in caplog.text
        server.cleanup()
        caplog.clear()


def test_pause_resume_and_reload_commands(text_server):
    """P3 to P5: each on a connection of its own."""
    assert text_server.ask(b"PAUSE\n") == b"OK\n"
    assert text_server.state.paused
    assert text_server.ask(b"RESUME\n") == b"OK\n"
    assert not text_server.state.paused
    assert text_server.ask(b"RELOAD\n") == b"OK\n"
    assert text_server.state.reloads == 1


def test_connection_timeout(serve_text):
    """P9: five seconds there; as short as the test likes here."""
    server = serve_text(first_byte_timeout_s=0.05)
    with server.connect() as silent:
        assert server.read_all(silent) == b"ERR: Connection timeout\n"


def test_the_timeout_is_five_seconds_unless_told_otherwise(private):
    assert Server(private)._first_byte_timeout_s == 5.0


def test_cleanup_on_drop(private):
    """P7."""
    server = Server(private)
    server.bind()
    assert private.exists()
    del server
    gc.collect()
    assert not private.exists()


def test_drop_of_a_server_that_was_never_bound_removes_nothing(private):
    """The original deleted the live daemon's socket when a second start failed."""
    live = Server(private)
    live.bind()
    second = Server(private)
    with pytest.raises(SocketBindError):
        second.bind()
    del second
    gc.collect()
    assert private.is_socket()
    live.cleanup()


def test_status_command(text_server):
    """P2: five fields, one line, and the connection closes cleanly."""
    reply = text_server.ask(b"STATUS\n")
    assert list(json.loads(reply)) == FIELDS
    assert json.loads(reply)["state"] == "monitoring"
    assert json.loads(reply)["uptime_secs"] == 3600


def test_unknown_command_returns_error(text_server):
    """P8."""
    assert text_server.ask(b"DANCE\n") == b"ERR: Unknown command: DANCE\n"


# --- tests/ipc_test.rs ------------------------------------------------------------------------------


def test_ipc_status_command(text_server):
    """Through the client: bind, connect, ask, read, close."""
    reply = request(text_server.endpoint, "STATUS")
    assert list(reply.fields) == FIELDS


def test_ipc_concurrent_connections(text_server):
    """P16: five clients at once, all connected before the first has asked."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(text_server.connect()) for _ in range(5)]
        for client in clients:
            client.sendall(b"STATUS\n")
        replies = [json.loads(text_server.read_all(client)) for client in clients]
    assert [reply["state"] for reply in replies] == ["monitoring"] * 5


def test_ipc_graceful_shutdown(text_server, socket_path):
    """P17: cancelled, `run` returns; cleaned up, the file is gone; nobody is left waiting."""
    with text_server.connect() as idle:
        assert wait_until(lambda: text_server.server.connections)
        text_server.stop()
        assert idle.recv(1) == b""
    assert not socket_path.exists()
    with pytest.raises(NotListening):
        request(text_server.endpoint, "STATUS")


# --- the client (story 1.7) -------------------------------------------------------------------------


def test_status_command_success(text_server):
    reply = request(text_server.endpoint, "STATUS", 5.0)
    assert reply.kind == "status"
    assert reply.fields["saves_count"] == 42


def test_daemon_not_running(socket_path):
    """No socket, and a stale one: both are told at once, as nobody listening."""
    with pytest.raises(NotListening):
        request(f"unix:{socket_path}", "STATUS")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))
    with pytest.raises(ConnectionRefused):
        request(f"unix:{socket_path}", "STATUS")


def test_timeout_handling(socket_path):
    """A daemon that accepts and never answers."""
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(socket_path))
        mute.listen()
        with pytest.raises(DeadlineExceeded, match=r"within 0\.05 s"):
            request(f"unix:{socket_path}", "STATUS", 0.05)


def test_pause_resume_reload_commands(text_server):
    """P21."""
    assert request(text_server.endpoint, "PAUSE") == TextReply.ok()
    assert request(text_server.endpoint, "STATUS").fields["state"] == "paused"
    assert request(text_server.endpoint, "RESUME") == TextReply.ok()
    assert request(text_server.endpoint, "RELOAD") == TextReply.ok()
    assert (text_server.state.paused, text_server.state.reloads) == (False, 1)


# --- reload -----------------------------------------------------------------------------------------


class Configured:
    """A state that reads its configuration aside and swaps it at once."""

    def __init__(self):
        self.config = {"port": 1}
        self.file = {"port": 2}

    def reload_config(self):
        if not isinstance(self.file.get("port"), int):
            raise ConfigError("config.toml", "port", "not a number:\n  port = 'x'")
        self.config = dict(self.file)


def test_reload_config_valid_updates_config(serve_text):
    """P5."""
    server = serve_text(Configured())
    assert server.ask(b"RELOAD\n") == b"OK\n"
    assert server.state.config == {"port": 2}


def test_reload_config_invalid_keeps_existing(serve_text):
    """P5: the message is one line, although TOML's errors span several."""
    server = serve_text(Configured())
    server.state.file = {"port": "x"}
    assert server.ask(b"RELOAD\n") == b"ERR: config.toml: port: not a number: port = 'x'\n"
    assert server.state.config == {"port": 1}


# --- shared state -----------------------------------------------------------------------------------


def test_the_state_is_changed_by_one_command_at_a_time(text_server):
    """P18: the loop runs one handler at a time, whatever the number of clients."""
    threads = [threading.Thread(target=text_server.ask, args=(b"RELOAD\n",)) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert text_server.state.reloads == 50
