"""Both clients, typed and untyped: what they return, what they raise, and what that says of the call."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import msgspec
import pytest

from daemonry import AsyncClient, CallError, Client, Context, Interface, Pool, errors, method
from daemonry.clock import monotonic
from daemonry.limits import READ_BYTES
from daemonry.service.client.engine import CALL_TIMEOUT_S, first_deadline
from daemonry.testing import wait_until
from daemonry.transport.connect import connect
from daemonry.transport.endpoint import Endpoint
from daemonry.transport.stream import Stream

NAME = "org.example.jobs"


class Busy(CallError):
    """Another job is under way."""

    job: str
    since_s: float = 0.0
    note: str | None


@dataclass
class Job:
    name: str
    size: int = 1
    tags: list[str] = field(default_factory=list)


class Jobs(Interface, name=NAME, errors=(Busy,)):
    def __init__(self):
        self.noted = []
        self.here = 0
        self.met = asyncio.Event()
        self.ended = threading.Event()
        self.connections = set()

    def start(self, job: Job, from_: str = "here", limit: int | None = None) -> Job:
        return Job(f"{job.name} {from_} {limit}", job.size + 1, job.tags)

    async def slow(self, delay_s: float) -> str:
        await asyncio.sleep(delay_s)
        return "slow"

    async def meet(self, others: int) -> None:
        """Return once `others` calls were here at the same time."""
        self.here += 1
        if self.here == others:
            self.met.set()
        await self.met.wait()

    async def hang(self) -> None:
        await asyncio.Event().wait()

    def fail(self, job: str) -> None:
        raise Busy(job=job)

    async def count(self, to: int) -> AsyncIterator[int]:
        try:
            for n in range(to):
                yield n
                await asyncio.sleep(0)
        finally:
            self.ended.set()

    async def fail_within(self) -> AsyncIterator[int]:
        yield 1
        raise Busy(job="within")

    @method(oneway=True)
    def note(self, text: str) -> None:
        self.noted.append(text)

    def wrong(self) -> int:
        return "text"  # type: ignore[return-value]


@pytest.fixture
def jobs(serving):
    jobs = Jobs()
    jobs.serving = serving(jobs)
    jobs.endpoint = jobs.serving.endpoint
    return jobs


@pytest.fixture
def client(jobs):
    with Client.connect(jobs.endpoint) as client:
        yield client


@pytest.fixture
def proxy(client):
    return client.proxy(Jobs)


def test_a_socket_may_be_given_as_a_path(jobs):
    path = Path(jobs.endpoint.removeprefix("unix:"))

    async def both():
        async with await AsyncClient.connect(path) as client, Pool(path) as pool:
            return await client.proxy(Jobs).slow(0), await pool.proxy(Jobs).slow(0)

    with Client.connect(path) as client:
        assert client.proxy(Jobs).slow(0) == "slow"
    assert asyncio.run(both()) == ("slow", "slow")
    connect(path).close()
    with pytest.raises(errors.EndpointInvalid, match="absolute"):
        Client.connect(Path("x.sock"))


def on_client(jobs, talk):
    """Run `talk(client)` with an asyncio client of the daemon."""

    async def run():
        async with await AsyncClient.connect(jobs.endpoint) as client:
            return await talk(client)

    return asyncio.run(run())


async def running(jobs, calls):
    """Wait until so many calls run in the daemon; the loop goes on meanwhile."""
    await asyncio.to_thread(wait_until, lambda: jobs.serving.calls.running == calls)


@contextlib.contextmanager
def scripted(path, *answers, close_after=True):
    """A server that reads a call, sends what it is told, and does no more."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    done = threading.Event()

    def serve():
        sock, _ = listener.accept()
        with sock, contextlib.suppress(ConnectionError):  # a client may leave in the middle
            for answer in answers:
                sock.recv(65536)
                sock.sendall(answer)
            if not close_after:
                done.wait(10)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"unix:{path}"
    finally:
        done.set()
        thread.join(10)
        listener.close()


# --- typed --------------------------------------------------------------------------------------


def test_a_proxy_has_the_methods_with_their_types(proxy):
    assert proxy.start(Job("a", tags=["x"])) == Job("a here None", 2, ["x"])
    assert proxy.start(Job("a"), "there", limit=3) == Job("a there 3", 2)
    assert proxy.start(job=Job("a"), from_="x") == Job("a x None", 2)


