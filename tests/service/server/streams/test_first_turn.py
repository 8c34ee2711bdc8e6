"""A stream's first turn is taken as its call is read, before there is a task for it."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar

import pytest

from daemonry import Interface, errors
from daemonry.testing import wait_until

NAME = "org.example.turns"
seen = ContextVar("seen", default=0)


class Streams(Interface, name=NAME):
    def __init__(self):
        self.closed = threading.Event()

    async def tasks(self, waits: bool) -> AsyncIterator[str]:
        for _ in range(3):
            yield asyncio.current_task().get_name()
            if waits:
                await asyncio.sleep(0)

    async def endless(self) -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                yield number
                number += 1
        finally:
            self.closed.set()

    async def timed(self) -> AsyncIterator[int]:
        yield 1
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            yield 2

    async def counted(self, count: int) -> AsyncIterator[int]:
        for _ in range(count):
            seen.set(seen.get() + 1)
            yield seen.get()
            if seen.get() == 2:
                await asyncio.sleep(0)

    async def cancels_itself(self) -> AsyncIterator[int]:
        yield 1
        asyncio.current_task().cancel()
        await asyncio.sleep(0)
        yield 2

    async def breaks(self, before: int) -> AsyncIterator[int]:
        for number in range(before):
            yield number
        raise ValueError("no more")

    async def wrong_and_breaks(self, early: bool, waits: bool, cancels: bool) -> AsyncIterator[int]:
        """Fail in the first turn or behind it; the clean-up begins where it waits, or at a result."""
        try:
            yield 1
            if not early:
                await asyncio.sleep(0)
            yield "two"
            for number in range(100):
                if waits:
                    await asyncio.sleep(0)
                yield number
        finally:
            if cancels:
                asyncio.current_task().cancel()
                await asyncio.sleep(0)
            raise ValueError("in its clean-up")

    async def wrong(self) -> AsyncIterator[int]:
        yield 1
        yield "two"


@pytest.fixture
def streams(serving):
    """What is served, its server, and a client's proxy of it."""
    implementation = Streams()
    server = serving(implementation)
    with server.client() as client:
        proxy = client.proxy(Streams)
        list(proxy.tasks(waits=False))  # from here on a task is kept in reserve
        server.on_loop(lambda: None)
        yield implementation, server, proxy


def test_it_is_taken_without_a_task_of_its_own(streams):
    _, _, proxy = streams
    assert set(proxy.tasks(waits=False)) == {"daemonry handler"}


def test_it_goes_on_in_the_task_that_it_saw(streams):
    _, _, proxy = streams
    assert set(proxy.tasks(waits=True)) == {"daemonry handler"}


def test_several_calls_at_once_leave_turns_to_others(streams):
    """Half a millisecond for each of them in a row would be a time in which nobody else is heard."""
    _, server, _ = streams
    call = {"method": f"{NAME}.Tasks", "parameters": {"waits": False}, "more": True}
    frame = json.dumps(call).encode() + b"\0"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(server.endpoint.removeprefix("unix:"))
        sock.sendall(frame * 3)
        data = b""
        while data.count(b"\0") < 9:
            data += sock.recv(65536)
    names = [json.loads(one)["parameters"]["result"] for one in data.split(b"\0")[:-1]]
    assert all(name.startswith("Task-") for name in names[:6]), names
    assert names[6:] == ["daemonry handler"] * 3


def test_a_client_that_left_before_is_noticed(streams):
    """It is gone as the first result is sent, when there is no task that could be cancelled."""
    implementation, server, _ = streams

    def call_and_leave():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(server.endpoint.removeprefix("unix:"))
            call = {"method": f"{NAME}.Endless", "parameters": {}, "more": True}
            sock.sendall(json.dumps(call).encode() + b"\0")

    server.on_loop(call_and_leave)
    assert implementation.closed.wait(10)
    assert wait_until(lambda: server.on_loop(lambda: server.server.connections) == 1)


def test_a_timeout_within_is_its_own(streams):
    _, _, proxy = streams
    assert list(proxy.timed()) == [1, 2]


def test_it_has_a_context_of_its_own_to_its_end(streams):
    _, _, proxy = streams
    for _ in range(2):
        assert list(proxy.counted(4)) == [1, 2, 3, 4]


def test_one_that_cancels_itself_ends_with_an_error(streams):
    _, _, proxy = streams
    found = []
    with pytest.raises(errors.Failed, match="the call was cancelled"):
        found.extend(proxy.cancels_itself())
    assert found == [1]
    assert set(proxy.tasks(waits=True)) == {"daemonry handler"}


@pytest.mark.parametrize("before", [0, 1, 2, 50])
def test_an_error_comes_behind_the_results_before_it(streams, before):
    _, _, proxy = streams
    found = []
    with pytest.raises(errors.CallFailed):
        found.extend(proxy.breaks(before))
    assert found == list(range(before))


def test_a_result_of_another_type_ends_it(streams):
    _, _, proxy = streams
    found = []
    with pytest.raises(errors.CallFailed):
        found.extend(proxy.wrong())
    assert found == [1]
    assert set(proxy.tasks(waits=False)) == {"daemonry handler"}


@pytest.mark.parametrize("cancels", [False, True])
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("early", [False, True])
def test_a_clean_up_that_fails_behind_the_answer_changes_nothing(streams, early, waits, cancels, caplog):
    _, server, proxy = streams
    for _ in range(2):
        found = []
        with pytest.raises(errors.CallFailed, match="BadReply"):
            found.extend(proxy.wrong_and_breaks(early=early, waits=waits, cancels=cancels))
        assert found == [1]
    assert ("WrongAndBreaks failed in its clean-up" in caplog.text) is not cancels
    assert "a connection failed" not in caplog.text
    assert "a reader failed" not in caplog.text
    assert "could not be sent" not in caplog.text
    assert server.on_loop(lambda: server.server.connections) == 1
