"""A server of typed calls: every kind of handler, every way in which a client can behave."""

import asyncio
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from math import inf

import pytest

from daemonry import CallError, Context, Interface, errors, method
from daemonry.service.server.bounds import Bounds
from daemonry.service.server.streams import sending
from daemonry.service.server.varlink.outbox import Outbox
from daemonry.testing import wait_until

NAME = "org.example.kit"


class Busy(CallError):
    """Something else is under way."""

    job: str


class Undeclared(CallError):
    """Not in the interface."""

    n: int = 1


@dataclass
class Who:
    uid: int
    method: str
    more: bool


class Kit(Interface, name=NAME, errors=(Busy,)):
    """One method of each kind."""

    def __init__(self):
        self.seen = []
        self.asked = 0
        self.works_s = 0.0
        self.release = threading.Event()
        self.ended = threading.Event()
        self.cancelled = threading.Event()
        self.gone = threading.Event()

    def plain(self, n: int) -> int:
        self.seen.append(n)
        return n + 1

    async def later(self, n: int, delay_s: float = 0.0) -> int:
        await asyncio.sleep(delay_s)
        self.seen.append(n)
        return n + 2

    def long(self, size: int) -> str:
        return "x" * size

    @method(blocking=True)
    def in_thread(self, n: int) -> str:
        self.seen.append(n)
        return threading.current_thread().name

    @method(blocking=True)
    def held(self, context: Context) -> None:
        self.seen.append("held")
        while not self.release.wait(0.01):
            if context.gone.is_set():
                self.gone.set()
                return

    async def forever(self) -> None:
        self.seen.append("forever")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def count(self, to: int, delay_s: float = 0.0) -> AsyncIterator[int]:
        try:
            for n in range(to):
                if delay_s:
                    await asyncio.sleep(delay_s)
                yield n
        finally:
            self.ended.set()

    async def endless(self, size: int = 1) -> AsyncIterator[str]:
        try:
            while True:
                self.asked += 1
                yield "x" * size
                if size == 1:
                    await asyncio.sleep(0)
        finally:
            self.ended.set()

    async def never_waits(self, to: int) -> AsyncIterator[int]:
        try:
            for n in range(to):
                self.asked += 1
                if self.works_s:
                    time.sleep(self.works_s)  # noqa: ASYNC251  # as a handler that computes
                yield n
        finally:
            self.ended.set()

    async def quiet(self) -> AsyncIterator[int]:
        """Give one and then wait for nothing."""
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    async def nothings(self, to: int) -> AsyncIterator[None]:
        for _ in range(to):
            yield

    def who(self, context: Context) -> Who:
        return Who(context.peer.uid, context.method, context.more)

    def declared(self) -> None:
        raise Busy(job="that")

    def undeclared(self) -> None:
        raise Undeclared(n=3)

    async def unexpected(self) -> None:
        raise ZeroDivisionError("secret")

    def exits(self) -> None:
        raise SystemExit(3)

    async def fails_within(self) -> AsyncIterator[int]:
        yield 1
        raise Busy(job="within")

    def unsendable(self) -> float:
        return float("nan")

    async def unsendable_within(self) -> AsyncIterator[float]:
        try:
            yield 1.5
            yield float("nan")
            yield 2.5
        finally:
            self.ended.set()

    def wrong_result(self) -> Who:
        return None  # type: ignore[return-value]

    async def cancels_itself(self) -> None:
        raise asyncio.CancelledError

    @method(blocking=True)
    def echo(self, text: str) -> str:
        return text


def frame(name, parameters=None, **flags):
    """A call as bytes, by hand."""
    call = {"method": f"{NAME}.{name}", "parameters": parameters or {}, **flags}
    return json.dumps(call).encode() + b"\0"


