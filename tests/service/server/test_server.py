"""A server's life: bind, run, clean up; what it removes and what it leaves; and its file while it lives.

Requirements P1, P6, P7, P10, P13, P14; hard cases 4 and 13; faults 11, 13, 20 and 36.
"""

import asyncio
import gc
import logging
import os
import socket
import subprocess
import sys

import pytest

from daemonry.errors import AlreadyBound, EndpointInvalid, NotBound, SocketBindError, UnsafePath
from daemonry.process.place import Place
from daemonry.service.server.listener import socket_file
from daemonry.service.server.server import Server
from daemonry.testing import wait_until

STATUS = b'{"state":"monitoring"'


@pytest.fixture
def server(socket_path):
    made = Server(socket_path)
    yield made
    made.cleanup()


def leave_stale(path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def is_live(path):
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def warnings_in(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# --- binding --------------------------------------------------------------------------------------


def test_binding_makes_the_socket_and_clients_can_come(server, socket_path):
    """P1: they are answered once the server runs."""
    assert server.path == str(socket_path)
    assert not socket_path.exists()
    server.bind()
    assert is_live(socket_path)
    assert str(server.endpoint) == f"unix:{socket_path}"
    assert server.listener is not None


def test_binding_twice_is_an_error_and_changes_nothing(server, socket_path):
    """P10."""
    server.bind()
    before = socket_path.stat().st_ino
    with pytest.raises(AlreadyBound) as again:
        server.bind()
    assert again.value.endpoint == f"unix:{socket_path}"
    assert socket_path.stat().st_ino == before


def test_running_before_binding_is_an_error(server, socket_path):
    """P10."""
    with pytest.raises(NotBound) as early:
        asyncio.run(server.run(object(), asyncio.Event()))
    assert early.value.endpoint == f"unix:{socket_path}"


def test_after_cleaning_up_a_server_can_be_bound_again(server, socket_path):
    server.bind()
    server.cleanup()
    with pytest.raises(NotBound):
        asyncio.run(server.run(object(), asyncio.Event()))
    server.bind()
    assert is_live(socket_path)


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ("unix:/a/x.sock", "unix:/a/x.sock"),
        ("/a/x.sock", "unix:/a/x.sock"),
        ("tcp:localhost:0", "tcp:localhost:0"),
    ],
)
def test_an_endpoint_may_be_given_in_any_form(given, endpoint, tmp_path):
    """P13."""
    assert str(Server(given).endpoint) == endpoint
    assert str(Server(tmp_path / "x.sock").endpoint) == f"unix:{tmp_path}/x.sock"
    assert Server(tmp_path / "x.sock").path == str(tmp_path / "x.sock")


def test_what_is_no_endpoint_is_told_at_once():
    with pytest.raises(EndpointInvalid):
        Server("x.sock")


def test_the_default_path_is_the_daemons_place(sandbox):
    """P13, P15: in the user's runtime directory, which is made for us alone."""
    server = Server.at_default_path("palingenesis")
    assert (
        server.path
        == Place.of("palingenesis").socket_path
        == f"{sandbox.path}/run/palingenesis/palingenesis.sock"
    )
    server.bind()
    assert os.stat(os.path.dirname(server.path)).st_mode & 0o777 == 0o700
    assert os.stat(server.path).st_mode & 0o777 == 0o600
    server.cleanup()
    assert not os.path.exists(server.path)


def test_a_port_that_was_given_is_told():
    server = Server("tcp:127.0.0.1:0;open")
    server.bind()
    assert server.endpoint.number > 0
    server.cleanup()
    assert server.endpoint.number == 0


# --- what is in the way ---------------------------------------------------------------------------


def test_a_stale_socket_is_removed_with_one_line_in_the_log(server, socket_path, caplog):
    """P6."""
    leave_stale(socket_path)
    server.bind()
    assert warnings_in(caplog) == [f"removing the stale socket {socket_path}"]
    assert is_live(socket_path)


def test_a_live_daemon_stays_reachable_when_a_second_server_comes_and_goes(server, socket_path):
    """The original's first bug: the second one's clean-up removed the first one's socket."""
    server.bind()
    for leftovers in ("refuse", "replace"):
        second = Server(socket_path, leftovers=leftovers) if leftovers == "refuse" else Server(socket_path)
        with pytest.raises(SocketBindError, match="another process listens there"):
            second.bind()
        second.cleanup()
        del second
        gc.collect()
    assert is_live(socket_path)


