"""Who connects and speaks at once is heard as it comes in; all the same holds for those as for others."""

import socket
import time

import pytest

from daemonry import Fd, Interface
from daemonry.service.server.bounds import Bounds
from daemonry.service.server.first_byte import FirstByteWait

CALL = b'{"method":"org.example.fast.Ask","parameters":{}}\0'
REPLY = b'{"parameters":{"result":1}}\0'


class Asked(Interface, name="org.example.fast"):
    def ask(self) -> int:
        return 1


@pytest.fixture
def entered(monkeypatch):
    """Who had to wait for the first bytes."""
    waited = []
    enter = FirstByteWait.enter
    monkeypatch.setattr(FirstByteWait, "enter", lambda self, fast: (waited.append(fast), enter(self, fast)))
    return waited


@pytest.fixture
def speak(serving):
    """A function that connects and sends before the server can have accepted, and returns the socket."""
    made = []

    def speak(data, **options):
        server = serving(Asked(), **options)

        def connected():
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(10)
            sock.connect(server.endpoint.removeprefix("unix:"))
            sock.sendall(data)
            return sock

        made.append(server.on_loop(connected))  # the loop does nothing else meanwhile
        return made[-1], server

    yield speak
    for sock in made:
        sock.close()


def read_all(sock):
    found = b""
    while data := sock.recv(65536):
        found += data
    return found


def test_a_call_that_is_there_is_answered_without_waiting(speak, entered):
    sock, server = speak(CALL)
    assert sock.recv(65536) == REPLY
    sock.sendall(CALL)
    assert sock.recv(65536) == REPLY
    assert entered == []
    sock.close()
    server.on_loop(lambda: None)


def test_a_command_that_is_there_is_answered_without_waiting(speak, entered):
    sock, _ = speak(b"PING\n")
    assert read_all(sock) == b"PONG\n"
    assert entered == []


def test_half_a_line_that_is_there_is_waited_for(speak):
    sock, _ = speak(b"PI")
    sock.sendall(b"NG\n")
    assert read_all(sock) == b"PONG\n"


def test_half_a_line_that_is_there_has_the_time_of_a_line(speak):
    began_s = time.monotonic()
    sock, _ = speak(b"PI", limits=Bounds(first_byte_s=0.3))
    assert read_all(sock) == b"ERR: Connection timeout\n"
    assert time.monotonic() - began_s >= 0.29


def test_half_a_call_that_is_there_is_waited_for(speak):
    sock, _ = speak(CALL[:20])
    sock.sendall(CALL[20:] + CALL)
    sock.shutdown(socket.SHUT_WR)
    assert read_all(sock) == REPLY * 2


def test_a_call_and_its_end_that_are_there_are_answered(speak):
    """A command that ends its side as soon as it has asked."""
    sock, server = speak(CALL)
    sock.shutdown(socket.SHUT_WR)
    assert read_all(sock) == REPLY
    assert server.on_loop(lambda: server.server.connections) == 0


def test_who_says_nothing_waits_and_is_told(speak, entered):
    sock, _ = speak(b"", limits=Bounds(first_byte_s=0.05))
    assert read_all(sock) == b"ERR: Connection timeout\n"
    assert len(entered) == 1


def test_who_left_before_being_accepted_leaves_nothing(serving):
    server = serving(Asked())

    def come_and_go():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(server.endpoint.removeprefix("unix:"))
            sock.sendall(CALL)

    server.on_loop(come_and_go)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(server.endpoint.removeprefix("unix:"))
        sock.sendall(CALL)
        assert sock.recv(65536) == REPLY
        assert server.on_loop(lambda: server.server.connections) == 1


class Taking(Interface, name="org.example.taking"):
    def take(self, what: Fd) -> int:
        what.close()
        return 1


def test_text_in_two_pieces_stays_text_where_descriptors_may_come(serving):
    """What begins like a call is none behind the beginning of a line."""
    server = serving(Taking())
    for pieces, reply in (
        ((b"PI", b"NG\n"), b"PONG\n"),
        ((b"NOPE", b"{}\0\n"), b"ERR: Command has control characters in it\n"),
    ):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(server.endpoint.removeprefix("unix:"))
            for piece in pieces:
                sock.sendall(piece)
                server.on_loop(lambda: None)
            assert read_all(sock) == reply


def test_a_call_behind_blanks_is_a_call_where_descriptors_may_come(serving):
    server = serving(Taking())
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(server.endpoint.removeprefix("unix:"))
        sock.sendall(b" \r\n ")
        server.on_loop(lambda: None)
        sock.sendall(b'{"method":"org.varlink.service.GetInfo"}\0')
        assert b'"product":"test"' in sock.recv(65536)