class Raw:
    """A client that can do what ours never does."""

    def __init__(self, endpoint, receive_buffer=None):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.connect(endpoint.removeprefix("unix:"))
        self.rest = b""

    def send(self, *frames):
        self.sock.sendall(b"".join(frames))

    def reply(self):
        """The next reply, or None at the end of what the server sends."""
        while b"\0" not in self.rest:
            data = self.sock.recv(65536)
            if not data:
                return None
            self.rest += data
        found, _, self.rest = self.rest.partition(b"\0")
        return json.loads(found)

    def results(self, count):
        return [self.reply()["parameters"].get("result") for _ in range(count)]

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def only_connection(serving):
    """The server's side of the one connection that has said something, to see what it waits for."""

    def found():
        connections = serving.server._connections
        return list(connections._connections) if connections is not None else []

    return wait_until(found)[0]


@pytest.fixture
def kit(serving):
    kit = Kit()
    kit.serving = serving(kit)
    yield kit
    kit.release.set()


@pytest.fixture
def client(kit):
    with kit.serving.client() as client:
        yield client


def call(client, name, **parameters):
    return client.call(f"{NAME}.{name}", parameters)


# --- kinds of handlers --------------------------------------------------------------------------


def test_a_plain_handler_answers(client):
    assert call(client, "Plain", n=1) == {"result": 2}


def test_an_async_handler_answers(client):
    assert call(client, "Later", n=1) == {"result": 3}


def test_a_blocking_handler_runs_in_a_thread_and_the_others_go_on(kit, client):
    assert call(client, "InThread", n=1)["result"].startswith("daemonry-handler")
    with Raw(kit.serving.endpoint) as slow:
        slow.send(frame("Held"))
        wait_until(lambda: "held" in kit.seen)
        assert call(client, "Plain", n=1) == {"result": 2}
        kit.release.set()
        assert slow.reply() == {"parameters": {}}


def test_a_stream_gives_its_results_and_marks_the_last(kit):
    """Known to be the last without waiting: so the mark is on the last result, as peers expect."""
    with Raw(kit.serving.endpoint) as raw:
        raw.send(frame("Count", {"to": 3}, more=True))
        assert [raw.reply() for _ in range(3)] == [
            {"parameters": {"result": 0}, "continues": True},
            {"parameters": {"result": 1}, "continues": True},
            {"parameters": {"result": 2}},
        ]


@pytest.mark.parametrize("to", [1, 2, 3, 31, 32, 33, 64, 255, 256, 257, 1000])
def test_each_result_of_a_stream_that_never_waits_leaves_once(kit, to):
    """However many of them are taken in one step."""
    with Raw(kit.serving.endpoint) as raw:
        raw.send(frame("Count", {"to": to}, more=True))
        replies = [raw.reply() for _ in range(to)]
        raw.send(frame("Plain", {"n": 1}))
        assert raw.reply() == {"parameters": {"result": 2}}
    last = replies.pop()
    assert replies == [{"parameters": {"result": n}, "continues": True} for n in range(to - 1)]
    assert last == {"parameters": {"result": to - 1}}


@pytest.mark.parametrize("works_s", [0.0, 0.002], ids=["quick", "slow"])
def test_others_are_served_beside_a_stream_that_never_waits(kit, works_s):
    kit.works_s = works_s
    with Raw(kit.serving.endpoint) as raw, kit.serving.client() as client:
        raw.send(frame("NeverWaits", {"to": 10**9}, more=True))
        reading = threading.Thread(target=lambda: all(iter(raw.reply, None)))
        reading.start()
        wait_until(lambda: kit.asked > 10)
        for n in range(5):
            assert call(client, "Plain", n=n) == {"result": n + 1}
        assert not kit.ended.is_set()
        raw.sock.shutdown(socket.SHUT_RDWR)
        assert kit.ended.wait(10)
        reading.join()


def test_a_stream_of_delayed_results_ends_too(client):
    found = client.stream(f"{NAME}.Count", {"to": 3, "delay_s": 0.001})
    assert list(found) == [{"result": n} for n in range(3)]
    assert call(client, "Plain", n=1) == {"result": 2}