def test_a_proxy_refuses_what_the_method_would(proxy):
    with pytest.raises(TypeError, match="job"):
        proxy.start()
    with pytest.raises(TypeError, match="nope"):
        proxy.start(Job("a"), nope=1)


def test_a_declared_error_is_raised_as_itself(proxy):
    with pytest.raises(Busy) as caught:
        proxy.fail("that")
    assert (caught.value.job, caught.value.since_s, caught.value.note) == ("that", 0.0, None)
    assert caught.value.error == f"{NAME}.Busy"


def test_a_stream_is_an_iterator(jobs, proxy):
    assert list(proxy.count(4)) == [0, 1, 2, 3]
    found = []
    with pytest.raises(Busy):
        found.extend(proxy.fail_within())
    assert proxy.start(Job("a")).size == 2


def test_leaving_a_stream_ends_it_in_the_daemon(jobs, proxy, client):
    for n in proxy.count(1_000_000):
        if n == 3:
            break
    assert jobs.ended.wait(10)
    assert client.closed


def test_a_oneway_method_returns_at_once(jobs, proxy):
    assert proxy.note("a") is None
    assert proxy.start(Job("a")).size == 2
    assert jobs.noted == ["a"]


def test_a_reply_of_another_type_is_the_daemons_fault(proxy):
    with pytest.raises(errors.BadReply, match="expected `int`, got `str`"):
        proxy.wrong()


def test_the_asyncio_proxy_is_the_same(jobs):
    async def talk(client):
        proxy = client.proxy(Jobs)
        assert await proxy.start(Job("a")) == Job("a here None", 2)
        assert [n async for n in proxy.count(4)] == [0, 1, 2, 3]
        await proxy.note("a")
        with pytest.raises(Busy, match="that"):
            await proxy.fail("that")
        with pytest.raises(Busy, match="within"):
            [n async for n in proxy.fail_within()]
        assert jobs.noted == ["a"]

    on_client(jobs, talk)


def test_leaving_an_asyncio_stream_ends_it_in_the_daemon(jobs):
    async def talk(client):
        async with contextlib.aclosing(client.proxy(Jobs).count(1_000_000)) as stream:
            async for n in stream:
                if n == 3:
                    break
        assert client.closed
        assert await asyncio.to_thread(jobs.ended.wait, 10)

    on_client(jobs, talk)


# --- what a failure says ------------------------------------------------------------------------


def test_a_deadline_closes_the_connection_and_says_maybe(jobs, client):
    """A late reply would be taken for the next call's."""
    with pytest.raises(errors.DeadlineExceeded) as caught:
        client.call(f"{NAME}.Hang", timeout_s=0.05)
    assert (caught.value.phase, caught.value.ran) == ("reply", "maybe")
    assert client.closed
    wait_until(lambda: jobs.serving.calls.running == 0)
    assert client.call(f"{NAME}.Slow", {"delay_s": 0}) == {"result": "slow"}, "on a new connection"


def test_a_deadline_of_the_asyncio_client_is_the_same(jobs):
    async def talk(client):
        with pytest.raises(errors.DeadlineExceeded) as caught:
            await client.call(f"{NAME}.Hang", timeout_s=0.05)
        assert (caught.value.phase, caught.value.ran) == ("reply", "maybe")
        assert client.closed
        assert await client.call(f"{NAME}.Slow", {"delay_s": 0}) == {"result": "slow"}, "on a new connection"

    on_client(jobs, talk)


def test_a_call_that_was_not_sent_whole_did_not_run(socket_path):
    """Nobody runs a frame without its end, however much of it was taken."""
    with scripted(socket_path, b"", close_after=False) as endpoint, Client.connect(endpoint) as client:
        with pytest.raises(errors.DeadlineExceeded) as caught:
            client.call(f"{NAME}.Start", {"text": "x" * 10_000_000}, timeout_s=0.1)
        assert (caught.value.phase, caught.value.ran) == ("write", "no")
        assert client.closed


