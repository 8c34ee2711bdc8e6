"""Pipelines: many calls ahead of their replies, in order, each with an outcome of its own.

The daemon runs in the test's process, or is a peer that goes by a script; a daemon that is killed or paused
is a process.
"""

import asyncio
import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator

import msgspec
import pytest

from daemonry import AsyncClient, CallError, Client, Context, Fd, Interface, connect, errors, limits, method
from daemonry.service.client.engine import NamedMethod
from daemonry.service.client.pending_call import PendingCall
from daemonry.service.client.pipelined import Ledger, QueuedCall
from daemonry.wire import fast_varlink
from daemonry.wire.typed_reply import reader, run_reader

NAME = "org.example.piped"
LINES = b'{"parameters":{"result":%d}}\0'


class Odd(CallError):
    """The number was odd."""

    n: int


class Pair(msgspec.Struct):
    left: int
    right: str


class Piped(Interface, name=NAME, errors=(Odd,)):
    """One method of each kind."""

    def __init__(self):
        self.noted = []
        self.going = threading.Semaphore(0)
        self.go = threading.Event()

    def double(self, n: int) -> int:
        return n * 2

    def even(self, n: int) -> int:
        if n % 2:
            raise Odd(n=n)
        return n

    def pair(self, left: int, right: str) -> Pair:
        return Pair(left, right)

    def echo(self, text: str) -> str:
        return text

    async def soon(self, n: int) -> int:
        return n

    async def later(self, n: int) -> int:
        await asyncio.sleep(0)
        return n

    @method(blocking=True)
    def thread(self, n: int) -> int:
        return n

    @method(blocking=True)
    def held(self) -> int:
        self.going.release()
        self.go.wait(20)
        return 1

    @method(oneway=True)
    def note(self, n: int) -> None:
        self.noted.append(n)

    def noted_so_far(self) -> list[int]:
        return self.noted

    async def count(self, n: int) -> AsyncIterator[int]:
        for number in range(n):
            yield number

    def give(self) -> Fd:
        return Fd.open(os.devnull)

    def who(self, context: Context) -> str:
        return context.method


@pytest.fixture
def piped(serving_once):
    piped = Piped()
    piped.endpoint = serving_once(piped).endpoint
    yield piped
    piped.go.set()


@pytest.fixture
def client(piped):
    with Client.connect(piped.endpoint) as client:
        yield client


class Scripted:
    """A peer that reads, answers the first calls, and then does something else."""

    def __init__(self, path, answered, then):
        self.endpoint = f"unix:{path}"
        self.received = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._answered = answered
        self._then = then
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def _play(self):
        sock, _ = self._listener.accept()
        with sock:
            sock.settimeout(10)
            number = 0
            with contextlib.suppress(OSError):
                while number < self._answered and (data := sock.recv(1 << 16)):
                    self.received += data
                    for _ in range(min(data.count(b"\0"), self._answered - number)):
                        sock.sendall(LINES % number)
                        number += 1
                self._then(sock)

    def close(self):
        self._listener.close()
        self._thread.join(10)
        assert not self._thread.is_alive()


