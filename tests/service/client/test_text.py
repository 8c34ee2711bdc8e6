"""The blocking client: one command, one answer, one deadline; and after a failure, did it run?

P21, M5; hard case 11; facts F14 and F15; HARD-CASES' outcome contract.
"""

import os
import socket
import threading
import time

import pytest

from daemonry.errors import (
    BadFrame,
    ConnectionLost,
    DeadlineExceeded,
    FrameTooLarge,
    NotListening,
    StaleSocket,
)
from daemonry.limits import MAX_REPLY_BYTES
from daemonry.service.client import text
from daemonry.service.client.text import request
from daemonry.testing import wait_until
from daemonry.transport.endpoint import Endpoint
from daemonry.wire.text import COMMANDS, TextReply

AGAIN = {word for word, spec in COMMANDS.items() if spec.idempotent}


class Scripted:
    """A server that treats each connection as its script says: a function of the accepted socket."""

    def __init__(self, path, *scripts):
        self.endpoint = f"unix:{path}"
        self.heard = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._run, args=scripts)
        self._thread.start()

    def _run(self, *scripts):
        for script in scripts:
            sock, _ = self._listener.accept()
            with sock:
                script(self, sock)

    def hear(self, sock):
        self.heard.append(sock.recv(1000))

    def stop(self):
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._listener.close()


@pytest.fixture
def scripted(socket_path):
    made = []

    def start(*scripts):
        made.append(Scripted(socket_path, *scripts))
        return made[-1]

    yield start
    for one in made:
        one.stop()


def says(*pieces):
    """A script: hear the command, answer in these pieces."""

    def run(server, sock):
        server.hear(sock)
        for piece in pieces:
            sock.sendall(piece)

    return run


def hangs_up(server, sock):
    server.hear(sock)


def hangs_up_unheard(server, sock):
    """Closing over unread bytes resets the connection."""
    assert wait_until(lambda: sock.recv(1, socket.MSG_PEEK))


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"OK\n", TextReply.ok()),
        (b"OK: needs a restart\n", TextReply.ok("needs a restart")),
        (b"ERR: Daemon already paused\n", TextReply.error("Daemon already paused")),
        (b'{"state":"paused"}\n', TextReply.status({"state": "paused"})),
        (b"PONG\n", TextReply.text("PONG")),
    ],
)
def test_a_command_is_sent_and_its_answer_returned(scripted, line, reply):
    """An ERR is an answer, not an exception: the caller decides what it means."""
    server = scripted(says(line))
    assert request(server.endpoint, "PAUSE") == reply
    assert server.heard == [b"PAUSE\n"]


def test_an_endpoint_may_be_a_value(scripted, socket_path):
    scripted(says(b"PONG\n"))
    assert request(Endpoint.unix(str(socket_path)), "PING") == TextReply.text("PONG")


def test_an_answer_may_come_in_pieces(scripted):
    server = scripted(says(b'{"sta', b'te":', b'"paused"}', b"\n"))
    assert request(server.endpoint, "STATUS").fields == {"state": "paused"}


def test_an_answer_ends_at_its_line(scripted):
    """A server that does not close, or says more, is not waited for."""
    server = scripted(lambda server, sock: (says(b"OK\nand more")(server, sock), sock.recv(1)))
    assert request(server.endpoint, "PAUSE", 5.0) == TextReply.ok()


def test_nobody_there_is_told_at_once(socket_path):
    with pytest.raises(NotListening):
        request(f"unix:{socket_path}", "STATUS")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))
    with pytest.raises(StaleSocket):
        request(f"unix:{socket_path}", "STATUS")


# --- the deadline -----------------------------------------------------------------------------------


@pytest.mark.parametrize("word", COMMANDS)
def test_a_daemon_that_does_not_answer_is_given_up_at_the_deadline(scripted, word):
    """Fact F15: a stopped daemon accepts and reads like any other; only the answer never comes."""
    server = scripted(lambda server, sock: (server.hear(sock), sock.recv(1)))
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded) as late:
        request(server.endpoint, word, 0.05)
    assert 0.05 <= time.monotonic() - started < 5.0
    assert (late.value.phase, late.value.timeout_s, late.value.subject) == ("reply", 0.05, server.endpoint)
    assert late.value.ran == ("no" if word in AGAIN else "maybe")


def test_an_answer_that_trickles_does_not_move_the_deadline(scripted):
    def trickle(server, sock):
        server.hear(sock)
        try:
            while True:
                sock.sendall(b"x")
        except OSError:
            return

    server = scripted(trickle)
    with pytest.raises((DeadlineExceeded, FrameTooLarge)):
        request(server.endpoint, "STATUS", 0.05)


