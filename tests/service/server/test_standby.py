"""Answering beside a loop that is stuck: noticed by waiting clients only, and handed back when it lives.

Hard case 2: the control plane answers while work is stuck.  Here without a daemon around it; the
test is the thread that ticks, and blocks the loop by a gate.  Calls wait for the loop, and none is lost:
`tests/daemon/test_stuck_calls.py` has the same with a whole daemon.
"""

import asyncio
import socket
import subprocess
import threading
from time import monotonic

import pytest

from daemonry.clock import Deadline
from daemonry.service.interface.declare import Interface
from daemonry.service.server import standby as standby_module
from daemonry.service.server.bounds import Bounds
from daemonry.service.server.dispatch import Calls
from daemonry.service.server.held import HeldConnection
from daemonry.service.server.server import Server
from daemonry.service.server.standby import Standby
from daemonry.testing import wait_until

TICK_S = 0.02


class Loop:
    """A loop in a thread, which the test can block."""

    def __init__(self, new_loop=asyncio.new_event_loop):
        self._new_loop = new_loop
        self.gate = threading.Event()
        self.blocked = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._started = threading.Event()
        self._thread.start()
        assert self._started.wait(10)

    def _run(self):
        self.loop = self._new_loop()
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
    def __init__(self, standby=None):
        self.standby = standby
        self.paused = False

    def get_status(self):
        if self.standby is None:
            return {"stuck": False}
        return {"stuck": self.standby.stuck_for_s is not None, "at": self.standby.stuck_at()}

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False

    def reload_config(self):
        return None


class Echo(Interface, name="org.example.Echo"):
    """What the calls of these tests call."""

    def __init__(self):
        self.said = []

    def say(self, text: str) -> str:
        self.said.append(text)
        return text


def call(text):
    return b'{"method":"org.example.Echo.Say","parameters":{"text":"%s"}}\0' % text.encode()


def reply(text):
    return b'{"parameters":{"result":"%s"}}\0' % text.encode()


OVERLOADED = b'{"parameters":{"limit":8},"error":"org.daemonry.Control.Overloaded"}\0'
DRAINING = b'{"parameters":{},"error":"org.daemonry.Control.Draining"}\0'


@pytest.fixture
def loop():
    made = Loop()
    yield made
    made.stop()


@pytest.fixture
def echo():
    return Echo()


@pytest.fixture
def bounds():
    return Bounds()


@pytest.fixture
def server(loop, socket_path, echo, bounds):
    """A server that the loop runs."""
    calls = Calls()
    calls.serve(echo)
    made = Server(str(socket_path), calls=calls, limits=bounds)
    made.bind()

    async def begin():
        cancel = asyncio.Event()
        return cancel, asyncio.ensure_future(made.run(State(), cancel))

    async def end(cancel, running):
        cancel.set()
        await running

    cancel, running = asyncio.run_coroutine_threadsafe(begin(), loop.loop).result(10)
    yield made
    loop.gate.set()
    asyncio.run_coroutine_threadsafe(end(cancel, running), loop.loop).result(10)
    made.cleanup()


@pytest.fixture
def standby(loop, server):
    made = Standby(loop.loop, loop.thread_id, server, State)
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


def test_a_loop_that_lives_is_left_to_its_work(standby, monkeypatch):
    """Clients were seen waiting, the loop was asked for a sign of life, and gave it."""
    monkeypatch.setattr(standby, "_clients_wait", lambda: True)
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
    assert wait_until(lambda: standby.tick(TICK_S) or not len(standby._server.held))


def test_who_does_not_finish_a_line_is_told_at_the_deadline(standby, loop, client):
    take_over(standby, loop, client)
    slow = client(b"STAT")
    standby.tick(TICK_S)
    (waiting,) = [one for one in standby._server.held if not one.is_silent]
    waiting.first_byte = Deadline(0.0)
    assert answer_of(slow, standby) == b"ERR: Connection timeout\n"


def test_who_said_nothing_yet_waits_for_the_loop_and_is_answered_there(standby, loop, client, server):
    """The loop could not have heard it; its five seconds begin when it can."""
    take_over(standby, loop, client)
    silent = client()
    expire_all(standby, server, count=1)
    free(standby, loop)
    silent.sendall(call("late"))
    assert received(silent) == reply("late")


def expire_all(standby, server, count):
    """Tick until so many wait, then have their deadlines pass."""
    assert wait_until(lambda: standby.tick(TICK_S) or len(server.held) >= count)
    for one in server.held:
        one.first_byte = Deadline(0.0)
    standby.tick(TICK_S)