def test_a_result_is_passed_on_while_the_next_one_is_awaited(kit, client):
    stream = client.stream(f"{NAME}.Quiet")
    assert next(stream) == {"result": 1}
    stream.close()
    assert kit.ended.wait(10)


@pytest.mark.parametrize(("together_s", "most"), [(inf, 5), (-1.0, 100)])
def test_results_that_are_there_at_once_leave_together_for_a_while(client, monkeypatch, together_s, most):
    """A system call for each takes longer than to make it; a generator that computes long holds none back."""
    writes = []
    write = Outbox.write
    monkeypatch.setattr(sending, "TOGETHER_S", together_s)
    monkeypatch.setattr(Outbox, "write", lambda self: (writes.append(len(self)), write(self))[1])
    found = list(client.stream(f"{NAME}.Count", {"to": 50}))
    assert found == [{"result": n} for n in range(50)]
    sent = [count for count in writes if count]
    assert len(sent) <= most
    assert together_s > 0 or len(sent) >= 50


@pytest.mark.parametrize("to", [0, 1, 2])
def test_a_stream_of_nothing_in_particular_has_a_reply_for_each(client, to):
    assert list(client.stream(f"{NAME}.Nothings", {"to": to})) == [{}] * to


def test_an_endless_stream_ends_when_its_client_leaves(kit, client):
    for count, _ in enumerate(client.stream(f"{NAME}.Endless")):
        if count == 20:
            break
    assert kit.ended.wait(10)
    wait_until(lambda: kit.serving.calls.running == 0)


def test_more_on_a_plain_method_is_one_reply(client):
    assert list(client.stream(f"{NAME}.Plain", {"n": 1})) == [{"result": 2}]


def test_a_stream_is_refused_to_who_takes_one_reply(client):
    with pytest.raises(errors.ExpectedMore):
        call(client, "Count", to=1)


def test_a_handler_knows_who_calls(client):
    assert call(client, "Who") == {"uid": os.getuid(), "method": f"{NAME}.Who", "more": False}


def test_who_calls_is_no_parameter(client):
    with pytest.raises(errors.InvalidParameter, match="context"):
        call(client, "Who", context={})


# --- backpressure -------------------------------------------------------------------------------


def test_calls_that_wait_for_room_are_begun_where_all_is_sent_at_once(kit, monkeypatch):
    """A client that reads on another processor meanwhile takes a reply longer than the socket's buffer.

    Nothing tells then that there is room, and nothing else comes.
    """
    write = Outbox.write

    def all_of_it(outbox):
        outbox._sock.setblocking(True)
        try:
            write(outbox)
        finally:
            outbox._sock.setblocking(False)

    monkeypatch.setattr(Outbox, "write", all_of_it)
    with Raw(kit.serving.endpoint) as raw:
        raw.send(*(frame("Long", {"size": 300_000}) for _ in range(5)))
        assert [len(text) for text in raw.results(5)] == [300_000] * 5


@pytest.mark.parametrize("size", [100, 10_000, 100_000, 300_000])
def test_a_generator_is_not_asked_for_more_while_its_client_does_not_read(kit, size):
    """What waits is bounded by our mark and the kernel's buffer, whatever the stream could give."""
    with Raw(kit.serving.endpoint) as raw:
        raw.send(frame("Endless", {"size": size}, more=True))
        raw.reply()
        wait_until(lambda: only_connection(kit.serving)._out._drained is not None)
        asked = kit.asked
        assert kit.asked * size < 2_000_000
        raw.results(asked + 5)
        assert kit.asked > asked
    assert kit.ended.wait(10)


def test_a_quick_stream_leaves_time_for_others(kit, client):
    """A reader that keeps up never makes the stream wait; the loop must be shared all the same."""
    stop = threading.Event()

    def read():
        with Raw(kit.serving.endpoint) as raw:
            raw.send(frame("Endless", {"size": 100}, more=True))
            while not stop.is_set():
                raw.reply()

    reader = threading.Thread(target=read)
    reader.start()
    wait_until(lambda: kit.asked > 100)
    for n in range(20):
        assert call(client, "Plain", n=n) == {"result": n + 1}
    stop.set()
    reader.join(10)


