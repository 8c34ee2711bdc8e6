"""The control plane over real sockets, on both event loops: what each client is told, and when it ends.

Requirements P1 to P5, P8, P9, P16, P17, P19 and M7; faults 2, 4, 8, 24 and 26.
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
import stat
import subprocess
import threading
import time

import pytest

from daemonry.errors import Refused
from daemonry.limits import MAX_COMMAND_BYTES
from daemonry.service.server import text_connection
from daemonry.service.server.bounds import Bounds
from daemonry.service.server.server import Server
from daemonry.testing import wait_until
from daemonry.wire.text import COMMANDS

STATUS = (
    b'{"state":"monitoring","uptime_secs":3600,"current_session":"/path/to/session.md",'
    b'"saves_count":42,"total_resumes":10}\n'
)
TIMEOUT = b"ERR: Connection timeout\n"


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def ends_without_a_word(sock):
    """Whether the peer closes, cleanly or not, and sends nothing."""
    try:
        return sock.recv(100) == b""
    except ConnectionResetError:
        return True


# --- commands and replies ---------------------------------------------------------------------------


def test_status_is_one_json_line_and_the_connection_ends(text_server):
    """P2, to the byte as the original has it."""
    assert text_server.ask(b"STATUS\n") == STATUS
    fields = json.loads(STATUS)
    assert list(fields) == ["state", "uptime_secs", "current_session", "saves_count", "total_resumes"]


def test_pause_and_resume_change_the_state(text_server):
    """P3 and P4."""
    assert text_server.ask(b"PAUSE\n") == b"OK\n"
    assert text_server.state.paused
    assert json.loads(text_server.ask(b"STATUS\n"))["state"] == "paused"
    assert text_server.ask(b"RESUME\n") == b"OK\n"
    assert not text_server.state.paused


def test_reload_asks_the_state(text_server):
    """P5."""
    assert text_server.ask(b"RELOAD\n") == b"OK\n"
    assert text_server.state.reloads == 1


@pytest.mark.parametrize("line", [b"status\n", b"  Status \r\n", b"STATUS", b"\tsTaTuS\n"])
def test_case_and_blanks_do_not_count(text_server, line):
    """P8.  The third has no newline: its client ends its half, as `printf STATUS | nc -N` does."""
    with text_server.connect() as sock:
        sock.sendall(line)
        sock.shutdown(socket.SHUT_WR)
        assert text_server.read_all(sock) == STATUS


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"FLY\n", b"ERR: Unknown command: FLY\n"),
        (b"fly\xc3\xbc\n", "ERR: Unknown command: flyü\n".encode()),
        (b"\n", b"ERR: Unknown command: \n"),
        (b"PING\n", b"PONG\n"),
        (b"HELP\n", " ".join(COMMANDS).encode() + b"\n"),
        (b"STOP\n", b"ERR: STOP is not supported by this daemon\n"),
        (b"VERSION\n", b"ERR: VERSION is not supported by this daemon\n"),
        (b"\xff\n", b"ERR: Command is not UTF-8\n"),
        (b"\x1b[31m\n", b"ERR: Command has control characters in it\n"),
        (b"S\0T\n", b"ERR: Command has control characters in it\n"),
        (b"x" * (MAX_COMMAND_BYTES + 1), b"ERR: Command too long: the limit is 1024 bytes\n"),
    ],
)
def test_every_line_has_its_answer(text_server, line, reply):
    assert text_server.ask(line) == reply
    assert text_server.ask(b"STATUS\n") == STATUS


def test_a_line_may_come_in_pieces(text_server):
    with text_server.connect() as sock:
        for byte in b"STATUS\n":
            sock.sendall(bytes([byte]))
        assert text_server.read_all(sock) == STATUS


def test_only_the_first_line_counts(text_server):
    """One command a connection."""
    assert text_server.ask(b"STATUS\nPAUSE\n") == STATUS
    assert not text_server.state.paused


@pytest.mark.parametrize("line", [b"STATUS\n", b"FLY\n"])
def test_bytes_after_the_line_do_not_reset_the_reply(text_server, line):
    """A socket that is closed over unread bytes resets the connection; so they are read away first.

    The loop is held until all is there: more than one read takes, less than the socket's buffer.
    """
    gate = threading.Event()
    with text_server.connect() as sock:
        text_server.loop.call_soon_threadsafe(gate.wait, 10)
        sock.sendall(line + b"y" * 150_000)
        gate.set()
        assert text_server.read_all(sock).endswith(b"\n")


def test_a_client_that_goes_on_sending_is_answered_and_let_go(text_server):
    """What it sent before the end is read away up to a bound; then it is on its own."""
    with text_server.connect() as sock:
        sock.sendall(b"STATUS\n")
        with contextlib.suppress(BrokenPipeError):
            sock.sendall(b"y" * 50_000_000)
        assert sock.recv(len(STATUS), socket.MSG_WAITALL) == STATUS
    assert wait_until(lambda: not text_server.server.connections)


def test_a_reply_comes_at_once(text_server):
    """P19: well under 500 ms."""
    started = time.monotonic()
    for _ in range(20):
        text_server.ask(b"STATUS\n")
    assert (time.monotonic() - started) / 20 < 0.25


def test_over_tcp_it_is_the_same(serve_text):
    server = serve_text(endpoint="tcp:127.0.0.1:0;open")
    assert server.ask(b"STATUS\n") == STATUS
    assert server.server.path is None


def test_without_a_file_it_is_the_same(serve_text, socket_path):
    server = serve_text(endpoint=f"unix:@{socket_path.name}")
    assert server.ask(b"STATUS\n") == STATUS


# --- clients that leave, or never come --------------------------------------------------------------


def test_a_client_that_ends_first_is_left_in_silence(text_server):
    """P9."""
    with text_server.connect() as sock:
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_client_that_leaves_in_the_middle_of_a_word_has_commanded_nothing(text_server, cut):
    """Fault 2: a prefix is executed by nobody."""
    with text_server.connect() as sock:
        sock.sendall(b"PAUSE\n"[:cut])
    with text_server.connect() as sock:
        sock.sendall(b"PAUSE\n"[:cut])
        sock.shutdown(socket.SHUT_WR)
        reply = text_server.read_all(sock)
    assert text_server.state.paused is (cut == 5)
    assert reply == (b"OK\n" if cut == 5 else b"ERR: Unknown command: " + b"PAUSE"[:cut] + b"\n")


def test_clients_that_close_after_any_number_of_bytes_do_no_harm(text_server, caplog):
    """Fault 7: after k bytes of the command, and after k bytes of the reply."""
    for taken in range(len(b"STATUS\n") + 1):
        with text_server.connect() as sock:
            sock.sendall(b"STATUS\n"[:taken])
    for taken in range(0, len(STATUS) + 1, 10):
        with text_server.connect() as sock:
            sock.sendall(b"STATUS\n")
            sock.recv(taken) if taken else None
    assert text_server.ask(b"STATUS\n") == STATUS
    assert wait_until(lambda: not text_server.server.connections, what="all connections closed")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_client_that_resets_its_connection_does_no_harm(text_server):
    with text_server.connect() as sock:
        sock.sendall(b"STATUS\n")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert text_server.ask(b"STATUS\n") == STATUS


def test_a_silent_client_is_told_at_its_deadline(serve_text):
    """P9: five seconds in the original, a moment here."""
    server = serve_text(first_byte_timeout_s=0.05)
    with server.connect() as sock:
        started = time.monotonic()
        assert server.read_all(sock) == TIMEOUT
        assert time.monotonic() - started >= 0.04


def test_slow_clients_delay_nobody_and_get_no_more_time_than_others(serve_text):
    """Fault 1: a byte now and then does not move the deadline of the line."""
    server = serve_text(first_byte_timeout_s=2.0)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(server.connect()) for _ in range(200)]
        for sock in slow[::2]:
            sock.sendall(b"S")
        for _ in range(20):
            assert server.ask(b"STATUS\n") == STATUS
            for sock in slow[::4]:
                sock.sendall(b"T")
        assert server.server.connections >= len(slow)  # each answer came before a slow one's deadline
        wait_until(lambda: ended_though_it_speaks(slow[0]), what="the deadline of one that goes on sending")
        assert [server.read_all(sock) for sock in slow[1:]] == [TIMEOUT] * (len(slow) - 1)


def ended_though_it_speaks(sock):
    try:
        sock.sendall(b"T")
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False


def test_a_client_that_never_reads_is_closed_at_its_deadline(serve_text, monkeypatch):
    """Fault 8: a reply larger than the socket's buffer, and a client that leaves it there."""
    monkeypatch.setattr(text_connection, "REPLY_TIMEOUT_S", 1.0)

    class Wordy:
        def get_status(self):
            return {"words": "x" * 2_000_000}

    server = serve_text(Wordy())
    with server.connect() as deaf:
        deaf.sendall(b"STATUS\n")
        assert len(server.ask(b"STATUS\n")) > 2_000_000
        assert wait_until(lambda: not server.server.connections, what="the deaf client closed")
        assert len(server.read_all(deaf)) < 2_000_000