def test_a_server_that_was_never_bound_removes_nothing(socket_path):
    socket_path.write_text("precious")
    server = Server(socket_path)
    server.cleanup()
    del server
    gc.collect()
    assert socket_path.read_text() == "precious"


def test_a_bind_that_fails_leaves_nothing_and_can_be_tried_again(server, socket_path):
    socket_path.write_text("in the way")
    with pytest.raises(SocketBindError, match="a regular file"):
        server.bind()
    socket_path.unlink()
    server.bind()
    assert is_live(socket_path)


def test_a_directory_that_is_not_safe_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(UnsafePath):
        Server(tmp_path / "x.sock").bind()


# --- cleaning up ----------------------------------------------------------------------------------


def test_cleaning_up_twice_is_no_error(server, socket_path):
    """P7."""
    server.bind()
    server.cleanup()
    server.cleanup()
    assert not socket_path.exists()
    assert server.listener is None


def test_the_socket_goes_with_the_object(socket_path):
    """P7: also when nobody cleaned up."""
    server = Server(socket_path)
    server.bind()
    assert socket_path.exists()
    del server
    gc.collect()
    assert not socket_path.exists()


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise ValueError"])
def test_the_socket_goes_with_the_process(socket_path, ending):
    script = f"""
import sys
from daemonry.service.server.server import Server
server = Server(sys.argv[1])
server.bind()
{ending}
"""
    subprocess.run([sys.executable, "-c", script, socket_path], capture_output=True, check=False)
    assert not socket_path.exists()


def test_cleaning_up_leaves_what_another_has_put_there(server, socket_path):
    server.bind()
    socket_path.unlink()
    socket_path.write_text("precious")
    server.cleanup()
    assert socket_path.read_text() == "precious"


# --- forked children ------------------------------------------------------------------------------


def test_a_forked_child_keeps_neither_listener_nor_connections(socket_path):
    """Fault 20 and fact F26: its client sees the end when the daemon dies, not when the child does."""
    script = """
import asyncio, os, sys, threading
from daemonry.service.server.server import Server

class Forking:
    async def pause(self):
        alive, lives = os.pipe()
        if os.fork() == 0:
            os.write(lives, b"x")
            os.read(0, 1)
            os._exit(0)
        os.read(alive, 1)
        print("forked", flush=True)
        await asyncio.sleep(60)

server = Server(sys.argv[1])
server.bind()
print("bound", flush=True)
asyncio.run(server.run(Forking(), asyncio.Event()))
"""
    words = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, socket_path]
    with (
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as daemon,
        socket.socket(socket.AF_UNIX) as client,
    ):
        assert daemon.stdout.readline() == "bound\n"
        client.settimeout(10)
        client.connect(str(socket_path))
        client.sendall(b"PAUSE\n")
        assert daemon.stdout.readline() == "forked\n"
        daemon.kill()
        assert client.recv(100) == b""
        assert wait_until(lambda: not is_live(socket_path))


# --- the file while the server lives --------------------------------------------------------------


def test_a_file_that_is_there_is_left_alone(text_server, socket_path):
    before = socket_path.stat().st_ino
    assert text_server.on_loop(text_server.server.check_file) is False
    assert socket_path.stat().st_ino == before


def test_a_file_that_was_deleted_comes_back(text_server, socket_path, caplog):
    """Fault 11, hard case 13: tmux, supervisor and their like stay as unreachable ghosts."""
    socket_path.unlink()
    assert text_server.on_loop(text_server.server.check_file) is True
    assert text_server.ask(b"STATUS\n").startswith(STATUS)
    assert socket_path.stat().st_mode & 0o777 == 0o600
    assert warnings_in(caplog) == [f"the socket file {socket_path} was gone; listening there again"]
    assert text_server.on_loop(text_server.server.check_file) is False


def test_whoever_had_connected_by_the_old_file_is_answered(serve_text, socket_path):
    """Also who waits in the old listener's queue at that moment."""
    server = serve_text()
    with server.connect() as before:
        assert wait_until(lambda: server.server.connections)

        def delete_and_check():
            queued = server.connect()
            queued.sendall(b"STATUS\n")
            socket_path.unlink()
            server.server.check_file()
            return queued

        with server.on_loop(delete_and_check) as queued:
            assert server.read_all(queued).startswith(STATUS)
        before.sendall(b"STATUS\n")
        assert server.read_all(before).startswith(STATUS)


