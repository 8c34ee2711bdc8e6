"""One command to many daemons at the same time, by one thread."""

import socket
import threading
import time

import pytest

from daemonry import errors
from daemonry.limits import MAX_REPLY_BYTES, ROLL_CALL_CONNECTIONS
from daemonry.service.client import roll_call
from daemonry.service.client.roll_call import ask_each
from daemonry.transport.endpoint import Endpoint
from daemonry.transport.unix_connect import connect


@pytest.fixture
def listen(tmp_path):
    """A function that lets somebody listen, who does as told with what comes, and returns the endpoint."""
    socks, threads = [], []

    def serve(sock, does):
        try:
            connection, _ = sock.accept()
        except OSError:
            return
        with connection:
            asked = connection.recv(100)
            assert asked in (b"STATUS\n", b"PING\n")
            does(connection)

    def begin(does=None, backlog=8):
        path = tmp_path / f"{len(socks)}.sock"
        sock = socket.socket(socket.AF_UNIX)
        socks.append(sock)
        sock.bind(str(path))
        sock.listen(backlog)
        if does is not None:
            thread = threading.Thread(target=serve, args=(sock, does))
            threads.append(thread)
            thread.start()
        return Endpoint.unix(str(path))

    yield begin
    for sock in socks:
        sock.shutdown(socket.SHUT_RDWR)
        sock.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def says(*pieces):
    def does(connection):
        for piece in pieces:
            connection.sendall(piece)

    return does


def test_each_has_its_own_answer_in_the_order_in_which_they_were_named(listen):
    came = threading.Event()

    def last(connection):
        assert came.wait(10)
        connection.sendall(b"first\n")

    def first(connection):
        connection.sendall(b'{"state":"running"}\n')
        came.set()

    replies = ask_each([listen(last), listen(first), listen(says(b"in ", b"pieces\n"))], "STATUS", 10.0)
    assert [reply.message or reply.fields for reply in replies] == [
        "first",
        {"state": "running"},
        "in pieces",
    ]


def test_nobody_is_asked():
    assert ask_each([], "STATUS", 1.0) == []


@pytest.mark.parametrize(
    "said",
    [b"", b"no end of line", b"{broken\n", b"\xff\n", b"x" * (MAX_REPLY_BYTES + 1)],
    ids=["nothing", "half a line", "not JSON", "not UTF-8", "too much"],
)
def test_whoever_answers_nothing_of_use_hides_nobody(listen, said):
    def does(connection):
        try:
            connection.sendall(said)
        except OSError:
            pass  # hung up on: it says too much

    odd, whole = ask_each([listen(does), listen(says(b"PONG\n"))], "PING", 10.0)
    assert odd is None
    assert whole.message == "PONG"


def test_nobody_there_another_kind_of_endpoint_and_a_full_backlog_are_left_to_the_caller(listen, tmp_path):
    full = listen(backlog=0)
    waiting = []
    while True:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        waiting.append(one)
        try:
            one.connect(full.address)
        except BlockingIOError:
            break
    (tmp_path / "stale.sock").touch()
    endpoints = [
        Endpoint.unix(str(tmp_path / "gone.sock")),
        Endpoint.unix(str(tmp_path / "stale.sock")),
        Endpoint.parse("tcp:127.0.0.1:1"),
        full,
        listen(says(b"PONG\n")),
    ]
    *left, last = ask_each(endpoints, "PING", 10.0)
    assert left == [None] * 4
    assert last.message == "PONG"
    for one in waiting:
        one.close()


def test_whoever_is_silent_is_told_from_nobody_and_waited_for_once(listen):
    heard = threading.Event()
    endpoints = [listen(lambda connection: heard.wait(10)) for _ in range(3)]
    begun_s = time.monotonic()
    silent = ask_each([*endpoints, listen(says(b"PONG\n"))], "PING", 0.3)
    took_s = time.monotonic() - begun_s
    heard.set()
    assert [type(one) for one in silent[:3]] == [errors.DeadlineExceeded] * 3
    assert {(one.phase, one.ran) for one in silent[:3]} == {("reply", "no")}
    assert silent[3].message == "PONG"
    assert took_s >= 0.3


def test_more_than_may_be_open_at_once_are_asked_and_none_stays_open(listen):
    many = [listen(says(f"{number}\n".encode())) for number in range(2 * ROLL_CALL_CONNECTIONS + 3)]
    replies = ask_each(many, "STATUS", 10.0)
    assert [reply.message for reply in replies] == [str(number) for number in range(len(many))]


def test_no_connection_stays_open_after_an_error(listen, monkeypatch):
    opened = []

    def connected(endpoint, timeout_s):
        opened.append(connect(endpoint, timeout_s))
        return opened[-1]

    monkeypatch.setattr(roll_call, "connect", connected)
    monkeypatch.setattr(roll_call.text, "read_reply", lambda line: 1 / 0)
    heard = threading.Event()
    endpoints = [listen(says(b"PONG\n")), listen(lambda connection: heard.wait(10))]
    with pytest.raises(ZeroDivisionError):
        ask_each(endpoints, "PING", 10.0)
    heard.set()
    assert [stream.fileno() for stream in opened] == [-1, -1]
