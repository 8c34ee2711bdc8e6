"""The end of a server that has calls under way: they come to their end, streams are told why they do not."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator

import pytest

from daemonry import Interface, errors, method
from daemonry.service.server.dispatch import DRAINING
from daemonry.service.server.varlink import connection
from daemonry.testing import wait_until

NAME = "org.example.work"
ENDED = {"parameters": {}, "error": DRAINING}
# Of a stream: it had begun, so that nobody makes it again.
BROKEN_OFF = {"parameters": {"begun": True}, "error": DRAINING}


class Work(Interface, name=NAME):
    """Calls that take as long as the test wants."""

    def __init__(self):
        self.begun = []
        self.ended = []
        self.release = threading.Event()

    def plain(self) -> int:
        return 1

    async def awaited(self, n: int) -> int:
        self.begun.append(n)
        try:
            await asyncio.to_thread(self.release.wait, 10)
        finally:
            self.ended.append(n)
        return n

    @method(blocking=True)
    def in_thread(self, n: int) -> int:
        self.begun.append(n)
        assert self.release.wait(10)
        return n

    def handed_on(self, n: int) -> int:
        return self.awaited(n)  # type: ignore[return-value]

    async def quiet(self) -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.ended.append("quiet")

    async def endless(self, size: int) -> AsyncIterator[str]:
        try:
            while True:
                self.begun.append(size)
                yield "x" * size
        finally:
            self.ended.append("endless")

    async def deaf(self) -> AsyncIterator[int]:
        """Does not let itself be ended at once."""
        try:
            yield 1
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.begun.append("cancelled")
            await asyncio.to_thread(self.release.wait, 10)
            yield 2


class Draining:
    """A server whose calls are refused from a moment on, and drained."""

    def __init__(self, serving):
        self.closed = False
        self.work = Work()
        self.serving = serving(self.work, gate=lambda: errors.Draining(DRAINING) if self.closed else None)
        self.peers = []

    def connect(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(self.serving.endpoint.removeprefix("unix:"))
        self.peers.append(sock)
        return sock

    def call(self, name, more=False, sock=None, **parameters):
        sock = sock or self.connect()
        asked = {"method": f"{NAME}.{name}", "parameters": parameters} | ({"more": True} if more else {})
        sock.sendall(json.dumps(asked).encode() + b"\0")
        return sock

    def drain(self, timeout_s=10.0):
        self.closed = True
        return asyncio.run_coroutine_threadsafe(self.serving.server.drain(timeout_s), self.serving.loop)

    def wait_running(self, count):
        wait_until(lambda: self.serving.calls.running == count)


def replies(sock, count):
    rest = b""
    while rest.count(b"\0") < count:
        data = sock.recv(65536)
        assert data, rest
        rest += data
    return [json.loads(one) for one in rest.split(b"\0")[:count]]


@pytest.fixture
def draining(serving):
    made = Draining(serving)
    yield made
    made.work.release.set()
    for sock in made.peers:
        sock.close()


@pytest.mark.parametrize("name", ["Awaited", "InThread", "HandedOn"])
def test_a_call_under_way_is_answered_and_waited_for(draining, name):
    socks = [draining.call(name, n=n) for n in range(3)]
    draining.wait_running(3)
    done = draining.drain()
    assert draining.serving.server.calls_under_way == [f"{NAME}.{name}"] * 3
    assert replies(draining.call("Plain", sock=draining.connect()), 1) == [ENDED]
    assert not done.done()
    draining.work.release.set()
    assert done.result(10) == []
    assert [replies(sock, 1)[0]["parameters"] for sock in socks] == [{"result": n} for n in range(3)]
    assert draining.serving.server.calls_under_way == []


def test_calls_behind_one_under_way_are_refused(draining):
    sock = draining.call("Awaited", n=1)
    draining.call("Plain", sock=sock)
    draining.wait_running(1)
    done = draining.drain()
    draining.work.release.set()
    assert replies(sock, 2) == [{"parameters": {"result": 1}}, ENDED]
    assert done.result(10) == []


def test_a_stream_is_ended_with_an_error_and_its_generator_too(draining):
    sock = draining.call("Quiet", more=True)
    assert replies(sock, 1) == [{"parameters": {"result": 1}, "continues": True}]
    assert draining.drain().result(10) == []
    assert replies(sock, 1) == [BROKEN_OFF]
    assert draining.work.ended == ["quiet"]


def test_a_stream_whose_client_does_not_read_ends_and_keeps_nobody(draining, monkeypatch):
    monkeypatch.setattr(connection, "LAST_REPLY_S", 0.05)
    draining.call("Endless", more=True, size=100_000)
    wait_until(lambda: draining.work.begun)
    assert draining.drain().result(10) == []
    assert draining.work.ended == ["endless"]


def test_a_client_that_reads_late_gets_all_that_was_given(draining):
    sock = draining.call("Endless", more=True, size=100_000)
    wait_until(lambda: draining.work.begun)
    done = draining.drain()
    rest = b""
    while not rest.endswith(b"\0") or DRAINING.encode() not in rest:
        data = sock.recv(1 << 16)
        assert data
        rest += data
    found = [json.loads(one) for one in rest.split(b"\0")[:-1]]
    assert found[-1] == BROKEN_OFF
    assert {len(one["parameters"]["result"]) for one in found[:-1]} == {100_000}
    assert done.result(10) == []


@pytest.mark.parametrize(("name", "more"), [("Awaited", False), ("Deaf", True)])
def test_what_does_not_end_in_time_is_named(draining, name, more):
    sock = draining.call(name, more=more, **({} if more else {"n": 1}))
    draining.wait_running(1)
    if more:
        replies(sock, 1)
    assert draining.drain(0.05).result(10) == [f"{NAME}.{name}"]
    assert draining.serving.server.calls_under_way == [f"{NAME}.{name}"]


def test_a_client_that_leaves_meanwhile_is_not_waited_for(draining):
    sock = draining.call("Awaited", n=1)
    draining.wait_running(1)
    done = draining.drain()
    sock.close()
    assert done.result(10) == []
    assert draining.work.ended == [1]


def test_without_calls_nothing_is_waited_for(draining):
    replies(draining.call("Plain"), 1)
    draining.connect()
    assert draining.drain(0.0).result(10) == []


def test_a_server_that_does_not_run_has_nothing_to_drain(draining):
    draining.serving.stop()
    assert asyncio.run(draining.serving.server.drain(1.0)) == []
    assert draining.serving.server.calls_under_way == []