def on_a_loop(test):
    """Run a test that is a coroutine function."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(test(*args, **kwargs))

    return run


@pytest.fixture
def scripted(tmp_path):
    made = []

    def make(answered, then=lambda sock: None):
        made.append(Scripted(tmp_path / "peer", answered, then))
        return made[-1]

    yield make
    for one in made:
        one.close()


# --- values -------------------------------------------------------------------------------------------


def test_results_and_errors_belong_to_their_calls(client):
    with client.pipeline() as pipeline:
        calls = pipeline.proxy(Piped)
        doubled = [calls.double(n) for n in range(50)]
        even = [calls.even(n) for n in range(50)]
        pairs = [calls.pair(left=n, right=str(n)) for n in range(50)]
        others = [calls.later(7), calls.thread(8), calls.soon(9), calls.who()]
        assert doubled[3].result() == 6  # within the block too
    assert [one.result() for one in doubled] == [n * 2 for n in range(50)]
    assert [one.result() for one in pairs] == [Pair(n, str(n)) for n in range(50)]
    assert [one.result() for one in others] == [7, 8, 9, f"{NAME}.Who"]
    for n, one in enumerate(even):
        assert one.outcome == "done"
        if n % 2:
            with pytest.raises(Odd) as raised:
                one.result()
            assert raised.value.n == n
        else:
            assert one.result() == n


def test_calls_by_name_and_by_a_method(client):
    with client.pipeline() as pipeline:
        named = pipeline.call(f"{NAME}.Double", {"n": 4})
        typed = pipeline.remote(Piped.double)(5)
        missing = pipeline.call(f"{NAME}.Nothing")
        unfit = pipeline.call(f"{NAME}.Double", {"n": "x"})
    assert named.result() == {"result": 8}
    assert typed.result() == 10
    with pytest.raises(errors.MethodNotFound):
        missing.result()
    with pytest.raises(errors.InvalidParameter):
        unfit.result()


@pytest.mark.parametrize("kind", ["count", "give"])
def test_a_call_that_needs_its_own_connection_is_refused_by_name(client, kind):
    with client.pipeline() as pipeline:
        calls = pipeline.proxy(Piped)
        arguments = (3,) if kind == "count" else ()
        with pytest.raises(errors.LocalProtocolError, match=rf"{NAME}.{kind.title()} (streams|passes)"):
            getattr(calls, kind)(*arguments)
        by_name = pipeline.call(f"{NAME}.Count", {"n": 3})
        assert calls.double(1).result() == 2
    with pytest.raises(errors.ExpectedMore):
        by_name.result()


def test_oneway_calls_run_in_order_and_are_done_once_sent(client):
    with client.pipeline() as pipeline:
        calls = pipeline.proxy(Piped)
        notes = [calls.note(n) for n in range(20)]
        named = pipeline.oneway(f"{NAME}.Note", {"n": 20})
        noted = calls.noted_so_far()
        notes += [named, calls.note(21)]
    assert noted.result() == list(range(21))
    assert {one.outcome for one in notes} == {"maybe_ran"}
    assert {one.result() for one in notes} == {None}


def test_the_connection_is_used_again_and_other_calls_have_their_own(piped, client):
    with client.pipeline() as pipeline:
        held = pipeline.proxy(Piped).held()
        pipeline.flush()
        assert piped.going.acquire(timeout=10)
        assert client.proxy(Piped).double(2) == 4  # beside the pipeline, whose call still runs
        piped.go.set()
    assert held.result() == 1
    assert client.proxy(Piped).double(3) == 6
    assert "2 connections, 0 in a call" in repr(client)


def test_a_pipeline_is_used_once_and_in_its_block(client):
    pipeline = client.pipeline()
    with pytest.raises(errors.LocalProtocolError, match="inside its `with` block"):
        pipeline.call(f"{NAME}.Double", {"n": 1})
    with pipeline:
        pass
    with pytest.raises(errors.LocalProtocolError, match="inside its `with` block"):
        pipeline.call(f"{NAME}.Double", {"n": 1})
    with pytest.raises(errors.LocalProtocolError, match="once"), pipeline:
        pass


def test_a_call_that_has_no_form_is_refused_and_the_others_go_on(client):
    with client.pipeline() as pipeline:
        first = pipeline.call(f"{NAME}.Double", {"n": 1})
        with pytest.raises(errors.NotSendable):
            pipeline.call(f"{NAME}.Double", {"n": object()})
        with pytest.raises(errors.NotSendable, match="longer than"):
            pipeline.call(f"{NAME}.Echo", {"text": "x" * (17 << 20)})
        with pytest.raises(TypeError):
            pipeline.proxy(Piped).double()
        last = pipeline.call(f"{NAME}.Double", {"n": 2})
    assert [first.result(), last.result()] == [{"result": 2}, {"result": 4}]


def test_a_hundred_thousand_calls(client):
    with client.pipeline() as pipeline:
        double = pipeline.proxy(Piped).double
        calls = [double(n) for n in range(100_000)]
    assert all(one.result() == 2 * n for n, one in enumerate(calls))


def test_long_calls_and_long_replies_fill_both_directions(client):
    """Neither side waits for the other: the client reads while it has to wait for room."""
    texts = [chr(97 + n) * 300_000 for n in range(20)]
    with client.pipeline(timeout_s=20) as pipeline:
        echo = pipeline.proxy(Piped).echo
        calls = [echo(text) for text in texts]
    assert [one.result() for one in calls] == texts


def test_threads_share_a_pipeline(client):
    wrong = []
    with client.pipeline() as pipeline:
        double = pipeline.proxy(Piped).double

        def run(first):
            calls = [(n, double(n)) for n in range(first, first + 2000)]
            wrong.extend(n for n, one in calls if one.result() != 2 * n)

        threads = [threading.Thread(target=run, args=(first * 2000,)) for first in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert not wrong


# --- losses -------------------------------------------------------------------------------------------


def test_a_connection_that_is_lost_in_the_middle_tells_each_call(scripted):
    peer = scripted(3)
    with Client.connect(peer.endpoint) as client, client.pipeline() as pipeline:
        calls = [pipeline.call(f"{NAME}.Double", {"n": n}) for n in range(6)]
    assert [one.outcome for one in calls] == ["done"] * 3 + ["maybe_ran"] * 3
    assert [one.result()["result"] for one in calls[:3]] == [0, 1, 2]
    for one in calls[3:]:
        with pytest.raises(errors.ConnectionLost) as raised:
            one.result()
        assert raised.value.ran == "maybe"


def test_calls_that_were_not_sent_did_not_run(scripted):
    """The peer reads some, answers one and goes: its buffer holds others, and the rest was never sent."""
    peer = scripted(1)
    with Client.connect(peer.endpoint) as client, client.pipeline() as pipeline:
        calls = [pipeline.call(f"{NAME}.Echo", {"text": "x" * 50_000}) for _ in range(100)]
        late = pipeline.call(f"{NAME}.Echo", {"text": "late"})
    outcomes = [one.outcome for one in (*calls, late)]
    assert outcomes == sorted(outcomes, key=("done", "maybe_ran", "not_sent").index)
    assert outcomes[0] == "done"
    assert late.outcome == "not_sent"
    assert peer.received.count(b"\0") <= outcomes.count("done") + outcomes.count("maybe_ran")
    with pytest.raises(errors.ConnectionLost) as raised:
        late.result()
    assert raised.value.ran == "no"


@pytest.mark.parametrize("garbage", [b"nonsense\0", b'{"parameters":{},"continues":true}\0', b"{}\0" * 5])
def test_bytes_that_are_no_reply_end_the_pipeline(scripted, garbage):
    peer = scripted(1, lambda sock: (sock.sendall(garbage), sock.recv(1)))
    with Client.connect(peer.endpoint) as client, client.pipeline(timeout_s=5) as pipeline:
        calls = [pipeline.call(f"{NAME}.Double", {"n": n}) for n in range(3)]
        pipeline.flush()
    assert calls[0].outcome == "done"
    answered = 3 if garbage.startswith(b"{}") else 1
    assert [one.outcome for one in calls] == ["done"] * answered + ["maybe_ran"] * (3 - answered)
    if answered == 1:
        with pytest.raises(errors.RemoteProtocolError):
            calls[1].result()


def test_no_reply_in_time_ends_the_pipeline(piped, client):
    with client.pipeline(timeout_s=0.2) as pipeline:
        calls = pipeline.proxy(Piped)
        first, held, last = calls.double(1), calls.held(), calls.double(2)
        with pytest.raises(errors.DeadlineExceeded) as raised:
            held.result()
        assert raised.value.ran == "maybe"
        after = calls.double(3)
    assert [one.outcome for one in (first, held, last, after)] == [
        *("done", "maybe_ran", "maybe_ran", "not_sent")
    ]
    assert client.proxy(Piped).double(4) == 8  # on another connection


def test_an_exception_in_the_block_sends_nothing_more(piped, client):
    note = None

    def left_early():
        nonlocal note
        with client.pipeline() as pipeline:
            note = pipeline.proxy(Piped).note(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        left_early()
    assert note.outcome == "not_sent"
    assert client.proxy(Piped).noted_so_far() == []


def test_a_client_that_is_closed_ends_its_pipelines(piped, client):
    with client.pipeline() as pipeline:
        held = pipeline.proxy(Piped).held()
        pipeline.flush()
        assert piped.going.acquire(timeout=10)
        closing = threading.Thread(target=client.close)
        closing.start()
        with pytest.raises(errors.ClientClosed):
            held.result()
        closing.join(10)
    assert held.outcome == "maybe_ran"


def test_one_call_is_cancelled_alone(piped, client):
    with client.pipeline() as pipeline:
        calls = pipeline.proxy(Piped)
        held, sent = calls.held(), calls.double(1)
        pipeline.flush()
        assert piped.going.acquire(timeout=10)
        unsent, last = calls.note(2), calls.double(3)
        sent.cancel()
        unsent.cancel()
        piped.go.set()
    assert (held.result(), last.result()) == (1, 6)
    assert (sent.outcome, unsent.outcome) == ("maybe_ran", "not_sent")
    with pytest.raises(errors.CallCancelled) as raised:
        sent.result()
    assert raised.value.ran == "maybe"
    assert client.proxy(Piped).noted_so_far() == []


def test_a_connection_that_ended_while_nobody_called_is_made_again(serving_once):
    piped = Piped()
    first = serving_once(piped)
    with Client.connect(first.endpoint) as client:
        assert client.proxy(Piped).double(1) == 2
        first.stop()
        serving_once(piped)
        with client.pipeline() as pipeline:
            call = pipeline.proxy(Piped).double(2)
        assert call.result() == 4


def test_a_client_of_one_connection_pipelines_on_it(piped):
    with Client(connect(piped.endpoint)) as client:
        with client.pipeline() as pipeline:
            call = pipeline.proxy(Piped).double(2)
            with pytest.raises(errors.LocalProtocolError, match="another connection"):
                client.proxy(Piped).double(1)
        assert call.result() == 4
        assert client.proxy(Piped).double(1) == 2


def test_a_signal_handler_may_not_call_in_the_middle_of_another_call(piped, client):
    found = []
    with client.pipeline() as pipeline:
        calls = pipeline.proxy(Piped)
        held = calls.held()

        def handler(*_):
            try:
                calls.double(1).result()
            except errors.LocalProtocolError as error:
                found.append(str(error))
            piped.go.set()

        before = signal.signal(signal.SIGUSR1, handler)
        sender = threading.Thread(
            target=lambda: piped.going.acquire(timeout=10) and os.kill(os.getpid(), signal.SIGUSR1)
        )
        sender.start()
        try:
            assert held.result() == 1
        finally:
            sender.join(10)
            signal.signal(signal.SIGUSR1, before)
    assert found
    assert "signal handler" in found[0]


def test_a_forked_child_has_no_part_in_the_parents_pipeline(piped):
    program = f"""
    import os
    from daemonry import Client, errors
    with Client.connect({piped.endpoint!r}) as client:
        with client.pipeline() as pipeline:
            first = pipeline.call("{NAME}.Double", {{"n": 1}})
            pipeline.flush()
            second = pipeline.call("{NAME}.Double", {{"n": 2}})
            pid = os.fork()
            if pid == 0:
                try:
                    assert first.outcome in ("maybe_ran", "done")
                    assert second.outcome == "not_sent"
                    try:
                        second.result()
                    except errors.InheritedConnection:
                        assert client.call("{NAME}.Double", {{"n": 3}}) == {{"result": 6}}
                        os._exit(7)
                finally:
                    os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert (first.result(), second.result()) == ({{"result": 2}}, {{"result": 4}})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


