"""Results on their way from a server to the caller: each whole, to the byte, and with its own call."""

from __future__ import annotations

import asyncio
import json

import pytest

from mcp_cli.protocol import interfaces as api


def test_a_result_is_passed_on_to_the_byte(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            events = await pools.events_of(pool, "raw")
            expected = (
                r'{"content":[{"type":"text","text":"\u00e9"}],"z":1.0,"a":1e2,'
                r'"big":123456789012345678901234567890,"m":{"b":1,"a":2}}'
            )
            assert pools.result_of(events) == expected
            assert events[-1].text == "é"

    asyncio.run(work())


def test_each_of_a_hundred_calls_at_once_gets_its_own_answer(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            every = await asyncio.gather(
                *(pools.events_of(pool, "echo", {"text": f"number {n}"}) for n in range(100))
            )
            assert [events[-1].text for events in every] == [f"number {n}" for n in range(100)]

    asyncio.run(work())


def test_a_long_result_comes_in_pieces_and_whole(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            events = await pools.events_of(pool, "big", {"n": 3_000_000})
            assert [event.kind for event in events].count("part") == 2
            assert json.loads(pools.result_of(events))["content"][0]["text"] == "x" * 3_000_000
            assert not events[-1].plain
            assert events[-1].text == ""

    asyncio.run(work())


@pytest.mark.slow
def test_fifty_megabytes_come_whole(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            events = await pools.events_of(pool, "big", {"n": 50_000_000})
            assert len(json.loads(pools.result_of(events))["content"][0]["text"]) == 50_000_000
            await pools.says(pool, "and on it goes")

    asyncio.run(work())


def test_a_tool_that_fails_is_an_answer(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            (event,) = await pools.events_of(pool, "fail")
            assert event.is_error
            assert event.text == "it failed"

    asyncio.run(work())


def test_an_error_of_the_server_is_told_as_it_is(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            with pytest.raises(api.ServerRefused) as raised:
                await pools.events_of(pool, "refuse")
            assert (raised.value.code, raised.value.message, raised.value.data) == (-32050, "no", '{"why":1}')

    asyncio.run(work())


def test_a_result_is_checked_against_the_output_schema_and_passed_on(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            (right,) = await pools.events_of(pool, "typed", {"right": True})
            (wrong,) = await pools.events_of(pool, "typed", {"right": False})
            assert right.schema_error == ""
            assert "$.n" in wrong.schema_error
            assert json.loads(wrong.result)["structuredContent"] == {"n": "one"}

    asyncio.run(work())


def test_a_nul_in_a_text_comes_through(pools) -> None:
    """Files have such; the frames between daemon and command end with it."""

    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            (event,) = await pools.events_of(pool, "echo", {"text": "a\0b"})
            assert json.loads(event.result)["content"][0]["text"] == "a\0b"
            assert not event.plain  # so the text is taken from the result
            assert "\0" not in event.text

    asyncio.run(work())
