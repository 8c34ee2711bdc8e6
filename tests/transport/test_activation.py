"""Sockets that were handed over: listening, connected, or neither; and whose path stays whose."""

import os
import socket

import pytest

from daemonry.errors import NotListening, SocketBindError
from daemonry.process import platform
from daemonry.transport.connect import connect, listen

PATIENT_S = 10.0


@pytest.fixture(autouse=True, params=["SO_ACCEPTCONN", "without it"])
def asking(request, monkeypatch):
    """Not every system has the option that tells a listening socket from another (macOS)."""
    monkeypatch.setattr(platform, "HAS_ACCEPTCONN", request.param == "SO_ACCEPTCONN")


@pytest.fixture
def handed(socket_path):
    """A listening Unix socket as a service manager makes it, and its descriptor for us."""
    with socket.socket(socket.AF_UNIX) as manager:
        manager.bind(str(socket_path))
        manager.listen()
        yield os.dup(manager.fileno())


def test_a_listening_descriptor_is_listened_on(handed, socket_path):
    with listen(f"fd:{handed}") as listener:
        assert listener.endpoint.path == str(socket_path)
        with connect(f"unix:{socket_path}", PATIENT_S) as client:
            server, _ = listener.accept(PATIENT_S)
            with server:
                client.write(b"hello")
                assert server.read(timeout_s=PATIENT_S) == b"hello"


def test_a_path_that_was_bound_by_another_is_left_to_it(handed, socket_path):
    """Fact F7: Python 3.13 unlinked what systemd had bound (cpython#133354)."""
    listener = listen(f"fd:{handed}")
    assert listener.file_is_ours()
    listener.close()
    assert socket_path.is_socket()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handed)


def test_a_tcp_listener_may_be_handed_over():
    with (
        socket.create_server(("127.0.0.1", 0)) as manager,
        listen(f"fd:{os.dup(manager.fileno())}") as listener,
    ):
        assert str(listener.endpoint) == f"tcp:127.0.0.1:{manager.getsockname()[1]}"
        with connect(listener.endpoint, PATIENT_S):
            listener.accept(PATIENT_S)[0].close()


def test_a_listener_without_a_file_may_be_handed_over(socket_path):
    with socket.socket(socket.AF_UNIX) as manager:
        manager.bind("\0" + socket_path.name)
        manager.listen()
        with listen(f"fd:{os.dup(manager.fileno())}") as listener:
            assert str(listener.endpoint) == f"unix:@{socket_path.name}"


def test_a_connected_descriptor_is_a_stream():
    ours, theirs = socket.socketpair()
    with theirs, connect(f"fd:{ours.detach()}") as stream:
        theirs.sendall(b"hello")
        assert stream.read(timeout_s=PATIENT_S) == b"hello"


def test_what_was_handed_over_is_not_inherited_further(handed):
    """Fault 23: a service manager hands descriptors over without close-on-exec."""
    ours, theirs = socket.socketpair()
    for fd in (handed, ours.fileno()):
        os.set_inheritable(fd, True)
    with theirs, listen(f"fd:{handed}") as listener, connect(f"fd:{ours.detach()}") as stream:
        assert not os.get_inheritable(listener.fileno())
        assert not os.get_inheritable(stream.fileno())


OTHER_DESCRIPTORS = {
    "a file": lambda: os.open(os.devnull, os.O_RDONLY),
    "datagrams": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).detach(),
    "a socket without a connection": lambda: socket.socket(socket.AF_UNIX).detach(),
}


@pytest.mark.parametrize("use", [connect, listen])
@pytest.mark.parametrize("kind", OTHER_DESCRIPTORS)
def test_a_descriptor_that_is_neither_is_refused_and_stays_open(use, kind):
    """It is not ours: whoever named it by mistake may still need it."""
    if use is listen and not platform.HAS_ACCEPTCONN and "connection" in kind:
        pytest.skip("without SO_ACCEPTCONN the first accept tells")
    fd = OTHER_DESCRIPTORS[kind]()
    with pytest.raises(
        (NotListening, SocketBindError), match=rf"fd:{fd}: the descriptor is not a \w+ socket"
    ):
        use(f"fd:{fd}")
    os.close(fd)


def test_a_listening_descriptor_is_no_stream(handed):
    with pytest.raises(NotListening, match="the descriptor is not a connected socket"):
        connect(f"fd:{handed}")
    os.close(handed)


def test_a_connected_descriptor_is_no_listener():
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(SocketBindError, match="the descriptor is not a listening socket"):
        listen(f"fd:{ours.fileno()}")


@pytest.mark.parametrize("use", [connect, listen])
def test_a_descriptor_that_is_not_open_is_refused(use):
    with pytest.raises(
        (NotListening, SocketBindError), match=r"fd:999999: the descriptor is not a \w+ socket"
    ):
        use("fd:999999")