DAEMON = """
import asyncio, os, sys
from daemonry import Interface
from daemonry.service.server.dispatch import Calls
from daemonry.service.server.server import Server

class Work(Interface, name="org.example.work"):
    def run(self, n: int) -> int:
        return n

class State:
    def get_status(self):
        return {}

async def main():
    calls = Calls()
    calls.serve(Work())
    server = Server(sys.argv[1], calls=calls)
    server.bind()
    print("ready", flush=True)
    await server.run(State(), asyncio.Event())

asyncio.run(main())
"""


@pytest.fixture
def process(tmp_path):
    """A daemon that is a process of its own, and its endpoint."""
    endpoint = f"unix:{tmp_path}/work"
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON, endpoint], stdout=subprocess.PIPE, text=True)
    try:
        assert daemon.stdout.readline() == "ready\n"
        daemon.endpoint = endpoint
        yield daemon
    finally:
        daemon.kill()
        daemon.wait()
        daemon.stdout.close()


def test_a_killed_daemon_leaves_no_call_without_an_outcome(process):
    with Client.connect(process.endpoint) as client, client.pipeline() as pipeline:
        calls = [pipeline.call("org.example.work.Run", {"n": n}) for n in range(2000)]
        assert calls[0].result() == {"result": 0}
        process.send_signal(signal.SIGSTOP)
        calls += [pipeline.call("org.example.work.Run", {"n": n}) for n in range(2000, 4000)]
        process.kill()
        process.wait()
        calls += [pipeline.call("org.example.work.Run", {"n": n}) for n in range(4000, 60_000)]
    outcomes = [one.outcome for one in calls]
    assert outcomes == sorted(outcomes, key=("done", "maybe_ran", "not_sent").index)
    assert outcomes[0] == "done"
    assert outcomes[-1] == "not_sent"


