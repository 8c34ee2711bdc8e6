"""A blocking client in the thread that would have to answer it: refused at once, and only there."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator

import pytest

from daemonry import AsyncClient, Client, Endpoint, Interface, method
from daemonry.errors import CallFailed, WaitsForItself
from daemonry.transport.stream import ACCEPTING

NAME = "org.example.own"


class Own(Interface, name=NAME):
    """Calls the daemon that it is served by, in each way."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.noted = threading.Event()
        self.caught: list[WaitsForItself] = []

    def _tried(self, call) -> str:
        with Client.connect(self.endpoint) as client:
            try:
                return str(call(client))
            except WaitsForItself as error:
                self.caught.append(error)
                return "refused"

    def by_name(self) -> str:
        """Call by a name."""
        return self._tried(lambda client: client.call(f"{NAME}.Answer"))

    async def by_proxy(self) -> str:
        """Call by a proxy."""
        return self._tried(lambda client: client.proxy(Own).answer())

    async def by_stream(self) -> str:
        """Ask for a stream."""
        return self._tried(lambda client: list(client.proxy(Own).count()))

    async def by_pipeline(self) -> str:
        """Send ahead."""

        def both(client):
            with client.pipeline() as pipeline:
                pipeline.call(f"{NAME}.Answer")

        return self._tried(both)

    async def unconnected(self) -> str:
        """Connect with the first call."""
        with Client(None, Endpoint.parse(self.endpoint)) as client:
            return self._tried(lambda _: client.call(f"{NAME}.Answer"))

    def long(self) -> str:
        """Send more than a socket holds."""
        return self._tried(lambda client: client.call(f"{NAME}.Answer", {"word": "x" * 2**20}))

    @method(blocking=True)
    def in_thread(self) -> str:
        """Wait in a thread, which the loop answers."""
        return self._tried(lambda client: client.proxy(Own).answer())

    async def to_thread(self) -> str:
        """Connect here, and wait in a thread."""
        with Client.connect(self.endpoint) as client:
            return await asyncio.to_thread(client.proxy(Own).answer)

    async def awaited(self) -> str:
        """Wait as the loop does."""
        async with await AsyncClient.connect(self.endpoint) as client:
            return await client.proxy(Own).answer()

    async def one_way(self) -> str:
        """Wait for nothing."""
        with Client.connect(self.endpoint) as client:
            client.oneway(f"{NAME}.Note")
        return "sent"

    async def forked(self) -> str:
        """Call from a forked child, which is another process."""
        pid = os.fork()
        if pid == 0:
            os._exit(Client.connect(self.endpoint).proxy(Own).answer() != "there")
        return str(await asyncio.to_thread(lambda: os.waitpid(pid, 0)[1]))

    def note(self) -> None:
        """Take note."""
        self.noted.set()

    def answer(self, word: str = "there") -> str:
        """Answer."""
        return word

    async def count(self) -> AsyncIterator[int]:
        """Count."""
        yield 1


@pytest.fixture
def own(serving):
    implementation = Own()
    implementation.endpoint = serving(implementation).endpoint
    return implementation


@pytest.fixture
def client(own):
    with Client.connect(own.endpoint) as made:
        yield made.proxy(Own, timeout_s=20)


@pytest.mark.parametrize("way", ["by_name", "by_proxy", "by_stream", "by_pipeline", "unconnected", "long"])
def test_who_would_wait_for_himself_is_refused(own, client, way):
    assert getattr(client, way)() == "refused"
    assert own.caught[0].ran == "no"
    assert own.endpoint in str(own.caught[0])
    assert client.answer() == "there"


def test_who_is_answered_by_another_thread_is_not(own, client):
    assert [client.in_thread(), client.to_thread(), client.awaited()] == ["there"] * 3
    assert client.one_way() == "sent"
    assert own.noted.wait(10)


def test_a_forked_child_may_call_its_parent(client):
    assert client.forked() == "0"


def test_another_daemon_in_this_process_may_be_called(own, client, serving_once, tmp_path):
    other = Own()
    other.endpoint = serving_once(other, endpoint=f"unix:{tmp_path}/other.sock").endpoint
    own.endpoint, other.endpoint = other.endpoint, own.endpoint
    assert client.by_name() == "{'result': 'there'}"


def test_nothing_is_remembered_behind_the_end(serving_once):
    before = list(ACCEPTING)
    serving_once(Own()).stop()
    assert before == ACCEPTING


def test_over_tcp_too(serving_once):
    own = Own()
    own.endpoint = f"{serving_once(own, endpoint='tcp:127.0.0.1:0;open').endpoint}"
    with Client.connect(own.endpoint) as client:
        assert client.proxy(Own, timeout_s=20).by_name() == "refused"


def test_a_caller_is_told(own, client):
    def tried(call):
        with Client.connect(own.endpoint) as mine:
            return call(mine)

    own._tried = tried
    with pytest.raises(CallFailed, match=r"raised WaitsForItself: the call of .* would wait for the thread"):
        client.by_name()
