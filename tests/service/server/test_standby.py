"""Answering beside a loop that is stuck: noticed by waiting clients only, and handed back when it lives.

Hard case 2: the control plane answers while work is stuck.  Here without a daemon around it; the
test is the thread that ticks, and blocks the loop by a gate.
"""

import asyncio
import socket
import subprocess
import threading

import pytest

from daemonry.service.server import standby as standby_module
from daemonry.service.server.standby import Standby, frame_of, where
from daemonry.testing import wait_until
from daemonry.transport.connect import listen

TICK_S = 0.02


class Loop:
    """A loop in a thread, which the test can block."""

    def __init__(self):
        self.gate = threading.Event()
        self.blocked = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._started = threading.Event()
        self._thread.start()
        assert self._started.wait(10)

    def _run(self):
        self.loop = asyncio.new_event_loop()
        self.thread_id = threading.get_ident()
        self.loop.call_soon(self._started.set)
        self.loop.run_forever()
        self.loop.close()

    def block(self):
        self.loop.call_soon_threadsafe(self._wait_at_the_gate)
        assert self.blocked.wait(10)

    def _wait_at_the_gate(self):
        self.blocked.set()
        self.gate.wait(60)

    def stop(self):
        self.gate.set()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)


class State:
    def __init__(self, standby):
        self.standby = standby
        self.paused = False

    def get_status(self):
        return {"stuck": self.standby.stuck_for_s is not None, "at": self.standby.stuck_at()}

    def pause(self):
        self.paused = True


@pytest.fixture
def loop():
    made = Loop()
    yield made
    made.stop()


@pytest.fixture
def listener(socket_path):
    with listen(f"unix:{socket_path}") as made:
        yield made


@pytest.fixture
def standby(loop, listener):
    made = Standby(loop.loop, loop.thread_id, lambda: listener, State)
    yield made
    made.close()


@pytest.fixture
def client(socket_path):
    """A function that connects and says something."""
    made = []

    def connect(data=b""):
        sock = socket.socket(socket.AF_UNIX)
        made.append(sock)
        sock.settimeout(10)
        sock.connect(str(socket_path))
        if data:
            sock.sendall(data)
        return sock

    yield connect
    for sock in made:
        sock.close()


def take_over(standby, loop, client):
    """Block the loop, let a client wait, and tick until the standby serves."""
    loop.block()
    waiting = client(b"STATUS\n")
    standby.tick(TICK_S)
    standby.tick(TICK_S)
    assert standby.stuck_for_s is not None
    return waiting


def answer_of(sock, standby):
    """Tick until the client has its answer and the end."""
    received = []

    def ended():
        standby.tick(TICK_S)
        sock.setblocking(False)
        try:
            while piece := sock.recv(10_000):
                received.append(piece)
        except BlockingIOError:
            return False
        return True

    assert wait_until(ended)
    return b"".join(received)


def warnings_in(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "daemonry.standby"]


def test_a_loop_that_nobody_waits_for_is_not_asked_anything(standby, loop):
    """Free on the fast path: a blocked loop without clients hurts nobody."""
    loop.block()
    for _ in range(5):
        standby.tick(TICK_S)
    assert standby.stuck_for_s is None
    assert standby._asked_at_s is None


def test_a_loop_that_lives_is_left_to_its_work(standby, loop, client):
    """Clients were seen waiting, the loop was asked for a sign of life, and gave it."""
    client(b"STATUS\n")
    standby.tick(TICK_S)
    assert wait_until(standby._sign_of_life.is_set)
    standby.tick(TICK_S)
    assert standby.stuck_for_s is None


def test_a_stuck_loop_is_stood_in_for(standby, loop, client, caplog):
    waiting = take_over(standby, loop, client)
    reply = answer_of(waiting, standby)
    assert reply.startswith(b'{"stuck":true,"at":"test_standby.py:')
    assert b"in _wait_at_the_gate" in reply
    (told,) = warnings_in(caplog)
    assert told.startswith("the loop is stuck at test_standby.py:")


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"PAUSE\n", b"OK\n"),
        (b"ping\r\n", b"PONG\n"),
        (b"FLY\n", b"ERR: Unknown command: FLY\n"),
        (b"\xff\n", b"ERR: Command is not UTF-8\n"),
        (b"x" * 2000, b"ERR: Command too long: the limit is 1024 bytes\n"),
        (b"STOP\n", b"ERR: STOP is not supported by this daemon\n"),
    ],
)
def test_every_command_is_answered_as_ever(standby, loop, client, data, reply):
    take_over(standby, loop, client)
    assert answer_of(client(data), standby) == reply