def test_a_paused_daemon_is_waited_for_and_not_fed_without_end(process):
    with Client.connect(process.endpoint) as client, client.pipeline(timeout_s=0.5) as pipeline:
        first = pipeline.call("org.example.work.Run", {"n": 1})
        assert first.result() == {"result": 1}
        process.send_signal(signal.SIGSTOP)
        calls = [pipeline.call("org.example.work.Run", {"n": n}) for n in range(100)]
        with pytest.raises(errors.DeadlineExceeded):
            calls[0].result()
        process.send_signal(signal.SIGCONT)
    assert {one.outcome for one in calls} == {"maybe_ran"}


class HandsOver:
    """A daemon that hands over after its first call: it answers what came, and takes no more."""

    def __init__(self, path):
        self.endpoint = f"unix:{path}"
        self.ran = []
        self.over = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def _play(self):
        for hands_over in (True, False):
            sock, _ = self._listener.accept()
            with sock:
                sock.settimeout(10)
                rest = b""
                while data := sock.recv(1 << 16):
                    if hands_over:
                        sock.shutdown(socket.SHUT_RD)
                        self.over.set()
                    *whole, rest = (rest + data).split(b"\0")
                    self.ran += [msgspec.json.decode(one)["parameters"]["n"] for one in whole]
                    sock.sendall(b"".join(LINES % n for n in self.ran[-len(whole) :]))

    def close(self):
        self._listener.close()
        self._thread.join(10)
        assert not self._thread.is_alive()