def free(standby, loop):
    """Let the loop go on, and tick until that was noticed."""
    loop.gate.set()
    assert wait_until(lambda: standby.tick(TICK_S) or standby.stuck_for_s is None)


def received(sock):
    """What comes next on a connection, up to the end of a frame or of the stream."""
    sock.setblocking(True)
    sock.settimeout(10)
    data = b""
    while not data.endswith(b"\0") and (piece := sock.recv(10_000)):
        data += piece
    return data


def test_calls_wait_for_the_loop_unread_and_each_runs_once(standby, loop, client, server, echo):
    """Also one that comes in pieces, and many."""
    take_over(standby, loop, client)
    callers = {str(n): client(call(str(n))) for n in range(120)}
    pieces = client(call("pieces")[:20])
    assert wait_until(lambda: standby.tick(TICK_S) or len(server.held) == 121)
    assert echo.said == []
    pieces.sendall(call("pieces")[20:])
    assert answer_of(client(b"PING\n"), standby) == b"PONG\n"
    free(standby, loop)
    assert {text: received(sock) for text, sock in callers.items()} == {text: reply(text) for text in callers}
    assert received(pieces) == reply("pieces")
    assert sorted(echo.said) == sorted([*callers, "pieces"])


def test_a_call_that_was_sent_without_waiting_for_an_answer_runs(standby, loop, client, server, echo):
    """Its sender is gone long before the loop is back."""
    take_over(standby, loop, client)
    gone = client(call("gone")[:-2] + b',"oneway":true}\0')
    gone.close()
    standby.tick(TICK_S)
    free(standby, loop)
    assert wait_until(lambda: echo.said == ["gone"])


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\n", b"P", b"[]\0", b"\xef\xbb"])
def test_what_is_no_command_is_left_to_the_loop(standby, loop, client, server, data):
    """HTTP, what may yet become something, and what is no frame: the loop has an answer to each."""
    take_over(standby, loop, client)
    other = client(data)
    assert wait_until(lambda: standby.tick(TICK_S) or len(server.held) == 1)
    for _ in range(3):
        standby.tick(TICK_S)
    assert len(server.held) == 1
    other.setblocking(False)
    with pytest.raises(BlockingIOError):
        other.recv(1)
    free(standby, loop)
    other.shutdown(socket.SHUT_WR)
    assert received(other)


def test_a_client_whose_loop_came_back_in_the_middle_of_a_line_goes_on(standby, loop, client, server):
    take_over(standby, loop, client)
    slow = client(b"PI")
    assert wait_until(lambda: standby.tick(TICK_S) or len(server.held) == 1)
    free(standby, loop)
    slow.sendall(b"NG\n")
    assert received(slow) == b"PONG\n"


class TestWhereThereIsLittleRoom:
    @pytest.fixture
    def bounds(self):
        return Bounds(connections=8)

    def test_commands_find_room_and_calls_are_refused_as_such(self, standby, loop, client, server, echo):
        """Six for calls, two for the control plane; a caller knows that nothing ran."""
        take_over(standby, loop, client)
        callers = [client(call(str(n))) for n in range(6)]
        assert wait_until(lambda: standby.tick(TICK_S) or len(server.held) == 6)
        assert answer_of(client(call("one too many")), standby) == OVERLOADED
        assert answer_of(client(b"PING\n"), standby) == b"PONG\n"
        free(standby, loop)
        assert [received(sock) for sock in callers] == [reply(str(n)) for n in range(6)]
        assert "one too many" not in echo.said

    def test_a_full_house_says_so_to_each_in_its_dialect(self, standby, loop, client, server):
        take_over(standby, loop, client)
        silent = [client() for _ in range(8)]
        assert wait_until(lambda: standby.tick(TICK_S) or len(server.held) == 8)
        assert answer_of(client(call("x")), standby) == OVERLOADED
        assert answer_of(client(), standby) == b"ERR: Too many connections\n"
        free(standby, loop)
        silent[0].sendall(call("in"))
        assert received(silent[0]) == reply("in")

    def test_who_said_nothing_in_time_makes_room(self, standby, loop, client, server):
        take_over(standby, loop, client)
        silent = [client() for _ in range(8)]
        expire_all(standby, server, count=8)
        assert [answer_of(sock, standby) for sock in silent] == [b"ERR: Connection timeout\n"] * 8
        caller = client(call("x"))
        free(standby, loop)
        assert received(caller) == reply("x")