def test_a_large_reply_reaches_a_client_that_reads_slowly(serve_text):
    class Wordy:
        def get_status(self):
            return {"words": "x" * 500_000}

    server = serve_text(Wordy())
    with server.connect() as sock:
        sock.sendall(b"STATUS\n")
        received = b""
        while piece := sock.recv(20_000):
            received += piece
    assert json.loads(received) == {"words": "x" * 500_000}


def test_many_clients_at_once_are_all_answered(text_server):
    """P16 and M7: 500 connections, all open before the first is answered."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(text_server.connect()) for _ in range(500)]
        for sock in clients:
            sock.sendall(b"STATUS\n")
        assert [text_server.read_all(sock) for sock in clients] == [STATUS] * 500


def test_clients_in_threads_are_all_answered(text_server):
    """P18: commands that change the state, from many sides."""
    replies = []

    def ask():
        words = (b"PAUSE\n", b"STATUS\n", b"RESUME\n", b"RELOAD\n")
        replies.extend([text_server.ask(word) for word in words])

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies.count(b"OK\n") == 30
    assert text_server.state.reloads == 10


def test_no_descriptor_stays_after_two_hundred_connections(text_server):
    """Fault 7."""
    text_server.ask(b"STATUS\n")
    before = descriptors()
    for number in range(200):
        if number % 3:
            text_server.ask(b"STATUS\n")
        else:
            text_server.connect().close()
    assert wait_until(lambda: descriptors() <= before, what="descriptors back to where they were")


def test_more_connections_than_may_be_are_told_so(serve_text):
    """Fault 5: a bound below the descriptors that there are, so that other work has some left."""
    server = serve_text(first_byte_timeout_s=30.0, limits=Bounds(connections=5))
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(server.connect()) for _ in range(5)]
        assert wait_until(lambda: server.server.connections == 5)
        with server.connect() as late:
            assert server.read_all(late) == b"ERR: Too many connections\n"
        idle.pop().close()
        assert wait_until(lambda: server.server.connections == 4)
        assert server.ask(b"STATUS\n") == STATUS


def test_the_bound_is_a_share_of_the_descriptors(monkeypatch):
    from daemonry.limits import MAX_CONNECTIONS
    from daemonry.service.server import connections

    for soft, expected in (
        (1000, 750),
        (10**9, MAX_CONNECTIONS),
        (connections.resource.RLIM_INFINITY, MAX_CONNECTIONS),
    ):
        monkeypatch.setattr(connections.resource, "getrlimit", lambda which, soft=soft: (soft, soft))
        assert Server("unix:/x")._most_connections == expected


# --- other users ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["a file that was opened to all", "a name without a file"])
def test_another_user_is_refused_before_a_byte_is_read(serve_text, as_nobody, socket_path, kind):
    """Faults 24 and 26."""
    endpoint = str(socket_path) if "file that" in kind else f"@{socket_path.name}"
    server = serve_text(endpoint=f"unix:{endpoint}")
    if endpoint.startswith("/"):
        socket_path.chmod(0o666)
    script = """
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1].replace("@", "\\0"))
    try:
        sock.sendall(b"PAUSE\\n")
    except BrokenPipeError:
        pass
    print(sock.recv(100))
