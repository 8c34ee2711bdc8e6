"""Who may command a daemon: its own user and root, whatever the socket file's mode says."""

import os
import socket
import subprocess

import pytest

from daemonry.process import platform
from daemonry.transport import credentials
from daemonry.transport.connect import connect, listen

PATIENT_S = 10.0
CONNECT = """
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1].replace("@", "\\0"))
    sys.stdin.read()
"""


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


def peer_is(monkeypatch, uid):
    monkeypatch.setattr(platform, "peer_of", lambda sock: (1, uid, uid))


def test_the_peer_of_a_connection_is_known():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert platform.peer_of(ours) == (os.getpid(), os.geteuid(), os.getegid())


@pytest.mark.parametrize(
    ("ours", "theirs", "allowed"),
    [
        (1000, 1000, True),
        (1000, 0, True),
        (0, 0, True),
        (1000, 1001, False),
        (0, 1000, False),
        (1000, 65534, False),  # how a user without a mapping in our namespace appears (fact F13)
    ],
)
def test_its_user_and_root_may_command_a_daemon_and_nobody_else(pair, monkeypatch, ours, theirs, allowed):
    monkeypatch.setattr(os, "geteuid", lambda: ours)
    peer_is(monkeypatch, theirs)
    assert credentials.may_command(pair) is allowed


def test_a_peer_that_cannot_be_asked_may_not(pair, monkeypatch):
    monkeypatch.setattr(platform, "peer_of", _unknown)
    assert not credentials.may_command(pair)


def test_over_tcp_nobody_can_tell():
    """That is why TCP listens on loopback only."""
    with listen("tcp:127.0.0.1:0") as listener, connect(listener.endpoint, PATIENT_S):
        server, _ = listener.accept(PATIENT_S)
        with server, socket.socket(fileno=os.dup(server.fileno())) as sock:
            assert credentials.may_command(sock)


def test_who_is_there_is_told_to_people():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = credentials.peer_of(ours)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert str(peer) == f"pid {os.getpid()} uid {os.geteuid()}"


def test_who_cannot_be_told_is_nobody(pair, monkeypatch):
    with socket.socket() as over_tcp:
        assert credentials.peer_of(over_tcp) == credentials.Peer(None, None, None)
        assert str(credentials.peer_of(over_tcp)) == "tcp"
    monkeypatch.setattr(platform, "peer_of", _unknown)
    assert credentials.peer_of(pair) == credentials.Peer(-1, 0, -1)  # as the system says it


def _unknown(sock):
    raise OSError("no such peer")


@pytest.mark.parametrize("kind", ["a file of mode 0666", "a name without a file"])
def test_another_user_may_not_command_us_although_it_can_connect(as_nobody, tmp_path, kind):
    """Faults 24 and 26: a mode is changed in a moment, and an abstract socket has none."""
    for above in (tmp_path, *tmp_path.parents[:-2]):
        above.chmod(0o755)
    endpoint = f"{tmp_path}/x.sock" if "file" in kind.split()[1] else f"@{tmp_path.name}-{os.getpid()}"
    with listen(f"unix:{endpoint}") as listener:
        if endpoint.startswith("/"):
            os.chmod(endpoint, 0o666)
        with subprocess.Popen(as_nobody(CONNECT, endpoint), stdin=subprocess.PIPE) as other:
            stream, peer = listener.accept(PATIENT_S)
            with stream, socket.socket(fileno=os.dup(stream.fileno())) as sock:
                assert platform.peer_of(sock) == (other.pid, 65534, 65534)
                assert peer == f"unix:pid {other.pid} uid 65534"
                assert not credentials.may_command(sock)