def test_the_end_refuses_whoever_waits_so_that_they_know(standby, loop, client, server, echo):
    """Those who are in, and those at the listener: the loop will come to neither."""
    take_over(standby, loop, client)
    inside = client(call("inside"))
    silent = client()
    assert wait_until(lambda: standby.tick(TICK_S) or len(server.held) == 2)
    outside = client(call("outside"))
    standby.refuse_all(also_at_listener=True)
    assert [received(sock) for sock in (inside, outside, silent)] == [DRAINING, DRAINING, b""]
    assert len(server.held) == 0
    assert standby.stuck_for_s is None


def test_a_loop_that_is_stuck_again_at_once_keeps_nobody_else(standby, loop, client, server, echo):
    """The first call that it takes back blocks it again; the others are held, and commands answered."""
    gate = threading.Event()
    take_over(standby, loop, client)
    callers = [client(call(str(n))) for n in range(3)]
    assert wait_until(lambda: standby.tick(TICK_S) or len(server.held) == 3)
    loop.loop.call_soon_threadsafe(gate.wait, 20)
    loop.gate.set()
    assert wait_until(lambda: standby.tick(TICK_S) or len(server.held) < 3)
    assert answer_of(client(b"PING\n"), standby) == b"PONG\n"
    gate.set()
    assert [received(sock) for sock in callers] == [reply(str(n)) for n in range(3)]
    assert sorted(echo.said) == ["0", "1", "2"]


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


def test_without_descriptors_it_does_not_spin(standby, loop, client, server, monkeypatch):
    naps = []
    take_over(standby, loop, client)
    with monkeypatch.context() as patched:
        patched.setattr(type(server.listener), "accept_socket", _no_more)
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
    idle.sendall(b"STATUS\n")
    assert received(idle) == b'{"stuck":false}\n'
    assert warnings_in(caplog)[-1].startswith("the loop answers again after ")
    standby.tick(TICK_S)
    assert standby._clients._selector is None


def test_a_listener_that_is_gone_is_waited_for(standby, loop, server, client, monkeypatch):
    take_over(standby, loop, client)
    naps = []
    with monkeypatch.context() as patched:
        patched.setattr(standby_module.clock, "sleep", naps.append)
        patched.setattr(type(server), "listener", None)
        standby.tick(TICK_S)
    assert naps == [TICK_S]
    standby.close()
    standby.tick(TICK_S)


def test_a_closed_loop_is_the_end_and_not_stuck(socket_path, client):
    loop = asyncio.new_event_loop()
    loop.close()
    server = Server(str(socket_path))
    server.bind()
    standby = Standby(loop, threading.get_ident(), server, State)
    client(b"STATUS\n")
    for _ in range(3):
        standby.tick(TICK_S)
    assert standby.stuck_for_s is None
    server.cleanup()


def test_who_is_held_when_the_server_ends_is_refused(socket_path, client):
    """The loop is back only to end."""
    server = Server(str(socket_path), calls=Calls())
    server.bind()
    caller = client(call("x"))
    sock = server.listener.accept_socket()
    sock.setblocking(False)
    server.held.add(HeldConnection(sock, Deadline(5.0)))
    assert server.connections == server.newcomers == 1
    assert server.take_all_back() == 1
    assert received(caller) == DRAINING
    server.cleanup()


class TestDeadlinesThatPassWhileTheLoopIsStuck:
    """They are the client's, and it could not be heard: once the loop is back, they begin anew."""

    @pytest.fixture
    def loop(self):
        made = Loop(pytest.importorskip("uvloop").new_event_loop)
        yield made
        made.stop()

    @pytest.fixture
    def bounds(self):
        return Bounds(first_byte_s=2.0, frame_s=2.0)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("first", "rest", "answer"),
        [
            (call("x")[:20], call("x")[20:], reply("x")),
            (b"PI", b"NG\n", b"PONG\n"),
            (b"", call("x"), reply("x")),
        ],
        ids=["half a call", "half a command", "nothing"],
    )
    def test_who_goes_on_when_it_is_back_is_answered(self, server, loop, client, first, rest, answer):
        slow = client(first)
        assert wait_until(lambda: server.connections == 1)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), loop.loop).result(10)  # it has read that
        loop.block()
        over_s = monotonic() + 2.5
        assert wait_until(lambda: monotonic() > over_s)
        loop.gate.set()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), loop.loop).result(10)  # its timers have run
        slow.sendall(rest)
        assert received(slow) == answer