"""
    told = subprocess.check_output(as_nobody(script, endpoint), text=True)
    assert told == "b'ERR: Permission denied\\n'\n"
    assert not server.state.paused
    assert server.ask(b"STATUS\n") == STATUS


def test_the_socket_is_for_its_owner_alone(text_server, socket_path):
    """P14."""
    assert stat.S_IMODE(socket_path.lstat().st_mode) == 0o600


# --- states that take their time, or fail -----------------------------------------------------------


class Slow:
    """Each method gives an awaitable; the gate decides when it is done."""

    def __init__(self):
        self.asked = threading.Event()
        self.gate = None

    async def get_status(self):
        return {"state": "slow"}

    async def pause(self):
        self.gate = asyncio.Event()
        self.asked.set()
        await self.gate.wait()

    async def resume(self):
        raise Refused("not\nnow")

    async def reload_config(self):
        return "needs a restart: port"


def test_a_state_may_answer_later(serve_text):
    """P12.  Others are answered meanwhile."""
    server = serve_text(Slow())
    assert server.ask(b"STATUS\n") == b'{"state":"slow"}\n'
    assert server.ask(b"RESUME\n") == b"ERR: not now\n"
    assert server.ask(b"RELOAD\n") == b"OK: needs a restart: port\n"
    with server.connect() as waiting:
        waiting.sendall(b"PAUSE\n")
        assert server.state.asked.wait(10)
        assert server.ask(b"STATUS\n") == b'{"state":"slow"}\n'
        server.on_loop(server.state.gate.set)
        assert server.read_all(waiting) == b"OK\n"


def test_a_client_that_leaves_before_its_answer_does_no_harm(serve_text):
    """Fault 7."""
    server = serve_text(Slow())
    with server.connect() as leaving:
        leaving.sendall(b"PAUSE\n")
        assert server.state.asked.wait(10)
    server.on_loop(server.state.gate.set)
    assert wait_until(lambda: not server.server.connections)
    assert server.ask(b"STATUS\n") == b'{"state":"slow"}\n'


def test_an_answer_that_is_cancelled_ends_its_connection(serve_text):
    """The client learns at once that nothing will come; it is not left to its own deadline."""

    class Cancelled:
        async def pause(self):
            raise asyncio.CancelledError

    server = serve_text(Cancelled())
    with server.connect() as sock:
        sock.sendall(b"PAUSE\n")
        assert ends_without_a_word(sock)
    assert wait_until(lambda: not server.server.connections)


class Failing:
    def __init__(self, raised):
        self.raised = raised

    def get_status(self):
        raise self.raised

    pause = resume = reload_config = stop = version = get_status


@pytest.mark.parametrize("word", [b"STATUS", b"PAUSE", b"RESUME", b"RELOAD", b"STOP", b"VERSION"])
@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (Refused("Daemon already paused"), b"ERR: Daemon already paused\n"),
        (ValueError("line 3:\n  port = x\n\x1b[31m"), b"ERR: line 3: port = x \\x1b[31m\n"),
        (RuntimeError(), b"ERR: RuntimeError\n"),
        (KeyError("port"), b"ERR: 'port'\n"),
    ],
    ids=["refused", "several lines", "no words", "a key"],
)
def test_what_a_state_raises_is_told_on_one_line(serve_text, word, raised, told):
    """P5, P10: the sender is told; a multi-line error broke the original's framing."""
    server = serve_text(Failing(raised))
    assert server.ask(word + b"\n") == told


