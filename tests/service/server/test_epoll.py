"""Watching many quiet descriptors: what is readable is called back, whatever the others do."""

import asyncio
import socket
import sys

import pytest

from daemonry.service.server.epoll import HAS_EPOLL, Readers, readers

pytestmark = pytest.mark.skipif(not HAS_EPOLL, reason="there is no epoll here")


class Loop:
    """A loop that does what its one reader wants, when the test says so."""

    def __init__(self):
        self.readers = {}
        self.failed = []

    def add_reader(self, fd, callback):
        self.readers[fd] = callback

    def remove_reader(self, fd):
        del self.readers[fd]

    def call_exception_handler(self, context):
        self.failed.append(context["exception"])

    def turn(self):
        for callback in list(self.readers.values()):
            callback()


@pytest.fixture
def pairs():
    """A function that returns a connected pair of sockets."""
    made = []

    def pair():
        made.append(socket.socketpair())
        return made[-1]

    yield pair
    for two in made:
        for one in two:
            one.close()


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def watched(loop):
    watched = Readers(loop)
    yield watched
    if loop.readers:
        watched.close()


def test_who_can_be_read_is_called_as_long_as_that_is_so(loop, watched, pairs):
    heard = []
    ours, theirs = pairs()
    watched.add_reader(ours.fileno(), lambda: heard.append(1))
    loop.turn()
    assert heard == []
    theirs.send(b"x")
    loop.turn()
    loop.turn()
    assert heard == [1, 1]
    ours.recv(1)
    loop.turn()
    assert heard == [1, 1]


def test_the_last_callback_counts(loop, watched, pairs):
    heard = []
    ours, theirs = pairs()
    watched.add_reader(ours.fileno(), lambda: heard.append("first"))
    watched.add_reader(ours.fileno(), lambda: heard.append("second"))
    theirs.send(b"x")
    loop.turn()
    assert heard == ["second"]


def test_who_was_removed_is_not_called_also_not_by_one_before_it(loop, watched, pairs):
    """Both are readable in the same turn: the first to be called removes the other."""
    heard = []
    two = [pairs() for _ in range(2)]
    fds = [ours.fileno() for ours, _ in two]

    def remove_the_other(fd):
        heard.append(fd)
        watched.remove_reader(fds[1] if fd == fds[0] else fds[0])

    for fd in fds:
        watched.add_reader(fd, lambda fd=fd: remove_the_other(fd))
    for _, theirs in two:
        theirs.send(b"x")
    loop.turn()
    assert len(heard) == 1
    watched.remove_reader(heard[0])
    watched.remove_reader(heard[0])
    loop.turn()
    assert len(heard) == 1


def test_a_number_that_is_used_again_is_watched_anew(loop, watched, pairs):
    heard = []
    ours, _ = pairs()
    fd = ours.fileno()
    watched.add_reader(fd, lambda: heard.append("old"))
    watched.remove_reader(fd)
    ours.close()
    again, theirs = pairs()
    assert again.fileno() == fd
    theirs.send(b"x")
    loop.turn()
    assert heard == []
    watched.add_reader(fd, lambda: heard.append("new"))
    loop.turn()
    assert heard == ["new"]


def test_one_that_fails_is_told_of_and_the_others_are_called(loop, watched, pairs):
    heard = []
    for _ in range(3):
        ours, theirs = pairs()
        theirs.send(b"x")
        watched.add_reader(ours.fileno(), lambda: heard.append(1) or 1 / 0)
    loop.turn()
    assert heard == [1, 1, 1]
    assert [type(error) for error in loop.failed] == [ZeroDivisionError] * 3


def test_closed_it_watches_nothing(loop, watched, pairs):
    ours, theirs = pairs()
    watched.add_reader(ours.fileno(), pytest.fail)
    watched.close()
    theirs.send(b"x")
    loop.turn()
    assert loop.readers == {}


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
def test_a_real_loop_calls_back(name, pairs):
    factory = None
    if name == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop
    ours, theirs = pairs()

    async def run():
        loop = asyncio.get_running_loop()
        watched = readers(loop)
        found = loop.create_future()
        watched.add_reader(ours.fileno(), lambda: found.done() or found.set_result(ours.recv(9)))
        theirs.send(b"hello")
        assert await asyncio.wait_for(found, 10) == b"hello"
        watched.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())


def test_without_an_epoll_the_loop_watches(monkeypatch, loop):
    monkeypatch.setattr(sys.modules["daemonry.service.server.epoll"], "HAS_EPOLL", False)
    assert readers(loop) is loop
