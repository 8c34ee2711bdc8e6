"""Which calls are made again after their connection was cut, for each client, cut at the exact moment."""

import asyncio
import contextlib
import socket
import threading

import pytest

from daemonry import AsyncClient, Client, Interface, Pool, connect, errors, method
from daemonry.clock import Deadline
from daemonry.testing import wait_until

NAME = "org.example.cut"
REPLY = b'{"parameters":{"result":7}}\0'


class Cut(Interface, name=NAME):
    """What is called."""

    def once(self) -> int: ...

    @method(idempotent=True)
    def again(self) -> int: ...


class Peer:
    """A peer that goes by a script, one connection after the other.

    Each connection's part is what it does with each call: `answer` it, read it and `cut` the
    connection, send a `half` reply and cut it, or `hang`.  At the end of its part it cuts.

    Attributes:
        calls: how many came whole.
        cut: released once for each connection that was cut.
    """

    def __init__(self, path, *parts):
        self.endpoint = f"unix:{path}"
        self.calls = 0
        self.cut = threading.Semaphore(0)
        self._parts = parts
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def _play(self):
        for number, part in enumerate(self._parts):
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return  # `close`
            if number == len(self._parts) - 1:
                self._listener.close()  # whoever comes later finds nobody
            with sock:
                for action in part:
                    self._act(sock, action)
            self.cut.release()

    def _act(self, sock, action):
        data = b""
        while not data.endswith(b"\0"):
            piece = sock.recv(65536)
            if not piece:
                return
            data += piece
        self.calls += 1
        if action == "answer":
            sock.sendall(REPLY)
        elif action == "half":
            sock.sendall(REPLY[:-5])
        elif action == "hang":
            self._done.wait(10)

    def close(self):
        self._done.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._listener.close()


@pytest.fixture
def playing(socket_path):
    """A function that starts a peer: `playing(["answer"], ["cut"])`."""
    started = []

    def play(*parts):
        started.append(Peer(socket_path, *parts))
        return started[-1]

    yield play
    for peer in started:
        peer.close()


class Blocking:
    """A script for the blocking client; the others have the same."""

    def __init__(self, endpoint, timeout_s=10.0):
        self._client = self.connected(endpoint)
        self._timeout_s = timeout_s

    def connected(self, endpoint):
        return Client.connect(endpoint)

    def call(self, *, idempotent=False):
        """Make one call, and return what it gave."""
        name = f"{NAME}.{'Again' if idempotent else 'Once'}"
        return self.run(self._client.call(name, timeout_s=self._timeout_s, idempotent=idempotent))["result"]

    def run(self, given):
        return given

    def close(self):
        self._client.close()


class BlockingProxy(Blocking):
    def call(self, *, idempotent=False):
        proxy = self._client.proxy(Cut, timeout_s=self._timeout_s)
        return self.run(proxy.again() if idempotent else proxy.once())


class Asyncio(Blocking):
    def __init__(self, endpoint, timeout_s=10.0):
        self._runner = asyncio.Runner()
        super().__init__(endpoint, timeout_s)

    def connected(self, endpoint):
        return self._runner.run(AsyncClient.connect(endpoint))

    def run(self, given):
        async def run():
            return await given

        return self._runner.run(run())

    def close(self):
        super().close()
        self._runner.close()


class AsyncioProxy(BlockingProxy, Asyncio):
    pass


class Pooled(Asyncio):
    def connected(self, endpoint):
        async def pool():
            pool = Pool(endpoint, most=1)
            pool._put_back(await pool._take(Deadline(10.0)))
            return pool

        return self._runner.run(pool())


class PooledProxy(BlockingProxy, Pooled):
    pass