class Odd:
    """Gives what cannot be sent."""

    def __init__(self, value):
        self.value = value

    def get_status(self):
        return self.value

    pause = reload_config = version = get_status


@pytest.mark.parametrize("word", [b"STATUS", b"PAUSE", b"RELOAD", b"VERSION"])
@pytest.mark.parametrize(
    "value",
    [{"x": object()}, {"x": float("nan")}, object(), 5, True, {1, 2}],
    ids=["an object inside", "no number", "an object", "a number", "truth", "a set"],
)
def test_a_state_that_gives_what_cannot_be_sent_is_told_of(serve_text, word, value):
    """Its client must hear something: an exception in a callback would leave it waiting for ever."""
    server = serve_text(Odd(value))
    reply = server.ask(word + b"\n")
    assert reply.endswith(b"\n")
    assert reply.count(b"\n") == 1
    assert wait_until(lambda: not server.server.connections)


def test_a_name_that_is_not_utf8_can_be_in_a_status(serve_text):
    server = serve_text(Odd({"current_session": "/home/caf\udce9.md"}))
    assert json.loads(server.ask(b"STATUS\n")) == {"current_session": "/home/caf\\udce9.md"}


# --- the end ----------------------------------------------------------------------------------------


def test_cancelling_ends_every_connection_and_leaves_the_listener(text_server, socket_path):
    """P17: who waits for an answer is not left waiting; the file is removed by cleanup."""
    with text_server.connect() as idle:
        assert wait_until(lambda: text_server.server.connections)
        text_server.loop.call_soon_threadsafe(text_server._cancel.set)
        assert ends_without_a_word(idle)
        text_server._thread.join(10)
        assert socket_path.is_socket()
    text_server.stop()
    assert not socket_path.exists()


def test_a_server_may_run_again(text_server):
    """The listener stays bound between two runs, and so does whoever has connected meanwhile."""
    text_server.loop.call_soon_threadsafe(text_server._cancel.set)
    text_server._thread.join(10)
    with text_server.connect() as early:
        early.sendall(b"STATUS\n")
        text_server._thread = threading.Thread(target=text_server._run)
        text_server._thread.start()
        assert text_server.read_all(early) == STATUS


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
def test_running_leaves_no_task_behind(name, socket_path):
    """Whoever runs a loop by hand closes it right after, and Python complains of every task left."""
    loop = pytest.importorskip("uvloop").new_event_loop() if name == "uvloop" else asyncio.new_event_loop()
    server = Server(socket_path)
    server.bind()

    async def briefly():
        cancel = asyncio.Event()
        loop.call_soon(cancel.set)
        await server.run(Slow(), cancel)

    loop.run_until_complete(briefly())
    assert asyncio.all_tasks(loop) == set()
    loop.close()
    server.cleanup()


def test_a_run_that_is_cancelled_from_outside_ends_as_well(socket_path):
    server = Server(socket_path)
    server.bind()

    async def briefly():
        running = asyncio.create_task(server.run(Slow(), asyncio.Event()))
        await asyncio.sleep(0)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(briefly()) == set()
    server.cleanup()