def test_replies_that_are_not_read_hold_the_calls_behind_them(kit):
    """A client that only sends is not read for ever: neither its calls nor their replies pile up."""
    call_bytes = frame("Plain", {"n": 1}) * 200
    with Raw(kit.serving.endpoint) as raw:
        raw.sock.setblocking(False)
        sent = 0
        idle = 0
        while idle < 20 and sent < 200_000_000:
            try:
                sent += raw.sock.send(call_bytes)
                idle = 0
            except BlockingIOError:
                kit.serving.on_loop(lambda: None)
                idle += 1
        assert sent < 20_000_000


# --- order --------------------------------------------------------------------------------------


def test_pipelined_calls_are_answered_in_order_also_behind_a_slow_one(kit):
    with Raw(kit.serving.endpoint) as raw:
        raw.send(
            frame("Later", {"n": 1, "delay_s": 0.02}),
            frame("Plain", {"n": 2}),
            frame("Count", {"to": 2}, more=True),
            frame("Nope"),
            frame("Later", {"n": 3}),
        )
        assert raw.results(4) == [3, 3, 0, 1]
        assert raw.reply()["error"] == "org.varlink.service.MethodNotFound"
        assert raw.results(1) == [5]


@pytest.mark.parametrize(
    "quiet", ["Plain", "Later", "Nope", "Declared", "Unexpected", "Count", "Unsendable", "CancelsItself"]
)
def test_a_oneway_call_is_never_answered(kit, quiet):
    """Not even by an error, whatever its kind: the next reply would be taken for another call's."""
    with Raw(kit.serving.endpoint) as raw:
        parameters = {"n": 7} if quiet in {"Plain", "Later"} else {"to": 1} if quiet == "Count" else {}
        raw.send(frame(quiet, parameters, oneway=True), frame("Plain", {"n": 1}))
        assert raw.results(1) == [2]


def test_a_oneway_call_runs_though_its_client_left_at_once(kit):
    with Raw(kit.serving.endpoint) as raw:
        raw.send(
            frame("Later", {"n": 1, "delay_s": 0.02}, oneway=True), frame("Plain", {"n": 2}, oneway=True)
        )
    wait_until(lambda: kit.seen == [1, 2])


def test_calls_behind_one_whose_client_left_are_not_begun(kit):
    with Raw(kit.serving.endpoint) as raw:
        raw.send(frame("Forever"), frame("Plain", {"n": 2}), frame("Plain", {"n": 3}, oneway=True))
        wait_until(lambda: "forever" in kit.seen)
    assert kit.cancelled.wait(10)
    wait_until(lambda: kit.seen == ["forever", 3])


def test_a_half_closed_client_is_answered(kit):
    with Raw(kit.serving.endpoint) as raw:
        raw.send(
            frame("Later", {"n": 1, "delay_s": 0.01}), frame("Count", {"to": 2, "delay_s": 0.001}, more=True)
        )
        raw.sock.shutdown(socket.SHUT_WR)
        assert raw.results(3) == [3, 0, 1]
        assert raw.reply() is None


@pytest.mark.usefixtures("netcat")
def test_netcat_is_answered(kit):
    done = subprocess.run(
        ["nc", "-N", "-U", kit.serving.endpoint.removeprefix("unix:")],
        input=frame("Later", {"n": 1}),
        capture_output=True,
        timeout=10,
        check=True,
    )
    assert json.loads(done.stdout.rstrip(b"\0")) == {"parameters": {"result": 3}}


def test_blanks_before_the_first_call_come_in_any_pieces(kit):
    """The dialect is told by the first byte that is no blank, however late it comes."""
    with Raw(kit.serving.endpoint) as raw:
        raw.send(b"\n")
        kit.serving.on_loop(lambda: None)
        for byte in b" \n" + frame("Plain", {"n": 1}):
            raw.send(bytes((byte,)))
        assert raw.results(1) == [2]


