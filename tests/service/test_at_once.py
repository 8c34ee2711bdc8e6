"""Calls that are answered in one step: nobody can tell from outside that they were.

Each frame is sent whole, which may take the short way, and cut in two, which never does.
"""

import asyncio
import json
import socket
from dataclasses import dataclass

import msgspec
import pytest

from daemonry import CallError, Context, Interface, errors
from daemonry.service.server.bounds import Bounds
from daemonry.service.server.dispatch import Calls
from daemonry.service.server.epoll import HAS_EPOLL
from daemonry.service.server.tap import Watcher
from daemonry.testing import wait_until

NAME = "org.example.once"


class Odd(CallError):
    """The number was odd."""

    n: int


class Point(msgspec.Struct):
    x: int
    y: float = 0.5


@dataclass
class Pair:
    left: str
    right: list[int]


@dataclass
class Picky:
    n: int

    def __post_init__(self):
        if self.n > 9:
            raise ZeroDivisionError("picky")


class Once(Interface, name=NAME, errors=(Odd,)):
    """What a plain method may be, may take, and may come to."""

    def __init__(self):
        self.calls = 0

    def count(self) -> int:
        self.calls += 1
        return 1

    def nothing(self) -> None:
        pass

    def echo(self, text: str, times: int = 1) -> str:
        return text * times

    def make_point(self, x: int, y: float = 1.5) -> Point:
        return Point(x, y)

    def make_pair(self, left: str) -> Pair:
        return Pair(left, [1, 2])

    def make_picky(self, picky: Picky) -> int:
        return picky.n

    def maybe(self, n: int | None = None) -> int | None:
        return n

    def even(self, n: int) -> None:
        if n % 2:
            raise Odd(n=n)

    def breaks(self) -> None:
        raise ZeroDivisionError

    def wrong(self) -> Point:
        return None  # type: ignore[return-value]

    def unsendable(self) -> float:
        return float("nan")

    def too_large(self) -> Point:
        return Point(1 << 64)

    def later(self) -> int:
        return self._later()  # type: ignore[return-value]

    async def _later(self):
        await asyncio.sleep(0)
        return 7

    def later_nothing(self) -> None:
        return self._later()  # type: ignore[return-value]

    def who(self, context: Context) -> str:
        return context.method

    async def awaited(self) -> int:
        return 8

    async def waited(self, n: int, turns: int = 1) -> Point:
        for _ in range(turns):
            await asyncio.sleep(0)
        return Point(n)

    async def async_breaks(self, behind: int = 0) -> int:
        for _ in range(behind):
            await asyncio.sleep(0)
        raise Odd(n=behind)

    async def cancels_itself(self, behind: int = 0) -> int:
        for _ in range(behind):
            await asyncio.sleep(0)
        asyncio.current_task().cancel()
        await asyncio.sleep(0)
        return 1

    async def wrong_later(self) -> Point:
        return None  # type: ignore[return-value]

    def rows(self, count: int = 2) -> list[Point]:
        return [Point(n, 0.5) for n in range(count)]

    def numbers(self, last: int = 3) -> list[int]:
        return [1, last]

    def sum(self, numbers: list[int]) -> int:
        return sum(numbers)


def call(name, parameters="{}", more="", interface=NAME):
    return f'{{"method":"{interface}.{name}","parameters":{parameters}{more}}}\0'.encode()


def xs(count):
    return call("Echo", f'{{"text":"x","times":{count}}}')