def test_neither_did_it_with_asyncio(socket_path):
    async def talk(endpoint):
        async with await AsyncClient.connect(endpoint) as client:
            with pytest.raises(errors.DeadlineExceeded) as caught:
                await client.call(f"{NAME}.Start", {"text": "x" * 10_000_000}, timeout_s=0.1)
            assert (caught.value.phase, caught.value.ran) == ("write", "no")

    with scripted(socket_path, b"", close_after=False) as endpoint:
        asyncio.run(talk(endpoint))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", errors.ConnectionLost),
        (b'{"parameters":{}}', errors.ConnectionLost),
        (b"ERR Too many connections\n", errors.RemoteProtocolError),
        (b"what?\0", errors.RemoteProtocolError),
        (b'{"parameters":{},"continues":true}\0', errors.RemoteProtocolError),
    ],
)
def test_a_daemon_that_does_not_answer_rightly(socket_path, answer, kind):
    with scripted(socket_path, answer) as endpoint, Client.connect(endpoint) as client:
        with pytest.raises(kind) as caught:
            client.call(f"{NAME}.Start")
        assert client.closed
        assert getattr(caught.value, "ran", "maybe") == "maybe"


class Interrupted:
    """A socket on which Ctrl-C comes behind the call that was sent, or in place of its reply."""

    def __init__(self, sock, step):
        self._sock, self._step = sock, step

    def send(self, *arguments):
        sent = self._sock.send(*arguments)
        if self._step == "write":
            raise KeyboardInterrupt
        return sent

    def recv(self, *_arguments):
        raise KeyboardInterrupt

    def __getattr__(self, name):
        return getattr(self._sock, name)


def interrupt_the_short_way(_patched, step, client):
    stream = client._free[-1].stream
    stream.sock = Interrupted(stream.sock, step)


def interrupt_the_steps(patched, step, _client):
    usual = getattr(Stream, step)

    def interrupted(self, *arguments):
        if step == "write":
            usual(self, *arguments)
        raise KeyboardInterrupt

    patched.setattr(Stream, step, interrupted)


@pytest.mark.parametrize("step", ["read", "write"])
@pytest.mark.parametrize(
    ("interrupt", "way"),
    [
        (interrupt_the_short_way, "a proxy"),
        (interrupt_the_short_way, "a name"),
        (interrupt_the_steps, "a stream"),
    ],
)
def test_a_call_that_was_interrupted_does_not_leave_its_reply_to_the_next(
    client, proxy, monkeypatch, step, interrupt, way
):
    given = {"job": {"name": "first"}}

    def first():
        if way == "a proxy":
            proxy.start(Job("first"))
        elif way == "a name":
            client.call(f"{NAME}.Start", given)
        else:
            list(client.stream(f"{NAME}.Start", given))

    with monkeypatch.context() as patched:
        interrupt(patched, step, client)
        with pytest.raises(KeyboardInterrupt):
            first()
    assert client.closed
    assert proxy.start(Job("second")).name == "second here None"


A_JOB = msgspec.json.encode({"parameters": Job("a")}) + b"\0"


@pytest.mark.parametrize("calls_before", [0, 1, 2])
def test_a_typed_call_ends_in_time_whoever_counts_it(socket_path, calls_before):
    """Python counts for the first read of a connection, the kernel for all others."""
    replies = [A_JOB] * calls_before
    with scripted(socket_path, *replies, close_after=False) as endpoint, Client.connect(endpoint) as client:
        jobs = client.proxy(Jobs)
        for _ in range(calls_before):
            assert jobs.start(Job("x")).name == "a"
        began_s = monotonic()
        with pytest.raises(errors.DeadlineExceeded) as caught:
            client.proxy(Jobs, timeout_s=0.1).start(Job("x"))
        assert (caught.value.phase, caught.value.ran, client.closed) == ("reply", "maybe", True)
        assert 0.09 <= monotonic() - began_s < 10


def test_a_typed_call_may_take_for_ever(socket_path):
    with scripted(socket_path, A_JOB) as endpoint, Client.connect(endpoint) as client:
        assert client.proxy(Jobs, timeout_s=1e300).start(Job("x")).name == "a"