# --- clients that go ----------------------------------------------------------------------------


def test_a_client_that_goes_has_its_async_call_cancelled(kit):
    with Raw(kit.serving.endpoint) as raw:
        raw.send(frame("Forever"))
        wait_until(lambda: "forever" in kit.seen)
    assert kit.cancelled.wait(10)
    wait_until(lambda: kit.serving.calls.running == 0)


def test_a_client_that_goes_is_told_to_a_thread(kit):
    with Raw(kit.serving.endpoint) as raw:
        raw.send(frame("Held"))
        wait_until(lambda: "held" in kit.seen)
    assert kit.gone.wait(10)


def test_a_half_closed_client_that_goes_later_is_noticed(kit):
    """Nothing is left to read that would tell; it is looked at now and then."""
    with Raw(kit.serving.endpoint) as raw:
        raw.send(frame("Forever"))
        raw.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: "forever" in kit.seen)
        assert not kit.cancelled.is_set()
    assert kit.cancelled.wait(10)


def test_a_server_that_ends_cancels_what_runs(serving):
    kit = Kit()
    serving = serving(kit)
    with Raw(serving.endpoint) as raw:
        raw.send(frame("Forever"))
        wait_until(lambda: "forever" in kit.seen)
        serving.end()
        assert raw.reply() is None
    assert kit.cancelled.wait(10)


# --- errors -------------------------------------------------------------------------------------


def test_a_declared_error_has_its_name_and_fields(client):
    with pytest.raises(errors.CallFailed) as caught:
        call(client, "Declared")
    assert (caught.value.error, caught.value.parameters) == (f"{NAME}.Busy", {"job": "that"})


@pytest.mark.parametrize("name", ["Undeclared", "Unexpected", "Exits"])
def test_any_other_exception_is_logged_with_its_trace_and_told_without(client, name, caplog):
    with pytest.raises(errors.Failed) as caught:
        call(client, name)
    assert f"{NAME}.{name} raised " in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert "Traceback" in caplog.text
    assert call(client, "Plain", n=1) == {"result": 2}


def test_a_stream_that_fails_gives_what_it_had(client):
    found = []
    with pytest.raises(errors.CallFailed, match="within"):
        found.extend(client.stream(f"{NAME}.FailsWithin"))
    stream = client.stream(f"{NAME}.FailsWithin")
    assert next(stream) == {"result": 1}
    with pytest.raises(errors.CallFailed, match="within"):
        next(stream)
    assert call(client, "Plain", n=1) == {"result": 2}


def test_a_result_that_cannot_be_sent_is_an_error_and_the_connection_goes_on(kit, client):
    with pytest.raises(errors.BadReply, match="not finite"):
        call(client, "Unsendable")
    stream = client.stream(f"{NAME}.UnsendableWithin")
    assert next(stream) == {"result": 1.5}
    with pytest.raises(errors.BadReply, match="not finite"):
        next(stream)
    assert kit.ended.wait(10)
    assert call(client, "Plain", n=1) == {"result": 2}


def test_a_handler_that_cancels_itself_does_not_leave_its_client_waiting(client):
    with pytest.raises(errors.Failed, match="cancelled"):
        call(client, "CancelsItself")


@pytest.mark.parametrize(
    ("parameters", "named", "reason"),
    [
        ({}, "n", "missing"),
        ({"n": "1"}, "n", "expected `int`, got `str`"),
        ({"n": 1.5}, "n", "expected `int`, got `float`"),
        ({"n": True}, "n", "expected `int`, got `bool`"),
        ({"n": None}, "n", "expected `int`, got `null`"),
        ({"n": 1, "m": 2}, "m", "unknown"),
    ],
)
def test_a_bad_parameter_is_named_with_what_was_expected(client, parameters, named, reason):
    with pytest.raises(errors.InvalidParameter) as caught:
        call(client, "Plain", **parameters)
    assert caught.value.parameters["parameter"] == named
    assert reason in caught.value.parameters["reason"]


