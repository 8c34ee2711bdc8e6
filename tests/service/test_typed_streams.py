"""Streams through proxies: results that came together are the same, and in the same order, as one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from daemonry import AsyncClient, CallError, Interface, Pool, errors
from daemonry.service.server.varlink.connection import VarlinkConnection

NAME = "org.example.streams"
# Some that a few looks prove, in runs longer than a read, and some that only the codec can judge.
TEXTS = [*("x" * n for n in range(700)), "a\nb", "", "a:b", "\\u0000", "é", *("y" * n for n in range(700))]
NUMBERS = [*range(50), 2**62, -(2**63) + 1, *range(50)]


class Stop(CallError):
    at: int


class Row(msgspec.Struct):
    name: str
    size: int | None = None


class Streams(Interface, name=NAME, errors=(Stop,)):
    async def texts(self) -> AsyncIterator[str]:
        for text in TEXTS:
            yield text

    async def numbers(self) -> AsyncIterator[int]:
        for number in NUMBERS:
            yield number

    async def rows(self, count: int) -> AsyncIterator[Row]:
        for number in range(count):
            yield Row("r", number if number % 3 else None)
            if number % 10 == 5:
                await asyncio.sleep(0)

    async def until(self, at: int) -> AsyncIterator[int]:
        for number in range(at):
            yield number
        raise Stop(at=at)

    async def wrong(self, at: int) -> AsyncIterator[int]:
        for number in range(at):
            yield number
        yield "text"  # type: ignore[misc]
        yield at


def all_of(results):
    """What a stream gave, and the error that it ended with."""
    found = []
    try:
        found.extend(results)
    except errors.DaemonryError as error:
        return found, error
    return found, None


async def all_of_async(results):
    found = []
    try:
        async for result in results:
            found.append(result)  # noqa: PERF401  # what came before an error is kept
    except errors.DaemonryError as error:
        return found, error
    return found, None


def by_each_client(endpoint, make):
    """What each kind of client makes of one stream."""
    from daemonry import Client

    with Client.connect(endpoint) as client:
        yield all_of(make(client.proxy(Streams)))

    async def by_client():
        async with await AsyncClient.connect(endpoint) as client:
            return await all_of_async(make(client.proxy(Streams)))

    async def by_pool():
        async with Pool(endpoint) as pool:
            return await all_of_async(make(pool.proxy(Streams)))

    yield asyncio.run(by_client())
    yield asyncio.run(by_pool())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda streams: streams.texts(), TEXTS),
        (lambda streams: streams.numbers(), NUMBERS),
        (lambda streams: streams.rows(40), [Row("r", n if n % 3 else None) for n in range(40)]),
        (lambda streams: streams.rows(0), []),
    ],
    ids=["texts", "numbers", "rows", "none"],
)
def test_all_results_come_in_their_order(serving, make, expected):
    for found, error in by_each_client(serving(Streams()).endpoint, make):
        assert found == expected
        assert [type(one) for one in found] == [type(one) for one in expected]
        assert error is None


@pytest.mark.parametrize("at", [0, 1, 100])
def test_an_error_comes_behind_the_results_before_it(serving_once, at):
    endpoint = serving_once(Streams()).endpoint
    for found, error in by_each_client(endpoint, lambda streams: streams.until(at)):
        assert found == list(range(at))
        assert isinstance(error, Stop)
        assert error.at == at
    for found, error in by_each_client(endpoint, lambda streams: streams.wrong(at)):
        assert found == list(range(at))
        assert isinstance(error, errors.BadReply)


def test_results_before_others_are_sent_without_the_whole_way(serving_once, monkeypatch):
    sent = []
    send = VarlinkConnection.send
    monkeypatch.setattr(VarlinkConnection, "send", lambda *args: (sent.append(args[1]), send(*args))[1])
    server = serving_once(Streams())
    with server.client() as client:
        assert list(client.proxy(Streams).numbers()) == NUMBERS
    assert len(sent) == 1


def test_leaving_in_the_middle_of_what_came_leaves_the_client_good(serving_once):
    server = serving_once(Streams())
    with server.client() as client:
        for number in client.proxy(Streams).numbers():
            if number == 20:
                break
        assert list(client.proxy(Streams).numbers()) == NUMBERS