def test_the_server_looks_by_itself(serve_text, socket_path, monkeypatch):
    monkeypatch.setattr(socket_file, "SOCKET_CHECK_S", 0.01)
    server = serve_text()
    for _ in range(3):
        socket_path.unlink()
        assert wait_until(lambda: socket_path.is_socket() and is_live(socket_path))
        assert server.ask(b"STATUS\n").startswith(STATUS)
    server.stop()
    assert not socket_path.exists()


def test_a_missing_directory_is_made_again(serve_text, tmp_path, monkeypatch):
    tmp_path.chmod(0o700)
    path = tmp_path / "run/x.sock"
    server = serve_text(endpoint=f"unix:{path}")
    path.unlink()
    path.parent.rmdir()
    assert server.on_loop(server.server.check_file)
    assert server.ask(b"STATUS\n").startswith(STATUS)


@pytest.mark.parametrize("leftovers", ["refuse", "replace"])
def test_anothers_live_socket_at_the_path_is_left_alone(serve_text, tmp_path, leftovers, monkeypatch, caplog):
    """It is told once, however often it is seen; and when the other goes, the place is taken back."""
    monkeypatch.setattr(socket_file, "SOCKET_CHECK_S", 0.01)
    tmp_path.chmod(0o700)
    path = tmp_path / "x.sock"
    server = serve_text(endpoint=f"unix:{path}", leftovers=leftovers)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "other"))
        other.listen()
        os.rename(tmp_path / "other", path)
        looks = []
        wait_for_change = socket_file._wait_for_change

        async def counted(bound, *, by_notice):
            looks.append(1)
            await wait_for_change(bound, by_notice=by_notice)

        monkeypatch.setattr(socket_file, "_wait_for_change", counted)
        assert wait_until(lambda: len(looks) > 5)
        told = [line for line in warnings_in(caplog) if "cannot be made again" in line]
        why = f"cannot listen at {path}: another process listens there"
        assert told == [f"the socket file is gone and cannot be made again: {why}"]
        assert is_live(path)
    assert wait_until(lambda: is_live(path))
    assert server.ask(b"STATUS\n").startswith(STATUS)


def test_anothers_file_at_the_path_stays_to_the_end(serve_text, socket_path):
    server = serve_text()
    socket_path.unlink()
    socket_path.write_text("precious")
    with pytest.raises(SocketBindError, match="a regular file"):
        server.on_loop(server.server.check_file)
    server.stop()
    assert socket_path.read_text() == "precious"


def test_a_server_without_a_file_has_none_to_look_after(serve_text):
    server = serve_text(endpoint="tcp:127.0.0.1:0;open")
    assert server.on_loop(server.server.check_file) is False


def test_a_socket_that_was_handed_over_is_not_bound_anew(serve_text, socket_path):
    """A service manager made it and looks after it; binding the descriptor again would close it."""
    with socket.socket(socket.AF_UNIX) as manager:
        manager.bind(str(socket_path))
        manager.listen()
        server = serve_text(endpoint=f"fd:{os.dup(manager.fileno())}")
        server.endpoint = f"unix:{socket_path}"
        for _ in range(3):
            assert server.on_loop(server.server.check_file) is False
            assert server.ask(b"STATUS\n").startswith(STATUS)
        socket_path.unlink()
        assert server.on_loop(server.server.check_file) is False
        server.stop()


def test_a_file_is_looked_after_before_the_server_runs(server, socket_path):
    server.bind()
    socket_path.unlink()
    assert server.check_file()
    assert is_live(socket_path)
    server.cleanup()
    assert not socket_path.exists()


# --- what a debugger shows ------------------------------------------------------------------------


def test_the_open_connections_report_their_state(serve_text):
    server = serve_text()
    with server.connect() as client:
        assert wait_until(lambda: server.server.connections)
        assert repr(server.server._connections) == "<Connections: 1 open, 0 fast, 1 silent>"
        client.sendall(b"STAT")
        assert wait_until(lambda: "0 silent" in repr(server.server._connections))
        (connection,) = server.server._connections._connections
        assert repr(connection) == "<TextConnection: waiting for a command>"
        client.sendall(b"US\n")
        assert server.read_all(client).startswith(STATUS)
    assert wait_until(lambda: repr(connection) == "<TextConnection: closed>")