def test_what_a_daemon_that_hands_over_does_not_take_goes_to_the_next(tmp_path):
    peer = HandsOver(tmp_path / "peer")
    try:
        with Client.connect(peer.endpoint) as client, client.pipeline() as pipeline:
            double = pipeline.remote(Piped.double)
            calls = [double(n) for n in range(10)]
            pipeline.flush()
            assert peer.over.wait(10)
            calls += [double(n) for n in range(10, 5000)]
        assert [one.result() for one in calls] == list(range(5000))
        assert peer.ran == list(range(5000))
    finally:
        peer.close()


@on_a_loop
async def test_asyncio_what_a_daemon_that_hands_over_does_not_take_goes_to_the_next(tmp_path):
    peer = HandsOver(tmp_path / "peer")
    try:
        async with await AsyncClient.connect(peer.endpoint) as client, client.pipeline() as pipeline:
            double = pipeline.remote(Piped.double)
            calls = [double(n) for n in range(10)]
            await pipeline.drain()
            assert await asyncio.to_thread(peer.over.wait, 10)
            calls += [double(n) for n in range(10, 5000)]
            assert await calls[-1] == 4999
        assert [one.result() for one in calls] == list(range(5000))
        assert peer.ran == list(range(5000))
    finally:
        peer.close()


# --- asyncio ------------------------------------------------------------------------------------------


