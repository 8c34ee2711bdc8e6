"""Watching servers: changes of lists and resources, in both eras, over a server's end, and unread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from mcp_cli.pool.live import watches as live_
from mcp_cli.pool.live.watches import Watch
from mcp_cli.pool.service import ServerPool
from mcp_cli.protocol import interfaces as api

LIVE = str(Path(__file__).parents[1] / "live_server.py")


@pytest.fixture(params=[(), ("--modern",)], ids=["2025-11-25", "2026-07-28"])
def era(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return tuple(request.param)


def live(*options: str, fingerprint: str = "1") -> api.Server:
    return api.Server(name="s", fingerprint=fingerprint, command=sys.executable, args=[LIVE, *options])


@contextlib.asynccontextmanager
async def pool_of(one: api.Server) -> AsyncIterator[ServerPool]:
    pool = ServerPool()
    await pool.configure([one])
    try:
        yield pool
    finally:
        await pool.close()


@contextlib.asynccontextmanager
async def watch(pool: ServerPool, *uris: str, lists: bool = True) -> AsyncIterator[AsyncGenerator[api.Event]]:
    """A watch that has begun."""
    events = pool.watch("s", "1", list(uris), lists=lists)
    async with contextlib.aclosing(events), asyncio.timeout(20):
        assert (await anext(events)).kind == "watching"
        yield events


async def touch(pool: ServerPool, **given: object) -> str:
    return [event async for event in pool.call("s", "1", "touch", json.dumps(given))][-1].text


def test_a_change_of_the_tools_reaches_a_watcher_and_the_next_listing(era: tuple[str, ...]) -> None:
    async def work() -> None:
        async with pool_of(live(*era)) as pool, watch(pool) as events:
            await touch(pool)
            assert (await anext(events)).method == "tools"
            (listing,) = [one async for one in pool.tools([api.Ref("s", "1")])]
            assert [item.name for item in listing.items] == ["touch", "tool_1"]

    asyncio.run(work())


def test_a_resource_is_watched_and_others_are_not(era: tuple[str, ...]) -> None:
    async def work() -> None:
        async with pool_of(live(*era)) as pool:
            async with watch(pool, "a:1", lists=False) as events, watch(pool, "a:1", "b:1") as both:
                await touch(pool, uri="b:1")
                await touch(pool)
                await touch(pool, uri="a:1")
                assert (await anext(events)).text == "a:1"
                told = [await anext(both) for _ in range(3)]
                assert [(one.method, one.text) for one in told] == [
                    *(("resource", "b:1"), ("tools", ""), ("resource", "a:1")),
                ]
            # Nobody watches any more: the server was told, for each resource once.
            assert await touch(pool, uri="c:1") == "subscribed: 0"

    asyncio.run(work())


def test_a_server_that_lets_nobody_subscribe_says_so(era: tuple[str, ...]) -> None:
    async def work() -> None:
        async with pool_of(live(*era)) as pool:
            with pytest.raises(api.ServerRefused):
                await anext(pool.watch("s", "1", ["no:such"]))
            assert await touch(pool, uri="c:1") == "subscribed: 0"

    asyncio.run(work())


def test_a_watch_goes_on_when_the_server_crashed(era: tuple[str, ...]) -> None:
    async def work() -> None:
        async with pool_of(live(*era)) as pool, watch(pool, "a:1") as events:
            with pytest.raises(api.MaybeRan):
                await touch(pool, uri="crash")
            again = await anext(events)
            assert (again.kind, again.text) == ("watching", "again")
            await touch(pool, uri="a:1")
            assert (await anext(events)).text == "a:1"

    asyncio.run(work())


def test_a_watch_ends_with_the_definition_of_its_server() -> None:
    async def work() -> None:
        async with pool_of(live()) as pool, watch(pool) as events:
            await pool.configure([live("--quiet", fingerprint="2")])
            assert [event async for event in events] == []

    asyncio.run(work())


def test_a_passive_watch_starts_no_server_and_hears_of_changes_that_were_not_reported() -> None:
    async def work() -> None:
        async with pool_of(live("--quiet")) as pool:
            events = pool.watch("s", "1", passive=True)
            first = asyncio.create_task(anext(events))
            await asyncio.sleep(0)
            assert (await pool.servers())[0].state == "idle"
            assert await touch(pool, uri="a:1") == "subscribed: 0"
            assert (await first).kind == "watching"
            await touch(pool)
            with pytest.raises(api.NoSuchTool):  # for which the list is read again
                await anext(pool.call("s", "1", "none"))
            assert (await anext(events)).method == "tools"
            await events.aclose()

    asyncio.run(work())


def test_a_watcher_that_never_reads_is_bounded(era: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal changes are one; beyond so many different ones a single change says that some were missed."""
    monkeypatch.setattr(live_, "MOST_PENDING", 20)

    async def work() -> None:
        async with pool_of(live(*era)) as pool, watch(pool, "a:1", lists=False) as events:
            for _ in range(3):
                await touch(pool, uri="a:1", times=30)
            told = [await anext(events) for _ in range(21)]
            assert len({one.text for one in told}) == len(told)
            assert told[-1].method == "missed"
            await touch(pool, uri="a:1")
            assert (await anext(events)).text == "a:1"

    asyncio.run(work())


def test_a_change_that_waits_already_is_not_added() -> None:
    async def work() -> None:
        one = Watch(["a:1"], lists=False)
        for uri in ("a:1", "a:1", "a:1/part", "a:10", "b"):
            one.change("resource", uri)
        one.change("tools")
        assert len(one) == 2

    asyncio.run(work())


def test_a_server_that_lets_nobody_listen_is_told_with_the_revision_that_may_do() -> None:
    """Version 4 of fastmcp speaks 2026-07-28 without it; in the one before it tells of its lists."""

    async def work() -> None:
        async with pool_of(live("--modern", "--no-listen")) as pool, asyncio.timeout(20):
            with pytest.raises(api.ServerRefused, match="try --protocol 2025-11-25"):
                await anext(pool.watch("s", "1", []))

    asyncio.run(work())