def test_what_is_not_there_is_told_with_what_is_near(client):
    with pytest.raises(errors.MethodNotFound) as caught:
        call(client, "Plian")
    assert caught.value.parameters == {"method": "Plian", "nearest": "Plain"}
    with pytest.raises(errors.InterfaceNotFound) as caught:
        client.call("org.example.kti.Plain")
    assert caught.value.parameters == {"interface": "org.example.kti", "nearest": NAME}
    with pytest.raises(errors.MethodNotFound) as caught:
        call(client, "Qqqqq")
    assert caught.value.parameters == {"method": "Qqqqq"}


def test_a_broken_frame_is_told_once_and_ends_the_connection(kit):
    with Raw(kit.serving.endpoint) as raw:
        raw.send(frame("Plain", {"n": 1}), b'{"method":}\0', frame("Plain", {"n": 2}))
        assert raw.results(1) == [2]
        assert raw.reply()["error"] == "org.daemonry.Control.ProtocolViolation"
        assert raw.reply() is None
    assert kit.seen == [1]


# --- limits -------------------------------------------------------------------------------------


def test_a_frame_that_does_not_go_on_ends_the_connection(serving):
    kit = Kit()
    endpoint = serving(kit, limits=Bounds(frame_s=0.05)).endpoint
    with Raw(endpoint) as raw:
        raw.send(frame("Plain", {"n": 1}), frame("Plain", {"n": 2})[:-5])
        assert raw.results(1) == [2]
        assert raw.reply() is None


def test_a_client_between_two_calls_has_all_the_time(serving):
    server = serving(Kit(), limits=Bounds(frame_s=0.05, first_byte_s=0.5))
    with Raw(server.endpoint) as raw:
        data = frame("Plain", {"n": 1})
        raw.send(data[:5])
        wait_until(lambda: only_connection(server)._watch is not None)
        raw.send(data[5:])
        assert raw.results(1) == [2]
        # No clock runs for it any more: there is none that could end it.
        assert server.on_loop(lambda: only_connection(server)._watch) is None
        assert len(server.server._connections._unheard) == 0
        raw.send(frame("Later", {"n": 1, "delay_s": 0.05}))
        assert raw.results(1) == [3]


def test_a_large_frame_that_goes_on_has_the_time_it_needs(serving):
    """The deadline is for progress, not for the whole: a slow link may carry a large call."""
    limits = Bounds(frame_s=0.1, frame_progress_bytes=1000)
    server = serving(Kit(), limits=limits)
    data = frame("Echo", {"text": "x" * 40_000})
    with Raw(server.endpoint) as raw:
        raw.send(data[:1500])
        for start in range(1500, len(data), 10_000):
            counted_from = only_connection(server)._watched_bytes
            raw.send(data[start : start + 10_000])
            if start + 10_000 < len(data):  # a deadline passes, and finds that enough has come
                wait_until(lambda past=counted_from: only_connection(server)._watched_bytes > past)
        assert raw.results(1) == ["x" * 40_000]


def test_a_client_that_sends_nothing_is_let_go(serving):
    endpoint = serving(Kit(), limits=Bounds(first_byte_s=0.05)).endpoint
    with Raw(endpoint) as raw:
        assert raw.sock.recv(100).startswith(b"ERR:")
        assert raw.sock.recv(100) == b""


def test_a_client_that_never_reads_is_let_go(serving):
    kit = Kit()
    endpoint = serving(kit, limits=Bounds(stall_s=0.1)).endpoint
    with Raw(endpoint) as raw:
        raw.send(frame("Endless", {"size": 10_000}, more=True))
        assert kit.ended.wait(10)


