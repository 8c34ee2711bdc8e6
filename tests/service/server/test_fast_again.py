"""A connection that needed more is a fast one again once its client sends nothing but quick calls."""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator

import pytest

from daemonry import Fd, Interface
from daemonry.service.server import connections
from daemonry.service.server.bounds import Bounds
from daemonry.service.server.connections import Connections
from daemonry.service.server.dispatch import Calls
from daemonry.service.server.epoll import HAS_EPOLL, Readers
from daemonry.service.server.varlink import connection
from daemonry.testing import wait_until

NAME = "org.example.calm"


class Kinds(Interface, name=NAME):
    def quick(self, n: int) -> int:
        return n

    async def later(self, n: int) -> int:
        await asyncio.sleep(0)
        return n

    async def each(self, n: int) -> AsyncIterator[int]:
        for number in range(n):
            yield number


class Taking(Interface, name="org.example.taking"):
    def take(self, what: Fd) -> int:
        what.close()
        return 1


@pytest.fixture
def taken_back(monkeypatch):
    """The sockets that fast connections took back."""
    found = []
    take_back = Connections.take_back
    monkeypatch.setattr(
        Connections, "take_back", lambda self, sock: (found.append(sock.fileno()), take_back(self, sock))
    )
    monkeypatch.setattr(connection, "CALM_CALLS", 3)
    return found


class Caller:
    def __init__(self, server):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(server.endpoint.removeprefix("unix:"))
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def replies(self, count):
        while self.rest.count(b"\0") < count:
            data = self.sock.recv(65536)
            assert data, "the server hung up"
            self.rest += data
        *found, self.rest = self.rest.split(b"\0", count)
        return [json.loads(one)["parameters"] for one in found]

    def quick(self, n):
        self.send(call("Quick", n))
        assert self.replies(1) == [{"result": n}]

    def later(self, n):
        self.send(call("Later", n))
        assert self.replies(1) == [{"result": n}]

    def in_pieces(self, server, n):
        data = call("Quick", n)
        self.send(data[:20])
        server.on_loop(lambda: None)
        self.send(data[20:])
        assert self.replies(1) == [{"result": n}]

    def two_at_once(self, n):
        self.send(call("Quick", n) + call("Quick", n + 1))
        assert self.replies(2) == [{"result": n}, {"result": n + 1}]

    def each(self, n):
        self.send(call("Each", n % 5 + 1, more=True))
        assert self.replies(n % 5 + 1) == [{"result": number} for number in range(n % 5 + 1)]

    def calm_down(self):
        """Call what waits, and then as many quick ones as it takes."""
        self.later(1)
        for number in range(3):
            self.quick(number)

    def fails(self, n):
        self.send(call("Nothing", n))
        assert "method" in self.replies(1)[0]


def call(name, n, *, more=False):
    what = {"method": f"{NAME}.{name}", "parameters": {"n": n}, **({"more": True} if more else {})}
    return json.dumps(what, separators=(",", ":")).encode() + b"\0"


def test_a_client_that_goes_on_with_quick_calls_is_a_fast_one_again(serving, taken_back):
    server = serving(Kinds())
    with Caller(server) as caller:
        caller.later(1)
        for number in range(10):
            caller.quick(number)
        assert server.on_loop(len, taken_back) == 1
        caller.later(2)
        caller.quick(3)
        caller.quick(4)
        assert server.on_loop(len, taken_back) == 1
        caller.quick(5)
        assert server.on_loop(len, taken_back) == 2
        assert server.on_loop(lambda: server.server.connections) == 1
    assert wait_until(lambda: server.on_loop(lambda: server.server.connections) == 0)


def test_a_call_of_another_kind_begins_the_count_again(serving, taken_back):
    server = serving(Kinds())
    with Caller(server) as caller:
        for number in range(8):
            caller.later(number)
            caller.quick(number)
            caller.quick(number)
    assert server.on_loop(list, taken_back) == []