def test_a_busy_daemon_is_told_apart_from_one_that_does_not_answer(socket_path):
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(str(socket_path))
        busy.listen(0)
        first.connect(str(socket_path))
        with pytest.raises(DeadlineExceeded) as late:
            request(f"unix:{socket_path}", "PAUSE", 0.05)
    assert (late.value.phase, late.value.ran) == ("connect", "no")


# --- a daemon that goes away ------------------------------------------------------------------------


@pytest.mark.parametrize("leaves", [hangs_up, hangs_up_unheard])
def test_what_changes_nothing_is_asked_once_more(scripted, leaves):
    """A daemon that restarts between our two calls is a daemon that answers."""
    server = scripted(leaves, says(b"PONG\n"))
    assert request(server.endpoint, "PING") == TextReply.text("PONG")


@pytest.mark.parametrize("leaves", [hangs_up, hangs_up_unheard])
def test_and_not_more_often_than_that(scripted, leaves):
    server = scripted(leaves, leaves)
    with pytest.raises(ConnectionLost) as lost:
        request(server.endpoint, "STATUS")
    assert lost.value.ran == "maybe"


@pytest.mark.parametrize("word", [*sorted(set(COMMANDS) - AGAIN), "MY_OWN"])
def test_what_may_have_run_is_not_sent_again(scripted, word):
    """Fact F14: end of file, reset and EPIPE say nothing about what was done."""
    server = scripted(hangs_up)
    with pytest.raises(ConnectionLost) as lost:
        request(server.endpoint, word)
    assert (lost.value.ran, lost.value.endpoint) == ("maybe", server.endpoint)
    assert server.heard == [word.encode() + b"\n"]


def test_an_answer_that_breaks_off_is_a_lost_connection(scripted):
    server = scripted(says(b'{"state":'))
    with pytest.raises(ConnectionLost):
        request(server.endpoint, "RELOAD")


def test_a_refusal_before_our_line_was_read_is_heard(scripted, monkeypatch):
    """A server that is full, or not for us, answers and closes at once; our line then finds it gone."""
    connect = text.connect

    def connect_and_dawdle(endpoint, timeout_s):
        stream = connect(endpoint, timeout_s)
        gone.wait(10)
        return stream

    gone = threading.Event()
    monkeypatch.setattr(text, "connect", connect_and_dawdle)
    server = scripted(
        lambda server, sock: (sock.sendall(b"ERR: Permission denied\n"), sock.close(), gone.set())
    )
    assert request(server.endpoint, "PAUSE") == TextReply.error("Permission denied")


# --- what is no answer ------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [b"\xff\n", b'{"a":1,"a":2}\n', b'{"a":NaN}\n', b"{\n"])
def test_an_answer_of_another_protocol_is_an_error_of_the_protocol(scripted, answer):
    server = scripted(says(answer))
    with pytest.raises(BadFrame):
        request(server.endpoint, "RELOAD")


def test_an_answer_without_end_is_cut_off(scripted):
    """Fault 3, from the other side: memory is bounded whatever the daemon says."""

    def flood(server, sock):
        server.hear(sock)
        try:
            while True:
                sock.sendall(b"x" * 65536)
        except OSError:
            return

    server = scripted(flood)
    with pytest.raises(FrameTooLarge) as too_large:
        request(server.endpoint, "STATUS", 10.0)
    assert too_large.value.limit_bytes == MAX_REPLY_BYTES


def test_an_answer_at_the_limit_is_read(scripted):
    line = b"x" * (MAX_REPLY_BYTES - 1) + b"\n"
    server = scripted(says(line))
    assert len(request(server.endpoint, "STATUS", 10.0).message) == MAX_REPLY_BYTES - 1


def test_no_descriptor_is_left_however_a_request_ends(scripted):
    server = scripted(
        says(b"OK\n"), hangs_up, says(b"\xff\n"), lambda server, sock: (server.hear(sock), sock.recv(1))
    )
    before = len(os.listdir("/proc/self/fd"))
    request(server.endpoint, "PAUSE")
    for error in (ConnectionLost, BadFrame, DeadlineExceeded):
        with pytest.raises(error):
            request(server.endpoint, "PAUSE", 0.05 if error is DeadlineExceeded else 5.0)
    server.stop()
    assert len(os.listdir("/proc/self/fd")) <= before
