"""Messages that break the protocol: each is reported, and harms no other call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mcp_cli.pool import stdio
from mcp_cli.protocol import interfaces as api


def test_garbage_on_stdout_is_told_and_harms_nothing(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake("--garbage")) as pool:
            events = await pools.events_of(pool, "garbage", {"n": 500})
            notes = [event.text for event in events if event.kind == "note"]
            assert any("not a message 0" in note for note in notes)
            assert len(notes) <= 5
            assert events[-1].text == "after the garbage"
            await pools.says(pool, "next")

    asyncio.run(work())


def answer(result: str, request_id: str = "ID") -> dict[str, Any]:
    return {"line": f'{{"jsonrpc":"2.0","id":{request_id},"result":{result}}}'}


@pytest.mark.parametrize(
    ("text", "shown", "fault"),
    [
        (r"cut \ud83d", "cut \ufffd", "half a surrogate pair"),
        ("caf\xe9", "caf\ufffd", "bytes that are not UTF-8"),
    ],
)
def test_a_result_that_is_nearly_json_is_mended_and_told(pools, text: str, shown: str, fault: str) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            result = f'{{"content":[{{"type":"text","text":"{text}"}}]}}'
            events = await pools.events_of(pool, "say", answer(result), timeout_s=20)
            assert events[-1].text == shown
            assert [event.text for event in events if event.kind == "note"] == [
                f"fake sent {fault}, which was replaced"
            ]

    asyncio.run(work())


def test_a_number_that_is_none_harms_neither_its_call_nor_another(pools) -> None:
    """Python's own JSON writes NaN."""

    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            await pools.says(pool, "warm")
            beside = asyncio.create_task(pools.events_of(pool, "slow", {"n": 0.5, "progress": True}))
            events = await pools.events_of(pool, "say", answer('{"content":[],"x":[NaN,1e2,"NaN"]}'))
            assert pools.result_of(events) == '{"content":[],"x":[null,1e2,"NaN"]}'
            assert (await beside)[-1].text == "done"

    asyncio.run(work())


@pytest.mark.parametrize(
    "said",
    [
        answer("null"),
        answer("[1]"),
        answer("{" * 3000),
        answer('{"n":' + "9" * 5000 + "}"),
        answer("{}", "true"),
        {"line": '{"jsonrpc":"2.0","id":ID}'},
    ],
)
def test_an_answer_that_makes_no_sense_ends_its_call_at_once(pools, said: dict[str, Any]) -> None:
    """Not after the half hour for which a server may be silent; and its connection lives."""

    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            with pytest.raises(api.MaybeRan) as raised:
                await pools.events_of(pool, "say", said, timeout_s=20)
            assert raised.value.reason.startswith("its answer cannot be understood: ")
            await pools.says(pool, "next")
            (state,) = await pool.servers()
            assert state.starts == 1

    asyncio.run(work())


def test_an_answer_that_makes_no_sense_ends_no_other_call(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            await pools.says(pool, "warm")
            beside = asyncio.create_task(pools.events_of(pool, "slow", {"n": 0.5, "progress": True}))
            with pytest.raises(api.MaybeRan):
                await pools.events_of(pool, "say", answer("null"), timeout_s=20)
            assert (await beside)[-1].text == "done"

    asyncio.run(work())


def test_a_flood_of_garbage_ends_the_connection_and_holds_up_nobody(pools) -> None:
    async def work() -> None:
        flood = pools.fake(name="flood", timeout_s=30)
        yes = api.Server(name="yes", fingerprint="1", command="yes", start_timeout_s=30)
        async with pools.of(flood, yes, pools.fake()) as pool:
            with pytest.raises(api.MaybeRan) as raised:
                await pools.events_of(pool, "say", {"line": "y", "times": 20_000}, server="flood")
            assert "10000 lines on stdout that are not messages" in raised.value.reason
            starting = asyncio.create_task(pools.events_of(pool, "echo", server="yes"))
            await pools.says(pool, "meanwhile")
            with pytest.raises(api.ServerFailed) as failed:
                await starting
            assert "10000 lines on stdout that are not messages" in failed.value.reason

    asyncio.run(work())


def test_a_line_without_end_ends_the_connection(pools, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after the half hour for which a server may be silent."""
    monkeypatch.setattr(stdio, "MAX_MESSAGE_BYTES", 1 << 20)

    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            with pytest.raises(api.MaybeRan) as raised:
                await pools.events_of(pool, "big", {"n": 2 << 20}, timeout_s=20)
            assert "on stdout without the end of a line" in raised.value.reason
            await pools.says(pool, "next")

    asyncio.run(work())


def test_an_answer_with_an_id_that_nobody_has_ends_the_call(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            with pytest.raises(api.MaybeRan) as raised:
                await pools.events_of(pool, "wrong_id")
            assert "never made" in raised.value.reason
            await pools.says(pool, "next")

    asyncio.run(work())