CALLS = [
    *(call(name) for name in ("Count", "Nothing", "Breaks", "Wrong", "Unsendable", "TooLarge", "Who")),
    *(call(name) for name in ("Later", "LaterNothing", "Awaited", "Nope", "Echo", "MakePoint", "Maybe")),
    *(call("Waited", f'{{"n":1,"turns":{turns}}}') for turns in (0, 1, 2)),
    *(call(name, f'{{"behind":{n}}}') for name in ("AsyncBreaks", "CancelsItself") for n in (0, 1)),
    call("WrongLater"),
    call("Rows"),
    call("Rows", '{"count":0}'),
    call("Numbers"),
    call("Numbers", '{"last":9223372036854775807}'),
    call("Numbers", '{"last":9223372036854775808}'),
    call("Numbers", '{"last":-9223372036854775808}'),
    call("Sum", '{"numbers":[1,2]}'),
    call("Sum", '{"numbers":[1,18446744073709551616]}'),
    call("Sum", '{"numbers":[1,"2"]}'),
    call("Count", '{"n":1}'),
    call("Echo", '{"text":"a:b"}'),
    call("Echo", '{"text":"a","times":3}'),
    call("Echo", '{"text":"a","text":"b"}'),
    call("Echo", '{"text":"\\u0000"}'),
    call("Echo", '{"text":"\\u00e9\\\\"}'),
    call("Echo", '{"text":5}'),
    call("Echo", '{"text":"a"} '),
    call("Echo", '{"text":"a"'),
    call("Echo", "null"),
    call("Echo", "[]"),
    call("Echo", '{"text":"%s"}' % ("x" * 30_000)),
    call("MakePoint", '{"x":1,"y":2}'),
    call("MakePoint", '{"x":1,"y":1e400}'),
    call("MakePoint", '{"x":18446744073709551615}'),
    call("MakePoint", '{"x":18446744073709551616}'),
    call("MakePoint", '{"x":123456789012345678901234567890}'),
    call("MakePoint", '{"x":1.0}'),
    call("MakePair", '{"left":"a"}'),
    call("MakePicky", '{"picky":{"n":3}}'),
    call("MakePicky", '{"picky":{"n":10}}'),
    call("MakePicky", '{"picky":{"n":3,"n":4}}'),
    call("Maybe", '{"n":null}'),
    call("Even", '{"n":2}'),
    call("Even", '{"n":3}'),
    call("Count", more=',"more":true'),
    call("Count", more=',"more":false'),
    call("Count", more=',"upgrade":true'),
    call("Count", more=',"more":true,"oneway":true'),
    call("Count", more=',"parameters":{}'),
    call("Count", more=',"org.example.vendor":{}'),
    call("Count", interface="org.example.other"),
    call("Echo", '{"text":"a"}')[:-1] + b"x",
    b'{"parameters":{},"method":"%s.Count"}\0' % NAME.encode(),
    b'{"method":"%s.Count"}\0' % NAME.encode(),
    b"\0",
    b'{"method":"%s.Count","parameters":{}}}\0' % NAME.encode(),
    b'{"method":"%s.Echo","parameters":{"text":"\xff"}}\0' % NAME.encode(),
]


INFO = call("GetInfo", interface="org.varlink.service")


class Peer:
    """A client that sends what it is given and reads frame by frame."""

    def __init__(self, endpoint):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(endpoint.removeprefix("unix:"))
        self.rest = b""

    def reply(self):
        """The next reply, or None at the end."""
        while b"\0" not in self.rest:
            data = self.sock.recv(1 << 16)
            if not data:
                return None
            self.rest += data
        found, _, self.rest = self.rest.partition(b"\0")
        return found

    def ask(self, data):
        self.sock.sendall(data)
        return json.loads(self.reply())


@pytest.fixture(params=["a fast connection", "a connection"])
def connected(serving, request):
    """A function that serves and returns a client, the implementation and the server.

    A client is a fast connection as long as it says nothing but calls in one piece, and never again.
    """
    peers = []

    def connect(server=None, **options):
        implementation = Once()
        server = server or serving(implementation, **options)
        peer = Peer(server.endpoint)
        peers.append(peer)
        if request.param == "a connection":
            peer.sock.sendall(INFO[:9])
            server.on_loop(lambda: None)  # so that the server has read it
            assert peer.ask(INFO[9:])["parameters"]["product"] == "test"
        assert peer.ask(INFO)["parameters"]["product"] == "test"
        return peer, implementation, server

    yield connect
    for peer in peers:
        peer.sock.close()


@pytest.fixture
def ways(monkeypatch):
    """For each read that might have been answered in one step, whether it was."""
    taken = []
    make_ready = Calls._made_ready

    def noted(self, bound):
        ready = make_ready(self, bound)

        def noted_ready(*arguments):
            found = ready(*arguments)
            taken.append(found is not None)
            return found

        return noted_ready

    monkeypatch.setattr(Calls, "_made_ready", noted)
    return taken


def _replies(server, peer, *pieces):
    for piece in pieces:
        peer.sock.sendall(piece)
        server.on_loop(lambda: None)  # so that the server has read it
    try:
        peer.sock.sendall(INFO)
    except BrokenPipeError:
        pass  # it has ended the connection
    found = []
    while (reply := peer.reply()) is not None and b'"vendor"' not in reply:
        found.append(reply)
    return found, reply is None


@pytest.mark.parametrize("data", CALLS, ids=lambda data: data[:90].decode(errors="replace"))
def test_a_whole_frame_is_answered_as_one_in_two_pieces(connected, data):
    whole, _, server = connected()
    cut, _, _ = connected(server)
    at_first = Peer(server.endpoint)
    half = len(data) // 2
    found = _replies(server, whole, data)
    assert found == _replies(server, cut, data[:half], data[half:])
    assert found == _replies(server, at_first, data)
    assert found[0] or found[1]
    at_first.sock.close()


@pytest.mark.parametrize(
    "data",
    [
        *(call("Count"), call("Nothing"), call("Maybe"), call("Even", '{"n":2}')),
        *(call("Awaited"), call("Waited", '{"n":1}'), call("Rows"), call("Sum", '{"numbers":[1]}')),
        *(
            call("Echo", '{"text":"a"}'),
            call("MakePoint", '{"x":1,"y":2.5}'),
            call("MakePair", '{"left":"a"}'),
        ),
    ],
)
def test_plain_calls_go_the_short_way(ways, connected, data):
    """Else nothing of the above would have been compared."""
    before, _, server = connected()
    before.ask(call("Awaited"))  # from now on a task is in reserve
    peer, _, _ = connected(server)
    ways.clear()
    assert "error" not in peer.ask(data)
    assert ways == [True]