def test_a_line_in_pieces_is_answered(standby, loop, client):
    take_over(standby, loop, client)
    slow = client(b"PI")
    standby.tick(TICK_S)
    slow.sendall(b"NG\n")
    assert answer_of(slow, standby) == b"PONG\n"


def test_clients_that_leave_or_break_off_do_no_harm(standby, loop, client):
    take_over(standby, loop, client)
    client().close()
    client(b"STAT").close()
    resetting = client(b"x" * 1000)
    standby.tick(TICK_S)
    resetting.close()
    half = client(b"PING")
    half.shutdown(socket.SHUT_WR)
    assert answer_of(half, standby) == b"PONG\n"
    assert wait_until(lambda: standby.tick(TICK_S) or not standby._clients)


def test_a_silent_client_is_told_at_its_deadline(standby, loop, client, monkeypatch):
    monkeypatch.setattr(standby_module, "FIRST_BYTE_TIMEOUT_S", 0.05)
    take_over(standby, loop, client)
    assert answer_of(client(), standby) == b"ERR: Connection timeout\n"


def test_another_user_is_refused(standby, loop, client, as_nobody, socket_path):
    socket_path.chmod(0o666)
    take_over(standby, loop, client)
    script = """
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1])
    print(sock.recv(100))
"""
    with subprocess.Popen(as_nobody(script, socket_path), stdout=subprocess.PIPE, text=True) as other:
        assert wait_until(lambda: standby.tick(TICK_S) or other.poll() is not None)
        assert other.stdout.read() == "b'ERR: Permission denied\\n'\n"


def test_without_descriptors_it_does_not_spin(standby, loop, client, listener, monkeypatch):
    naps = []
    take_over(standby, loop, client)
    with monkeypatch.context() as patched:
        patched.setattr(type(listener), "accept_socket", _no_more)
        patched.setattr(standby_module.clock, "sleep", naps.append)
        standby.tick(TICK_S)
    assert naps
    assert set(naps) == {0.01}


def _no_more(self):
    raise OSError(24, "Too many open files")


def test_the_loop_gets_its_clients_back_when_it_lives(standby, loop, client, caplog):
    take_over(standby, loop, client)
    idle = client()
    standby.tick(TICK_S)
    loop.gate.set()
    assert wait_until(standby._sign_of_life.is_set)
    standby.tick(TICK_S)
    assert standby.stuck_for_s is None
    assert idle.recv(10) == b""
    assert warnings_in(caplog)[-1].startswith("the loop answers again after ")
    standby.tick(TICK_S)
    assert standby._selector is None


def test_a_listener_that_is_gone_is_waited_for(loop, listener, client, monkeypatch):
    present = [listener]
    standby = Standby(loop.loop, loop.thread_id, lambda: present[0], State)
    take_over(standby, loop, client)
    naps = []
    with monkeypatch.context() as patched:
        patched.setattr(standby_module.clock, "sleep", naps.append)
        present[0] = None
        standby.tick(TICK_S)
    assert naps == [TICK_S]
    standby.close()
    standby.tick(TICK_S)


def test_a_closed_loop_is_the_end_and_not_stuck(listener, client):
    loop = asyncio.new_event_loop()
    loop.close()
    standby = Standby(loop, threading.get_ident(), lambda: listener, State)
    client(b"STATUS\n")
    for _ in range(3):
        standby.tick(TICK_S)
    assert standby.stuck_for_s is None


def test_where_a_thread_is_names_the_users_own_line():
    """Not the library's that called it, nor the standard library's that it called."""

    def users_function():
        return frame_of(threading.get_ident())

    assert where(users_function()).startswith("test_standby.py:")
    assert where(users_function()).endswith("in users_function")
    assert where(None) == "an unknown place"
    assert frame_of(None) is None
    assert frame_of(-1) is None


def test_where_only_the_library_is_running_its_innermost_line_is_named():
    frame = frame_of(threading.get_ident())
    while frame.f_back is not None:
        frame = frame.f_back
    assert where(frame).endswith(f"in {frame.f_code.co_name}")
