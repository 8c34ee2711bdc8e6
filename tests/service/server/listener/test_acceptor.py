"""Accepting: a turn of the loop takes only so many, and a system that gives no more is asked less often.

Fault 6, fact F8: asyncio logs a hundred tracebacks a second here, socketserver takes a whole CPU.
"""

import asyncio
import errno
import gc
import logging
import os
import socket
import subprocess
import sys
import weakref

import pytest

from daemonry.limits import ACCEPT_BACKOFF_MAX_S, ACCEPT_BACKOFF_S
from daemonry.service.server.listener.acceptor import Acceptor
from daemonry.transport.stream import ACCEPTING, is_accepted_here


class Loop:
    """A loop that only notes what it is asked for."""

    def __init__(self):
        self.readers = {}
        self.delays = []
        self.later = []

    def add_reader(self, fd, callback):
        self.readers[fd] = callback

    def remove_reader(self, fd):
        self.readers.pop(fd, None)

    def call_later(self, delay_s, callback):
        self.delays.append(delay_s)
        handle = asyncio.TimerHandle(0.0, callback, (), self)
        self.later.append(handle)
        return handle

    def _timer_handle_cancelled(self, handle):
        self.later.remove(handle)

    def get_debug(self):
        return False

    def time_comes(self):
        self.later.pop(0)._run()


class Queue:
    """A listener whose queue the test fills: with sockets, or with what accept() raises."""

    address = None

    def __init__(self, *waiting, fd=7):
        self.waiting = list(waiting)
        self.fd = fd

    def fileno(self):
        return self.fd

    def accept_socket(self):
        found = self.waiting.pop(0) if self.waiting else None
        if isinstance(found, OSError):
            raise found
        return found


NO_MORE = OSError(errno.EMFILE, "Too many open files")


@pytest.fixture
def loop():
    return Loop()


def messages(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "daemonry.server"]


def test_everybody_who_waits_is_taken_in(loop):
    taken = []
    queue = Queue("a", "b", "c")
    Acceptor(loop, queue, taken.append)
    while queue.waiting:  # a real loop comes back as long
        loop.readers[7]()
    assert taken == ["a", "b", "c"]
    assert list(loop.readers) == [7]


def test_a_flood_does_not_keep_the_loop_from_those_who_are_in(loop):
    taken = []
    Acceptor(loop, Queue(*range(1, 1001)), taken.append)
    loop.readers[7]()
    assert taken == [1]


def test_somebody_who_left_the_queue_meanwhile_is_no_trouble(loop):
    Acceptor(loop, Queue(), pytest.fail)
    loop.readers[7]()
    assert (list(loop.readers), loop.later) == ([7], [])


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
def test_a_system_that_gives_no_more_is_left_alone_for_a_moment(loop, number):
    """The descriptor stays readable: to watch it on would be to spin."""
    Acceptor(loop, Queue(OSError(number, "no more")), pytest.fail)
    loop.readers[7]()
    assert loop.readers == {}
    assert loop.delays == [ACCEPT_BACKOFF_S]
    loop.time_comes()
    assert list(loop.readers) == [7]


def test_the_pauses_grow_up_to_a_limit_and_one_line_is_logged(loop, caplog):
    caplog.set_level(logging.INFO)
    Acceptor(loop, Queue(*[NO_MORE] * 8), pytest.fail)
    for _ in range(8):
        loop.readers[7]()
        loop.time_comes()
    assert loop.delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0])
    assert max(loop.delays) == ACCEPT_BACKOFF_MAX_S
    assert messages(caplog) == ["cannot accept connections: Too many open files; trying again"]


def test_recovery_is_told_once_and_the_next_trouble_starts_anew(loop, caplog):
    caplog.set_level(logging.INFO)
    taken = []
    queue = Queue(NO_MORE, NO_MORE, "a", "b", NO_MORE)
    Acceptor(loop, queue, taken.append)
    for _ in range(5):
        loop.readers[7]()
        if loop.later:
            loop.time_comes()
    assert taken == ["a", "b"]
    assert loop.delays == pytest.approx([0.1, 0.2, 0.1])
    assert messages(caplog) == [
        "cannot accept connections: Too many open files; trying again",
        "accepting connections again",
        "cannot accept connections: Too many open files; trying again",
    ]