def test_too_many_calls_are_refused_but_not_the_quick_ones(serving):
    kit = Kit()
    serving = serving(kit, most_running=2)
    with Raw(serving.endpoint) as one, Raw(serving.endpoint) as two, Raw(serving.endpoint) as three:
        one.send(frame("Forever"))
        two.send(frame("Forever"))
        wait_until(lambda: kit.seen == ["forever", "forever"])
        three.send(frame("Later", {"n": 1}), frame("Plain", {"n": 1}))
        assert three.reply() == {"parameters": {"limit": 2}, "error": "org.daemonry.Control.Overloaded"}
        assert three.results(1) == [2]
        one.close()
        wait_until(lambda: serving.calls.running == 1)
        three.send(frame("Later", {"n": 1}))
        assert three.results(1) == [3]


def test_connections_are_bounded_with_room_kept_for_the_control_plane(serving):
    """A daemon full of calls can still be asked and stopped."""
    endpoint = serving(Kit(), limits=Bounds(connections=8)).endpoint
    raws = []
    for n in range(6):
        raws.append(Raw(endpoint))
        raws[-1].send(frame("Plain", {"n": n}))
        assert raws[-1].results(1) == [n + 1]
    with Raw(endpoint) as late:
        late.send(frame("Plain", {"n": 1}))
        assert late.reply() == {"parameters": {"limit": 6}, "error": "org.daemonry.Control.Overloaded"}
        assert late.reply() is None
    with Raw(endpoint) as asks:
        asks.send(b"STATUS\n")
        assert b"running" in asks.sock.recv(1000)
    idle = [Raw(endpoint) for _ in range(2)]
    with Raw(endpoint) as late:
        assert late.sock.recv(100) == b"ERR: Too many connections\n"
    for raw in (*raws, *idle):
        raw.close()


def test_connections_of_one_user_are_bounded(serving):
    endpoint = serving(Kit(), limits=Bounds(connections_per_uid=2)).endpoint
    with Raw(endpoint) as one, Raw(endpoint) as two:
        for raw in (one, two):
            raw.send(frame("Plain", {"n": 1}))
            assert raw.results(1) == [2]
        with Raw(endpoint) as three:
            assert b"Too many connections of this user" in three.sock.recv(100)
        two.close()

        def is_let_in():
            with Raw(endpoint) as again:
                try:
                    again.send(frame("Plain", {"n": 2}))
                    return again.results(1) == [3]
                except (OSError, ValueError, TypeError):
                    return False

        wait_until(is_let_in)


def test_another_user_is_refused_before_a_byte_is_read(serving_once, as_nobody, socket_path):
    kit = Kit()
    serving_once(kit)
    socket_path.chmod(0o666)
    script = (
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.connect(sys.argv[1])\n"
        "try: s.sendall(sys.argv[2].encode() + b'\\0')\n"
        "except BrokenPipeError: pass  # refused already\n"
        "print(s.recv(1000))"
    )
    command = as_nobody(script, socket_path, frame("Plain", {"n": 1})[:-1].decode())
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert "Permission denied" in done.stdout
    assert kit.seen == []


def test_a_call_that_is_too_long_is_refused_from_what_has_come(serving):
    endpoint = serving(Kit(), limits=Bounds(frame_bytes=1000)).endpoint
    with Raw(endpoint) as raw:
        raw.send(frame("Plain", {"n": 1}), b'{"method":"' + b"x" * 1000)
        assert raw.results(1) == [2]
        reply = raw.reply()
        assert reply["error"] == "org.daemonry.Control.ProtocolViolation"
        assert "1000" in reply["parameters"]["reason"]
        assert raw.reply() is None


def test_a_reply_that_is_too_long_is_an_error(serving):
    endpoint = serving(Kit(), limits=Bounds(frame_bytes=1000)).endpoint
    with Raw(endpoint) as raw:
        raw.send(frame("Endless", {"size": 2000}, more=True), frame("Plain", {"n": 1}))
        assert "1000" in raw.reply()["parameters"]["message"]
        assert raw.results(1) == [2]