@on_a_loop
async def test_asyncio_many_calls_on_one_connection(piped):
    async with await AsyncClient.connect(piped.endpoint) as client:
        async with client.pipeline() as pipeline:
            calls = pipeline.proxy(Piped)
            found = await asyncio.gather(*(calls.double(n) for n in range(2000)))
            assert found == [2 * n for n in range(2000)]
            with pytest.raises(Odd):
                await calls.even(3)
            note, named = calls.note(1), pipeline.call(f"{NAME}.Later", {"n": 5})
            with pytest.raises(errors.LocalProtocolError, match="no reply yet"):
                named.result()
            typed = pipeline.remote(Piped.soon)(6)
        assert (note.result(), named.result(), typed.result()) == (None, {"result": 5}, 6)
        assert await client.call(f"{NAME}.Double", {"n": 4}) == {"result": 8}
        assert "1 connections, 0 in a call" in repr(client)


@on_a_loop
async def test_asyncio_long_calls_and_replies_fill_both_directions(piped):
    texts = [chr(97 + n) * 300_000 for n in range(20)]
    async with await AsyncClient.connect(piped.endpoint) as client, client.pipeline() as pipeline:
        calls = []
        for text in texts:
            calls.append(pipeline.proxy(Piped).echo(text))
            await pipeline.drain()
        assert [await one for one in calls] == texts