def refused_before_sending(socket_path, refusal):
    """Return a connection whose server says why it takes nobody, and is gone."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path))
        listener.listen()
        stream = connect(Endpoint.unix(str(socket_path)), 5.0)
        peer, _ = listener.accept()
        peer.sendall(refusal)
        peer.close()
    return stream


REFUSALS = pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (b"ERR: Permission denied\n", errors.AccessDenied),
        (b"ERR: Too many connections\n", errors.Overloaded),
        (b"", errors.ConnectionLost),
    ],
)
TYPED = pytest.mark.parametrize("typed", [True, False], ids=["typed", "untyped"])


@REFUSALS
@TYPED
def test_who_is_refused_before_sending_is_told_why(socket_path, refusal, kind, typed):
    """Sending fails, and what the server said lies there unread."""
    with Client(refused_before_sending(socket_path, refusal)) as client:
        with pytest.raises(kind) as caught:
            client.proxy(Jobs).start(Job("x")) if typed else client.call(f"{NAME}.Start")
        assert client.closed
        assert caught.value.ran == "no"


@REFUSALS
@TYPED
def test_so_is_a_task_that_is_refused(socket_path, refusal, kind, typed):
    async def talk():
        stream = refused_before_sending(socket_path, refusal)
        async with AsyncClient(stream.take_socket(), stream.peer) as client:
            with pytest.raises(kind) as caught:
                await (client.proxy(Jobs).start(Job("x")) if typed else client.call(f"{NAME}.Start"))
            assert client.closed
            assert caught.value.ran == "no"

    asyncio.run(talk())


TWO_REPLIES = b'{"parameters":{"result":1}}\0{"parameters":{"result":2}}\0'


def test_a_reply_that_nobody_asked_for_is_not_the_next_calls(socket_path):
    with scripted(socket_path, TWO_REPLIES, b"") as endpoint, Client.connect(endpoint) as client:
        assert client.call(f"{NAME}.Start") == {"result": 1}
        with pytest.raises(errors.RemoteProtocolError, match="no call was made"):
            client.call(f"{NAME}.Start")
        assert client.closed


def test_neither_is_it_with_asyncio(socket_path):
    async def talk(endpoint):
        async with await AsyncClient.connect(endpoint) as client:
            assert await client.call(f"{NAME}.Start") == {"result": 1}
            with pytest.raises(errors.RemoteProtocolError, match="no call was made"):
                await client.call(f"{NAME}.Start")
            assert client.closed

    with scripted(socket_path, TWO_REPLIES, close_after=False) as endpoint:
        asyncio.run(talk(endpoint))


def test_what_cannot_be_sent_is_not_and_the_connection_goes_on(client):
    with pytest.raises(errors.LocalProtocolError):
        client.call(f"{NAME}.Start", {"x": float("nan")})
    with pytest.raises(errors.LocalProtocolError):
        client.call("Start")
    assert client.call(f"{NAME}.Slow", {"delay_s": 0}) == {"result": "slow"}


def test_a_call_within_a_stream_has_another_connection(client):
    stream = client.stream(f"{NAME}.Count", {"to": 100_000})
    assert next(stream) == {"result": 0}
    assert client.call(f"{NAME}.Slow", {"delay_s": 0}) == {"result": "slow"}
    assert next(stream) == {"result": 1}
    stream.close()


def test_a_call_within_a_stream_of_the_only_connection_is_refused_and_not_mixed_up(jobs):
    with Client(connect(jobs.endpoint)) as client:
        stream = client.stream(f"{NAME}.Count", {"to": 100_000})
        assert next(stream) == {"result": 0}
        with pytest.raises(errors.LocalProtocolError, match="another connection"):
            client.call(f"{NAME}.Slow", {"delay_s": 0})
        assert next(stream) == {"result": 1}
        stream.close()


def test_an_asyncio_call_within_a_stream_has_another_connection(jobs):
    async def talk(client):
        async with contextlib.aclosing(client.stream(f"{NAME}.Count", {"to": 100_000})) as stream:
            assert await anext(stream) == {"result": 0}
            assert await client.call(f"{NAME}.Slow", {"delay_s": 0}) == {"result": "slow"}
            assert (await client.proxy(Jobs).start(Job("a"))).name == "a here None"
            async with contextlib.aclosing(client.stream(f"{NAME}.Count", {"to": 100_000})) as other:
                assert await anext(other) == {"result": 0}
                assert await client.call(f"{NAME}.Slow", {"delay_s": 0}) == {"result": "slow"}
            assert await anext(stream) == {"result": 1}

    on_client(jobs, talk)


def test_an_asyncio_call_within_a_stream_of_the_only_connection_is_refused(jobs):
    async def talk():
        stream = connect(jobs.endpoint)
        async with (
            AsyncClient(stream.take_socket(), stream.peer) as client,
            contextlib.aclosing(client.stream(f"{NAME}.Count", {"to": 100_000})) as replies,
        ):
            async for _ in replies:
                with pytest.raises(errors.LocalProtocolError, match="another connection"):
                    await client.call(f"{NAME}.Slow", {"delay_s": 0})
                break

    asyncio.run(talk())


def test_asyncio_calls_at_the_same_time_take_turns(jobs):
    async def talk(client):
        found = await asyncio.gather(
            *(client.call(f"{NAME}.Start", {"job": {"name": str(n)}}) for n in range(20))
        )
        assert [one["name"] for one in found] == [f"{n} here None" for n in range(20)]

    on_client(jobs, talk)


def test_each_asyncio_call_has_its_own_time(jobs):
    """One timer serves them all: it is moved when it would come too late, and looks again when too early."""

    async def talk(client):
        slow = f"{NAME}.Slow"
        assert await client.call(slow, {"delay_s": 0}, timeout_s=60) == {"result": "slow"}
        began_s = monotonic()
        with pytest.raises(errors.DeadlineExceeded):
            await client.call(f"{NAME}.Hang", timeout_s=0.05)
        assert 0.04 <= monotonic() - began_s < 30
        assert await client.call(slow, {"delay_s": 0}, timeout_s=0.15) == {"result": "slow"}
        assert await client.call(slow, {"delay_s": 0.2}, timeout_s=60) == {"result": "slow"}

    on_client(jobs, talk)


def test_closing_an_asyncio_client_ends_its_call_at_once(jobs):
    async def talk(client):
        hanging = asyncio.create_task(client.call(f"{NAME}.Hang"))
        await running(jobs, 1)
        client.close()
        with pytest.raises(errors.ConnectionLost) as lost:
            await hanging
        assert lost.value.ran == "maybe"

    on_client(jobs, talk)
    assert wait_until(lambda: jobs.serving.calls.running == 0)


def test_an_asyncio_stream_that_is_not_read_is_not_listened_to(jobs):
    """Otherwise what a fast daemon sends would pile up with a slow reader."""

    async def talk(client):
        async with contextlib.aclosing(client.stream(f"{NAME}.Count", {"to": 1_000_000})) as stream:
            assert await anext(stream) == {"result": 0}
            await asyncio.to_thread(wait_until, lambda: not client._lines[0]._is_reading)
            assert client._lines[0].talk.buffered_bytes <= 2 * READ_BYTES
            for number in range(1, 20_000):
                assert await anext(stream) == {"result": number}

    on_client(jobs, talk)


def test_waiting_for_a_turn_counts_and_says_that_it_did_not_run(jobs):
    async def talk(client):
        hanging = asyncio.create_task(client.call(f"{NAME}.Hang"))
        await running(jobs, 1)
        with pytest.raises(errors.DeadlineExceeded) as caught:
            await client.call(f"{NAME}.Slow", {"delay_s": 0}, timeout_s=0.05)
        assert (caught.value.phase, caught.value.ran) == ("turn", "no")
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        assert client.closed

    on_client(jobs, talk)
    assert wait_until(lambda: jobs.serving.calls.running == 0)


def test_a_cancelled_stream_frees_its_turn(jobs):
    async def talk(client):
        begun = asyncio.Event()

        async def read():
            async for _ in client.stream(f"{NAME}.Count", {"to": 1_000_000}):
                begun.set()

        reading = asyncio.create_task(read())
        await begun.wait()
        waiting = asyncio.create_task(client.call(f"{NAME}.Slow", {"delay_s": 0}))
        reading.cancel()
        await asyncio.wait([reading])
        assert await asyncio.to_thread(jobs.ended.wait, 10)
        assert await waiting == {"result": "slow"}, "on a new connection"

    on_client(jobs, talk)


# --- what a deadline does to the handler ---------------------------------------------------------


class Waiting(Interface, name="org.example.waiting"):
    """Handlers that say when they are told to stop."""

    def __init__(self):
        self.began = threading.Event()
        self.cancelled = threading.Event()
        self.left = threading.Event()

    async def on_the_loop(self) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    @method(blocking=True)
    def in_a_thread(self, context: Context) -> None:
        self.began.set()
        if context.gone.wait(10):
            self.left.set()

    async def streaming(self) -> AsyncIterator[int]:
        yield 1
        await self.on_the_loop()


GET_INFO = "org.varlink.service.GetInfo"


def ask_blocking(endpoint, method):
    with Client.connect(endpoint) as client:
        client.call(GET_INFO)  # so that the call which follows is begun at once
        client.call(method, timeout_s=0.3)


def ask_with_asyncio(endpoint, method):
    async def talk():
        async with await AsyncClient.connect(endpoint) as client:
            await client.call(GET_INFO)
            await client.call(method, timeout_s=0.3)

    asyncio.run(talk())


@pytest.mark.parametrize("ask", [ask_blocking, ask_with_asyncio])
@pytest.mark.parametrize(("method", "told"), [("OnTheLoop", "cancelled"), ("InAThread", "left")])
def test_a_handler_whose_caller_stopped_waiting_is_told(serving, ask, method, told):
    """The protocol has no word for a deadline; the end of the connection says it all the same."""
    waiting = Waiting()
    endpoint = serving(waiting).endpoint
    with pytest.raises(errors.DeadlineExceeded):
        ask(endpoint, f"org.example.waiting.{method}")
    assert waiting.began.is_set()
    assert getattr(waiting, told).wait(10)


def test_so_is_a_stream_that_was_waited_for_too_long(serving):
    waiting = Waiting()
    with Client.connect(serving(waiting).endpoint) as client:
        stream = client.stream("org.example.waiting.Streaming", idle_s=0.2)
        assert next(stream) == {"result": 1}
        with pytest.raises(errors.DeadlineExceeded):
            next(stream)
    assert waiting.cancelled.wait(10)


@pytest.mark.parametrize(
    ("first_s", "idle_s", "waits_s"),
    [(None, None, CALL_TIMEOUT_S), (None, 2.0, 2.0), (5.0, None, 5.0), (5.0, 2.0, 5.0), (inf, 2.0, None)],
)
def test_the_first_reply_of_a_stream_has_a_deadline_unless_told_otherwise(first_s, idle_s, waits_s):
    assert first_deadline(first_s, idle_s).timeout_s == waits_s


@pytest.mark.parametrize("kind", ["blocking", "asyncio", "pool"])
def test_a_stream_that_does_not_begin_ends_at_the_proxys_timeout(socket_path, kind):
    class Silent(Interface, name="org.example.waiting"):
        async def never(self) -> AsyncIterator[int]: ...

    async def drain(client):
        proxy = client.proxy(Silent, timeout_s=0.1)
        try:
            return [n async for n in proxy.never()]
        finally:
            client.close()

    async def talk():
        await drain(Pool(endpoint) if kind == "pool" else await AsyncClient.connect(endpoint))

    def drain_blocking():
        with Client.connect(endpoint) as client:
            list(client.proxy(Silent, timeout_s=0.1).never())

    with scripted(socket_path, b"", close_after=False) as endpoint:
        with pytest.raises(errors.DeadlineExceeded) as caught:
            drain_blocking() if kind == "blocking" else asyncio.run(talk())
        assert caught.value.ran == "maybe"


# --- pool ---------------------------------------------------------------------------------------


def test_a_pool_makes_calls_at_the_same_time(jobs):
    async def talk():
        async with Pool(jobs.endpoint, most=4) as pool:
            await asyncio.gather(*(pool.call(f"{NAME}.Meet", {"others": 4}) for _ in range(8)))
            assert len(pool._free) == 4
            proxy = pool.proxy(Jobs)
            assert (await proxy.start(Job("a"))).size == 2
            assert [n async for n in proxy.count(3)] == [0, 1, 2]
            await proxy.note("x")
            with pytest.raises(Busy):
                await proxy.fail("x")
        assert pool._free == []

    asyncio.run(talk())


def test_a_pool_outlives_its_daemons(serving, jobs):
    """A connection that lies about is closed by a restart; the call was not sent, so it is sent anew."""

    async def talk():
        async with Pool(jobs.endpoint) as pool:
            await asyncio.gather(*(pool.call(f"{NAME}.Slow", {"delay_s": 0.01}) for _ in range(3)))
            assert len(pool._free) == 3
            await asyncio.to_thread(jobs.serving.stop)
            # A loop may see the three ends in two turns.
            await asyncio.to_thread(
                wait_until, lambda: all(one.closed for one in pool._free), 30, "all ended"
            )
            serving(Jobs())
            assert await pool.call(f"{NAME}.Slow", {"delay_s": 0}) == {"result": "slow"}
            assert len(pool._free) == 1

    asyncio.run(talk())


def test_a_place_in_a_pool_is_waited_for_until_the_deadline(jobs):
    async def talk():
        async with Pool(jobs.endpoint, most=1) as pool:
            hanging = asyncio.create_task(pool.call(f"{NAME}.Hang"))
            await running(jobs, 1)
            with pytest.raises(errors.DeadlineExceeded) as caught:
                await pool.call(f"{NAME}.Slow", {"delay_s": 0}, timeout_s=0.05)
            assert caught.value.ran == "no"
            hanging.cancel()
            await asyncio.wait([hanging])

    asyncio.run(talk())


# --- without msgspec ----------------------------------------------------------------------------


def test_the_blocking_client_needs_the_standard_library_only(serving_once, sandbox):
    """A quick command cannot pay for msgspec, nor for asyncio."""
    import sys

    endpoint = serving_once(Jobs()).endpoint
    program = (
        "import sys\n"
        "from daemonry import Client\n"
        f"with Client.connect({endpoint!r}) as client:\n"
        f"    print(client.call('{NAME}.Slow', {{'delay_s': 0.0}}))\n"
        f"    print([one['result'] for one in client.stream('{NAME}.Count', {{'to': 3}})])\n"
        "heavy = ('msgspec', 'asyncio', 'logging', 're', 'typing', 'json')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = sandbox.run(sys.executable, "-c", program)
    assert done.out == "{'result': 'slow'}\n[0, 1, 2]\n[]\n", done.err


def test_call_errors_know_their_fields():
    with pytest.raises(TypeError, match="needs its field 'job'"):
        Busy()
    with pytest.raises(TypeError, match="no field 'nope'"):
        Busy(job="a", nope=1)
    import pickle

    copy = pickle.loads(pickle.dumps(Busy(job="a")))
    assert (copy.job, copy.parameters) == ("a", {"job": "a", "since_s": 0.0, "note": None})
    assert msgspec.to_builtins(copy.parameters)


def test_a_client_prints_what_its_connections_do(jobs):
    endpoint = jobs.endpoint
    with Client.connect(endpoint) as client:
        where = client.peer
        assert repr(client) == f"<Client of {where}: 1 connections, 0 in a call, 0 waiting>"
        counting = client.stream(f"{NAME}.Count", {"to": 3})
        next(counting)
        assert repr(client) == f"<Client of {where}: 1 connections, 1 in a call, 0 waiting>"
        counting.close()
    assert repr(client) == f"<Client of {where}: closed>"


def test_an_asyncio_client_and_a_pool_print_what_their_connections_do(jobs):
    endpoint = jobs.endpoint

    async def run():
        async with await AsyncClient.connect(endpoint) as client:
            calls = [asyncio.create_task(client.call(f"{NAME}.Slow", {"delay_s": 0.01})) for _ in range(2)]
            await asyncio.sleep(0)
            assert repr(client) == f"<AsyncClient of {client.peer}: 1 connections, 1 in a call, 1 waiting>"
            await asyncio.gather(*calls)
        assert "closed" in repr(client)
        async with Pool(endpoint, most=3) as pool:
            await pool.call(f"{NAME}.Slow", {"delay_s": 0})
            assert repr(pool) == f"<Pool of {pool._target}: 1 free connections of at most 3>"
        assert "closed" in repr(pool)

    asyncio.run(run())


def test_a_client_of_a_path_says_how_to_make_one():
    """The first guess of who has not read that a connection is made first."""
    with pytest.raises(TypeError, match=r"Client\.connect\('/run/x\.sock'\) makes one"):
        Client("/run/x.sock")