@pytest.fixture(params=[Blocking, BlockingProxy, Asyncio, AsyncioProxy, Pooled, PooledProxy])
def client_of(request):
    """A function that connects a client to an endpoint; for each of the clients."""
    made = []

    def make(endpoint, **options):
        made.append(request.param(endpoint, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_call_that_was_not_sent_is_made_on_a_new_connection(playing, client_of):
    """The daemon was restarted since the last call."""
    peer = playing(["answer"], ["answer"])
    client = client_of(peer.endpoint)
    assert client.call() == 7
    assert peer.cut.acquire(timeout=10)
    assert client.call() == 7
    assert peer.calls == 2


@pytest.mark.parametrize("end", ["cut", "half"])
def test_a_call_that_may_have_run_is_not_made_again(playing, client_of, end):
    peer = playing([end], ["answer"])
    client = client_of(peer.endpoint)
    with pytest.raises(errors.ConnectionLost) as lost:
        client.call()
    assert lost.value.ran == "maybe"
    assert peer.calls == 1
    assert client.call() == 7, "the next call has a connection again"


@pytest.mark.parametrize("end", ["cut", "half"])
def test_one_that_may_run_twice_is(playing, client_of, end):
    peer = playing([end], ["answer"])
    assert client_of(peer.endpoint).call(idempotent=True) == 7
    assert peer.calls == 2


def test_but_not_for_ever(playing, client_of):
    peer = playing(["cut"], ["cut"], ["cut"], ["cut"])
    with pytest.raises(errors.ConnectionLost) as lost:
        client_of(peer.endpoint).call(idempotent=True)
    assert lost.value.ran == "maybe"
    assert peer.calls == 4


def test_nobody_there_any_more_is_told_at_once(playing, client_of):
    peer = playing(["answer"])
    client = client_of(peer.endpoint)
    assert client.call() == 7
    assert peer.cut.acquire(timeout=10)
    with pytest.raises(errors.StaleSocket):
        client.call()


def test_nobody_there_after_it_may_have_run_says_so(playing, client_of):
    """The second attempt was not sent; the first one may have run all the same."""
    peer = playing(["cut"])
    with pytest.raises(errors.ConnectionLost) as lost:
        client_of(peer.endpoint).call(idempotent=True)
    assert lost.value.ran == "maybe"


def test_the_timeout_is_for_all_attempts(playing, client_of):
    peer = playing(["cut"], ["hang"])
    with pytest.raises(errors.DeadlineExceeded) as late:
        client_of(peer.endpoint, timeout_s=0.2).call(idempotent=True)
    assert (late.value.timeout_s, late.value.ran) == (pytest.approx(0.2, abs=0.01), "maybe")
    assert peer.calls == 2


def test_a_call_that_had_its_time_is_not_made_again(playing, client_of):
    peer = playing(["hang"], ["answer"])
    client = client_of(peer.endpoint, timeout_s=0.05)
    with pytest.raises(errors.DeadlineExceeded) as late:
        client.call(idempotent=True)
    assert late.value.ran == "maybe"
    assert peer.calls == 1


def test_a_closed_client_stays_closed(playing, client_of):
    peer = playing(["answer"], ["answer"])
    client = client_of(peer.endpoint)
    assert client.call() == 7
    client._client.close()
    with pytest.raises(errors.ConnectionLost) as lost:
        client.call(idempotent=True)
    assert lost.value.ran == "no"
    assert peer.calls == 1


def test_a_client_of_a_stream_does_not_know_where_to_connect(playing):
    peer = playing(["answer"], ["answer"])
    with Client(connect(peer.endpoint)) as client:
        assert client.call(f"{NAME}.Once") == {"result": 7}
        assert peer.cut.acquire(timeout=10)
        with pytest.raises(errors.ConnectionLost) as lost:
            client.call(f"{NAME}.Once", idempotent=True)
        assert lost.value.ran == "no"
        assert peer.calls == 1


def test_a_stream_is_sent_anew_only_before_its_first_reply(playing):
    peer = playing(["answer"], ["half"], ["answer"])
    with Client.connect(peer.endpoint) as client:
        assert client.call(f"{NAME}.Once") == {"result": 7}
        assert peer.cut.acquire(timeout=10)
        with pytest.raises(errors.ConnectionLost) as lost:
            list(client.stream(f"{NAME}.Watch"))
        assert lost.value.ran == "maybe"
        assert peer.calls == 2
        assert list(client.stream(f"{NAME}.Watch")) == [{"result": 7}]


def test_an_idle_asyncio_client_sees_that_its_connection_ended(playing):
    peer = playing(["answer"], ["answer"])

    async def talk():
        async with await AsyncClient.connect(peer.endpoint) as client:
            assert await client.call(f"{NAME}.Once") == {"result": 7}
            assert await asyncio.to_thread(wait_until, lambda: client.closed)
            assert await client.call(f"{NAME}.Once") == {"result": 7}

    asyncio.run(talk())
    assert peer.calls == 2
