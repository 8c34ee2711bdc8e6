"""TCP: names and ports, and that nobody beyond this machine is let in by accident."""

import errno
import socket
import subprocess
import sys

import pytest

from daemonry.clock import Deadline
from daemonry.errors import (
    AccessDenied,
    ConnectError,
    ConnectionRefused,
    DeadlineExceeded,
    EndpointInvalid,
    NotListening,
    SocketBindError,
)
from daemonry.transport import tcp
from daemonry.transport.connect import connect, listen, try_connect
from daemonry.transport.endpoint import Endpoint

PATIENT_S = 10.0


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "[::ffff:127.0.0.1]", "192.0.2.1"])
def test_an_address_that_others_can_reach_is_refused(host):
    """TCP tells nothing about who connects; binding wide is a decision, never a default."""
    with pytest.raises(SocketBindError, match="other machines could reach it"):
        listen(f"tcp:{host}:0")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_a_loopback_address_is_taken(host):
    with listen(f"tcp:{host}:0") as listener:
        assert listener.endpoint.local
        with connect(listener.endpoint, PATIENT_S):
            listener.accept(PATIENT_S)[0].close()


def test_the_wide_world_is_let_in_when_it_is_asked_for():
    with listen("tcp:0.0.0.0:0", beyond_loopback=True) as listener:
        connect(f"tcp:127.0.0.1:{listener.endpoint.number}", PATIENT_S).close()
        listener.accept(PATIENT_S)[0].close()


def test_port_nought_becomes_a_number():
    with listen("tcp:127.0.0.1:0") as one, listen("tcp:127.0.0.1:0") as other:
        assert 0 < one.endpoint.number != other.endpoint.number > 0
        assert str(one.endpoint) == f"tcp:127.0.0.1:{one.endpoint.number}"


def test_a_foreign_listener_on_the_port_is_told():
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        with pytest.raises(
            SocketBindError, match=f"cannot listen at tcp:127.0.0.1:{port}: Address already in use"
        ):
            listen(f"tcp:127.0.0.1:{port}")


def test_a_port_that_nobody_listens_on_is_refused():
    with pytest.raises(ConnectionRefused, match="nobody listens at tcp:127") as refused:
        connect(f"tcp:127.0.0.1:{free_port()}")
    assert refused.value.errno == errno.ECONNREFUSED
    assert not isinstance(refused.value, NotListening)
    assert try_connect(f"tcp:127.0.0.1:{free_port()}") is None


@pytest.mark.parametrize("use", [connect, listen])
@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 300])
def test_a_host_that_is_not_known_is_told(use, host):
    with pytest.raises(EndpointInvalid, match="the host is not known"):
        use(f"tcp:{host}:80")


def test_each_address_of_a_name_is_tried(monkeypatch):
    """`localhost` is often ::1 first, where nobody listens."""
    with listen("tcp:127.0.0.1:0") as listener:
        port = listener.endpoint.number
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", free_port())),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(tcp._socket, "getaddrinfo", lambda *arguments: found)
        with connect(f"tcp:somewhere:{port}", PATIENT_S):
            listener.accept(PATIENT_S)[0].close()


def test_no_time_is_a_deadline_and_not_a_refusal():
    with listen("tcp:127.0.0.1:0") as listener, pytest.raises(DeadlineExceeded) as late:
        connect(listener.endpoint, 0.0)
    assert (late.value.phase, late.value.ran) == ("connect", "no")


def test_an_address_that_answers_nothing_ends_at_the_deadline(monkeypatch):
    """The others of the name are not tried once there is no time left."""
    with listen("tcp:127.0.0.1:0") as listener:
        address = ("127.0.0.1", listener.endpoint.number)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)] * 1000
        tried = []
        monkeypatch.setattr(tcp._socket, "getaddrinfo", lambda *arguments: found)
        monkeypatch.setattr(tcp, "Socket", lambda *kind: tried.append(kind) or socket.socket(*kind))
        with pytest.raises(DeadlineExceeded):
            connect("tcp:somewhere:80", 0.0)
    assert len(tried) == 1


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EACCES, AccessDenied), (errno.EPERM, AccessDenied), (errno.ENETUNREACH, ConnectError)],
)
def test_what_the_system_says_is_kept(number, kind):
    """A firewall that forbids is not an absent daemon (hard case 5)."""
    error = tcp._why_not(Endpoint.parse("tcp:host:1"), Deadline(1.0), OSError(number, "why"))
    assert type(error) is kind
    assert error.errno == number
    assert "tcp:host:1" in str(error)


def test_small_messages_are_not_held_back():
    """Nagle's delay would add 40 ms to each reply."""
    with listen("tcp:127.0.0.1:0") as listener, connect(listener.endpoint, PATIENT_S) as client:
        server, _ = listener.accept(PATIENT_S)
        with server:
            for stream in (client, server):
                with socket.socket(fileno=socket.dup(stream.fileno())) as copy:
                    assert copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_forked_child_does_not_keep_the_port():
    """Fault 20."""
    script = """
import os
from daemonry.errors import ConnectionRefused
from daemonry.transport.connect import connect, listen
listener = listen("tcp:127.0.0.1:0")
hold, release = os.pipe()
alive, lives = os.pipe()
child = os.fork()
if child == 0:
    os.close(release)
    os.write(lives, b"x")
    os.read(hold, 1)
    os._exit(0)
os.read(alive, 1)
listener.close()
try:
    connect(listener.endpoint)
except ConnectionRefused:
    print("free")
os.close(release)
os.waitpid(child, 0)
"""
    words = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]
    assert subprocess.check_output(words, text=True) == "free\n"