@pytest.mark.parametrize("seed", range(4))
def test_every_mix_of_calls_is_answered_in_order(serving, taken_back, seed):
    draw = random.Random(seed)
    server = serving(Kinds())
    with Caller(server) as caller:
        for number in range(200):
            kinds = [caller.quick] * 6 + [caller.later, caller.two_at_once, caller.each, caller.fails]
            act = draw.choice([*kinds, lambda n: caller.in_pieces(server, n)])
            act(number)
    assert server.on_loop(len, taken_back) > 3


def test_calls_that_come_meanwhile_are_not_lost(serving, taken_back, monkeypatch):
    server = serving(Kinds())
    take_back = Connections.take_back
    with Caller(server) as caller:

        def send_and_take_back(self, sock):
            for number in range(40):
                caller.send(call("Quick", number))
            take_back(self, sock)

        monkeypatch.setattr(Connections, "take_back", send_and_take_back)
        caller.later(0)
        caller.quick(0)
        caller.quick(0)
        caller.send(call("Quick", 7))
        assert caller.replies(41) == [{"result": number} for number in (7, *range(40))]
    assert server.on_loop(len, taken_back) == 1


def test_a_fast_connection_of_that_kind_is_retired_and_closed(serving, taken_back):
    server = serving(Kinds())
    with Caller(server) as caller:
        caller.calm_down()
        assert server.on_loop(len, taken_back) == 1
        server.end()
        assert caller.sock.recv(1) == b""


def test_a_connection_that_is_retired_does_not_change_hands(serving, taken_back):
    server = serving(Kinds())
    with Caller(server) as caller:
        caller.later(1)
        caller.quick(1)
        caller.quick(2)

        def call_and_end():
            caller.send(call("Quick", 3))
            server.server._connections.retire_idle()

        server.on_loop(call_and_end)
        assert caller.replies(1) == [{"result": 3}]
        assert caller.sock.recv(1) == b""
    assert server.on_loop(list, taken_back) == []


def test_it_counts_as_its_user_s(serving, taken_back):
    server = serving(Kinds(), limits=Bounds(connections_per_uid=1))
    with Caller(server) as caller:
        caller.calm_down()
        assert server.on_loop(len, taken_back) == 1
        with Caller(server) as other:
            assert b"of this user" in other.sock.recv(65536)
        caller.quick(1)


def test_where_descriptors_may_come_there_are_none(serving, taken_back):
    server = serving(Kinds(), Taking())
    with Caller(server) as caller:
        for number in range(10):
            caller.quick(number)
    assert server.on_loop(list, taken_back) == []


def test_over_tcp_it_is_the_same(serving, taken_back):
    server = serving(Kinds(), endpoint="tcp:127.0.0.1:0;open")
    with server.client() as client:
        calm = client.proxy(Kinds)
        for _ in range(3):
            assert calm.later(7) == 7
            assert [calm.quick(number) for number in range(5)] == list(range(5))
            assert list(calm.each(3)) == [0, 1, 2]
    assert server.on_loop(len, taken_back) == 3


def test_it_is_watched_once_where_many_are_heard_together(serving, taken_back, monkeypatch):
    monkeypatch.setattr(connections, "hears_many", lambda watching, _count: isinstance(watching, Readers))
    server = serving(Kinds())
    with Caller(server) as caller:
        caller.later(1)
        for number in range(4):
            caller.quick(number)
        (fd,) = server.on_loop(list, taken_back)
        watched = server.on_loop(lambda: server.server._connections._readers)
        assert isinstance(watched, Readers) is HAS_EPOLL
        if HAS_EPOLL:
            assert not server.on_loop(server.loop.remove_reader, fd)
            assert fd in watched._callbacks
        caller.quick(5)


def test_a_call_in_pieces_takes_the_short_way(serving, monkeypatch):
    """Long ones always come so, and the long way reads each value twice."""
    found = []
    find = Calls.find
    monkeypatch.setattr(Calls, "find", lambda self, call: (found.append(call.method), find(self, call))[1])
    server = serving(Kinds())
    with Caller(server) as caller:
        for number in range(3):
            caller.in_pieces(server, number)
        assert server.on_loop(list, found) == []
        caller.later(1)
        caller.each(1)
        assert f"{NAME}.Each" in server.on_loop(list, found)