def test_a_closed_acceptor_watches_nothing_and_comes_back_for_nothing(loop):
    acceptor = Acceptor(loop, Queue(NO_MORE), pytest.fail)
    loop.readers[7]()
    acceptor.close()
    acceptor.close()
    assert (loop.readers, loop.later) == ({}, [])


def test_an_acceptor_whose_listener_is_closed_already_can_be_closed(loop):
    queue = Queue()
    acceptor = Acceptor(loop, queue, pytest.fail)
    queue.fd = -1
    acceptor.close()


def test_a_new_listener_takes_the_place_and_who_waited_at_the_old_one_is_taken_in(loop):
    taken = []
    acceptor = Acceptor(loop, Queue("old"), taken.append)
    acceptor.replace(Queue("new", fd=8))
    assert list(loop.readers) == [8]
    loop.readers[8]()
    assert taken == ["old", "new"]


def test_a_listener_can_be_replaced_while_the_system_gives_no_more(loop):
    acceptor = Acceptor(loop, Queue(NO_MORE, NO_MORE), pytest.fail)
    loop.readers[7]()
    acceptor.replace(Queue(fd=8))
    assert list(loop.readers) == [8]
    assert loop.later == []


FULL = """
import asyncio, logging, os, resource, socket, sys, time
logging.basicConfig(stream=sys.stdout, format="log: %(message)s", level=logging.INFO)
from daemonry.service.server.server import Server

class State:
    def get_status(self):
        return {"state": "running"}

async def main(path):
    server = Server(path, first_byte_timeout_s=60)
    server.bind()
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    cancel = asyncio.Event()
    running = asyncio.create_task(server.run(State(), cancel))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    used = time.process_time()
    await asyncio.sleep(1.0)  # the claim is that hardly anything happens in this time
    print("cpu", time.process_time() - used < 0.1, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    cancel.set()
    await running
    server.cleanup()

loop_factory = None
if sys.argv[2] == "uvloop":
    import uvloop
    loop_factory = uvloop.new_event_loop
with asyncio.Runner(loop_factory=loop_factory) as runner:
    runner.run(main(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"])
def test_a_server_without_descriptors_waits_quietly_and_recovers(loop_name, socket_path):
    """The limit itself, in a process of its own: 60 clients for some 30 descriptors."""
    if loop_name == "uvloop":
        pytest.importorskip("uvloop")
    words = [sys.executable, "-c", FULL, socket_path, loop_name]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline() == f"log: listening at unix:{socket_path}\n"
        clients = []
        for _ in range(60):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(30)
            client.connect(str(socket_path))
            clients.append(client)
        told = server.stdout.readline()
        assert told == "log: cannot accept connections: Too many open files; trying again\n"
        server.stdin.write("\n")
        server.stdin.flush()
        assert server.stdout.readline() == "cpu True\n"
        for client in clients:
            client.close()
        assert server.stdout.readline() == "log: accepting connections again\n"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(str(socket_path))
            client.sendall(b"STATUS\n")
            assert client.recv(100) == b'{"state":"running"}\n'
        rest, _ = server.communicate("\n")
        assert rest == ""
        assert server.returncode == 0
        assert not os.path.exists(socket_path)


def test_one_that_was_dropped_is_not_kept_by_what_clients_look_at(loop):
    acceptor = Acceptor(loop, Queue(), lambda sock: None)
    listener = weakref.ref(acceptor._listener)
    (noted,) = [one for one in ACCEPTING if one[0]() is listener()]
    loop.readers.clear()
    del acceptor
    gc.collect()
    assert listener() is None
    with socket.socket() as unconnected:
        assert not is_accepted_here(unconnected)  # though its entry is there still
    ACCEPTING.remove(noted)