def test_calls_behind_one_in_hand_wait_for_their_turn(connected):
    peer, implementation, _ = connected()
    peer.sock.sendall(call("Awaited") + call("Count"))
    peer.sock.sendall(call("Count"))
    assert [json.loads(peer.reply())["parameters"]["result"] for _ in range(3)] == [8, 1, 1]
    assert implementation.calls == 2


def test_a_oneway_call_is_not_answered(connected):
    peer, implementation, _ = connected()
    peer.sock.sendall(call("Count", more=',"oneway":true'))
    wait_until(lambda: implementation.calls == 1)
    assert "result" not in peer.ask(INFO)["parameters"]


def test_a_closed_gate_refuses_also_what_is_quick(connected):
    closed = []
    peer, implementation, _ = connected(
        gate=lambda: errors.Paused("org.daemonry.Control.Paused") if closed else None
    )
    assert peer.ask(call("Count")) == {"parameters": {"result": 1}}
    closed.append(True)
    assert peer.ask(call("Count"))["error"] == "org.daemonry.Control.Paused"
    assert "product" in peer.ask(INFO)["parameters"]
    closed.clear()
    assert peer.ask(call("Count")) == {"parameters": {"result": 1}}
    assert implementation.calls == 2


def test_the_tap_is_told_of_quick_calls(connected):
    peer, _, server = connected()
    watcher = server.on_loop(lambda: Watcher(server.calls.tap, payloads=True).__enter__())
    peer.ask(call("Echo", '{"text":"a"}'))
    peer.ask(call("Count"))
    peer.ask(call("Breaks"))
    told = server.on_loop(lambda: list(watcher._waiting))
    assert [(one.event, one.method.rpartition(".")[2], one.error) for one in told] == [
        *(("begin", "Echo", None), ("end", "Echo", None)),
        *(("begin", "Count", None), ("end", "Count", None)),
        *(("begin", "Breaks", None), ("end", "Breaks", "org.daemonry.Control.Failed")),
    ]
    assert told[0].parameters == {"text": "a"}


def test_the_longest_frame_is_the_same_either_way(connected):
    peer, _, server = connected(limits=Bounds(frame_bytes=300))
    for limit in (300, 301):
        data = call("Echo", '{"text":"%s"}')
        data = data.replace(b"%s", b"x" * (limit - len(data) + 3))
        assert len(data) == limit + 1
        found, ended = _replies(server, peer, data)
        assert ended is (limit > 300)
        assert (b"ProtocolViolation" in found[0]) is (limit > 300)


def test_the_longest_reply_is_the_same_either_way(connected):
    peer, _, _ = connected(limits=Bounds(frame_bytes=300))
    over = 300 - len(b'{"parameters":{"result":""}}')
    assert peer.ask(xs(over))["parameters"]["result"] == "x" * over
    assert "300" in peer.ask(xs(over + 1))["parameters"]["message"]
    assert peer.ask(call("Count")) == {"parameters": {"result": 1}}


def test_a_reply_that_does_not_fit_into_the_socket_comes_all_the_same(connected):
    peer, _, _ = connected()
    size = 3_000_000
    peer.sock.sendall(xs(size))
    peer.sock.sendall(call("Count"))
    assert len(json.loads(peer.reply())["parameters"]["result"]) == size
    assert json.loads(peer.reply()) == {"parameters": {"result": 1}}


def test_a_client_that_does_not_read_its_reply_is_let_go(connected):
    peer, _, server = connected(limits=Bounds(stall_s=0.05))
    peer.sock.sendall(xs(3_000_000))
    wait_until(lambda: server.on_loop(lambda: not server.server.connections))


def test_a_client_that_left_before_its_reply_harms_nobody(connected):
    peer, implementation, server = connected()
    other, _, _ = connected(server)
    peer.sock.sendall(call("Count"))
    peer.sock.close()
    wait_until(lambda: implementation.calls == 1)
    assert other.ask(call("Count")) == {"parameters": {"result": 1}}


@pytest.mark.skipif(not HAS_EPOLL, reason="the loop watches all connections")
def test_a_connection_in_use_is_watched_by_the_loop(connected):
    """One that has said nothing, or one thing, costs an entry in a dict; each event costs more there."""
    first, _, server = connected()
    cheap = server.server._connections._readers._callbacks
    for _ in range(3):
        first.ask(call("Count"))
        assert server.on_loop(lambda: len(cheap)) == 0
    silent = Peer(server.endpoint)
    wait_until(lambda: len(cheap) == 1)
    once = Peer(server.endpoint)
    once.ask(call("Count"))
    assert server.on_loop(lambda: len(cheap)) == 2
    for peer in (first, silent, once):
        peer.sock.close()
    wait_until(lambda: server.server.connections == 0)
    assert len(cheap) == 0