@on_a_loop
async def test_asyncio_a_cancelled_task_cancels_its_call_alone(piped):
    async with await AsyncClient.connect(piped.endpoint) as client, client.pipeline() as pipeline:
        calls = pipeline.proxy(Piped)
        held = calls.held()
        await pipeline.drain()
        assert await asyncio.to_thread(piped.going.acquire, True, 10)
        slow, other = calls.double(1), calls.double(2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await slow
        piped.go.set()
        assert (await held, await other) == (1, 4)
        assert slow.outcome == "maybe_ran"
        with pytest.raises(errors.CallCancelled):
            await slow


@on_a_loop
async def test_asyncio_a_lost_connection_tells_each_call(scripted):
    peer = scripted(3)
    async with await AsyncClient.connect(peer.endpoint) as client, client.pipeline() as pipeline:
        calls = [pipeline.call(f"{NAME}.Double", {"n": n}) for n in range(6)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        late = pipeline.call(f"{NAME}.Double", {"n": 6})
    assert [one.outcome for one in calls] == ["done"] * 3 + ["maybe_ran"] * 3
    assert [type(one) for one in found[3:]] == [errors.ConnectionLost] * 3
    assert late.outcome == "not_sent"


@on_a_loop
async def test_asyncio_no_reply_in_time_ends_the_pipeline(piped):
    async with await AsyncClient.connect(piped.endpoint) as client:
        async with client.pipeline(timeout_s=0.2) as pipeline:
            first, held = pipeline.proxy(Piped).double(1), pipeline.proxy(Piped).held()
            with pytest.raises(errors.DeadlineExceeded):
                await held
        assert (first.outcome, held.outcome) == ("done", "maybe_ran")
        assert await client.call(f"{NAME}.Double", {"n": 4}) == {"result": 8}


@on_a_loop
async def test_asyncio_a_closed_client_ends_its_pipelines(piped):
    client = await AsyncClient.connect(piped.endpoint)
    async with client.pipeline() as pipeline:
        held = pipeline.proxy(Piped).held()
        await pipeline.drain()
        assert await asyncio.to_thread(piped.going.acquire, True, 10)
        client.close()
        with pytest.raises(errors.ClientClosed):
            await held


@on_a_loop
async def test_asyncio_a_cancelled_block_ends_the_connection(piped):
    async with await AsyncClient.connect(piped.endpoint) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), client.pipeline() as pipeline:
                held = pipeline.proxy(Piped).held()
        assert held.outcome == "maybe_ran"
        assert await client.call(f"{NAME}.Double", {"n": 4}) == {"result": 8}


@on_a_loop
async def test_asyncio_is_bounded(piped, monkeypatch):
    monkeypatch.setattr("daemonry.service.client.pipelined.PIPELINE_MOST_CALLS", 10)
    async with await AsyncClient.connect(piped.endpoint) as client, client.pipeline() as pipeline:
        double = pipeline.proxy(Piped).double
        calls = [double(n) for n in range(10)]
        with pytest.raises(errors.LocalProtocolError, match=r"await `drain\(\)`"):
            double(1)
        await pipeline.drain()
        calls.append(double(10))
    assert [one.result() for one in calls] == [2 * n for n in range(11)]


# --- the ledger ---------------------------------------------------------------------------------------


def test_what_the_kernel_may_have_taken_may_have_run():
    """Ctrl-C between a send and its count: nobody knows how much of the piece left."""
    ledger = Ledger(fast_varlink)
    calls = []
    for n in range(4):
        named = NamedMethod(f"{NAME}.Double", False, fast_varlink)
        calls.append(QueuedCall(None, named, named.frame({"n": n})))
        ledger.add(calls[-1])
    piece = ledger.take_unsent(len(calls[0].frame) * 3)
    ledger.sent(calls[0].end)
    ledger.end(lambda ran: errors.ConnectionLost("x", ran), calls[1].end - calls[0].end)
    assert piece.count(b"\0") == 3
    assert [one.outcome for one in calls] == ["maybe_ran", "maybe_ran", "not_sent", "not_sent"]


def test_a_call_that_is_queued_is_made_as_any_other(client):
    named = NamedMethod(f"{NAME}.Double", False, fast_varlink)
    with client.pipeline() as pipeline:
        queued = pipeline.queue(named, {"n": 2}, named.frame({"n": 2}))
        made = PendingCall(pipeline, named, queued.frame)
        for name in QueuedCall.__slots__:
            assert getattr(queued, name) == getattr(made, name)
    assert queued.result() == {"result": 4}


class _Counting:
    """A method of which many replies are read in one step; notes how they were read."""

    full_name = f"{NAME}.Double"

    def __init__(self):
        self.read_each, self.runs = reader(int, "result"), []
        self._read_run = run_reader(int, "result")

    def read(self, frame):
        self.runs.append(1)
        return self.read_each(frame)

    def read_run(self, frames, count):
        results = self._read_run(frames, count)
        self.runs.append(0 if results is NotImplemented else count)
        return results

    def error(self, raised):
        return raised


def _sent(converters):
    ledger = Ledger(fast_varlink)
    calls = [QueuedCall(None, one, b"x\0") for one in converters]
    for call in calls:
        ledger.add(call)
    ledger.sent(len(ledger.take_unsent(1 << 16)))
    return ledger, calls


def _queued(frames, oneways=()):
    ledger, one = Ledger(fast_varlink), _Counting()
    calls = [QueuedCall(None, one, frame, number in oneways) for number, frame in enumerate(frames)]
    for call in calls:
        ledger.add(call)
    return ledger, calls


@pytest.mark.parametrize("most", [1, 10, 1 << 16])
@pytest.mark.parametrize("cancelled", [(), (0,), (3, 4)])
@pytest.mark.parametrize("oneways", [(), (2,)])
def test_calls_are_taken_to_be_sent_in_their_order_with_the_ends_of_their_bytes(most, cancelled, oneways):
    frames = [b"%d" % number * (number + 1) + b"\0" for number in range(6)]
    ledger, calls = _queued(frames, oneways)
    for number in cancelled:
        ledger.cancel(calls[number], errors.CallCancelled("x", "no"))
    sent = b""
    while ledger.unsent_bytes:
        sent += ledger.take_unsent(most)
    taken = [number for number in range(6) if number not in cancelled]
    assert sent == b"".join(frames[number] for number in taken)
    for number in taken:
        assert sent[: calls[number].end].endswith(frames[number])
        assert len(sent[: calls[number].end]) == sum(len(frames[one]) for one in taken if one <= number)
    assert [calls[number].end for number in cancelled] == [0] * len(cancelled)
    ledger.sent(len(sent))
    assert [calls[number].outcome for number in oneways] == ["maybe_ran"] * len(oneways)
    ledger.receive(b"".join(LINES % number for number in taken if number not in oneways))
    assert ledger.is_at_rest
    assert [calls[one].value for one in taken if one not in oneways] == [
        one for one in taken if one not in oneways
    ]


@pytest.mark.parametrize("cancels", [True, False])
def test_calls_that_were_not_sent_whole_are_taken_again_with_those_behind_them(cancels):
    frames = [b"%d" % number * 10 + b"\0" for number in range(6)]
    ledger, calls = _queued(frames[:4], oneways=(2,))
    assert ledger.take_unsent(1 << 16) == b"".join(frames[:4])
    ledger.sent(15)  # the first, and a part of the second
    ledger.requeue()
    if cancels:
        ledger.cancel(calls[3], errors.CallCancelled("x", "no"))
    for frame in frames[4:]:
        calls.append(QueuedCall(None, calls[0].converter, frame))
        ledger.add(calls[-1])
    ledger.receive(LINES % 0)
    ledger.begin_again()
    again = [1, 2, 4, 5] if cancels else [1, 2, 3, 4, 5]
    assert ledger.take_unsent(1 << 16) == b"".join(frames[number] for number in again)
    ledger.sent(100)
    outcomes = [call.outcome for call in calls]
    assert outcomes == [
        "done",
        "waiting",
        "maybe_ran",
        "not_sent" if cancels else "waiting",
        *["waiting"] * 2,
    ]
    again.remove(2)
    ledger.receive(b"".join(LINES % number for number in again))
    assert [calls[number].value for number in again] == again
    assert ledger.is_at_rest


def test_calls_that_are_taken_in_several_pieces_have_their_ends_in_all_of_them():
    frames = [b"%d" % number * 10 + b"\0" for number in range(3)]
    ledger, calls = _queued(frames[:2])
    ledger.take_unsent(1 << 16)
    calls.append(QueuedCall(None, calls[0].converter, frames[2]))
    ledger.add(calls[2])
    ledger.take_unsent(1 << 16)
    assert [call.end for call in calls] == [11, 22, 33]


def test_many_replies_to_one_method_are_read_in_one_step():
    one, other = _Counting(), _Counting()
    ledger, calls = _sent([one] * 8 + [other] * 2)
    ledger.cancel(calls[3], errors.CallCancelled("x", "maybe"))
    ledger.receive(b"".join(LINES % n for n in range(6)) + (LINES % 6)[:5])
    ledger.receive((LINES % 6)[5:] + b"".join(LINES % n for n in range(7, 10)))
    assert [call.value for call in calls] == [0, 1, 2, None, 4, 5, 6, 7, 8, 9]
    assert calls[3].outcome == "maybe_ran"
    assert ledger.is_at_rest
    assert (one.runs, other.runs) == ([6, 1, 1], [1, 1])


def test_of_two_methods_the_first_ones_replies_are_read_in_one_step():
    one, other = _Counting(), _Counting()
    ledger, calls = _sent([one] * 5 + [other] * 3)
    ledger.receive(b"".join(LINES % n for n in range(8)))
    assert [call.value for call in calls] == list(range(8))
    assert (one.runs, other.runs) == ([5], [1, 1, 1])


def test_an_error_among_many_replies_is_its_calls_alone():
    one = _Counting()
    ledger, calls = _sent([one] * 6)
    error = b'{"error":"org.varlink.service.MethodNotFound","parameters":{"method":"x"}}\0'
    ledger.receive(LINES % 0 + LINES % 1 + error + LINES % 3 + LINES % 4 + LINES % 5)
    assert [call.value for call in calls] == [0, 1, None, 3, 4, 5]
    assert isinstance(calls[2].failure, errors.MethodNotFound)
    assert one.runs == [0, *[1] * 6]


def test_replies_before_one_that_is_none_have_their_calls():
    ledger, calls = _sent([_Counting()] * 6)
    with pytest.raises(errors.RemoteProtocolError):
        ledger.receive(LINES % 0 + LINES % 1 + b"no JSON\0" + LINES % 3 + LINES % 4)
    assert [call.outcome for call in calls] == ["done"] * 2 + ["waiting"] * 4


def test_a_reply_too_many_is_refused_behind_the_others():
    ledger, calls = _sent([_Counting()] * 6)
    with pytest.raises(errors.BadFrame):
        ledger.receive(b"".join(LINES % n for n in range(7)))
    assert [call.value for call in calls] == list(range(6))


def test_a_pipeline_costs_the_quick_commands_nothing():
    assert limits.PIPELINE_PIECE_BYTES <= 1 << 17
    script = (
        "import sys, daemonry.service.client.blocking as b; print([n for n in sys.modules if 'pipelin' in n])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"
