"""One server under way: crashes, silence, cancelling, questions, and pings."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from typing import Any

import pytest

from daemonry.testing import wait_until
from mcp_cli.pool import server
from mcp_cli.protocol import interfaces as api


def test_a_crash_in_a_call_is_an_unknown_outcome_and_the_next_call_works(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            await pools.says(pool, "before")
            with pytest.raises(api.MaybeRan) as raised:
                await pools.events_of(pool, "crash")
            assert raised.value.reason == "exited with code 7"
            assert raised.value.stderr[-1] == "going down"
            await pools.says(pool, "after")
            (state,) = await pool.servers()
            assert state.starts == 2

    asyncio.run(work())


def test_a_server_that_is_killed_between_calls_comes_back_by_itself(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            await pools.says(pool, "before")
            (state,) = await pool.servers()
            os.kill(state.pid, signal.SIGKILL)

            async def back() -> bool:
                (now,) = await pool.servers()
                return now.state == "ready" and now.pid != state.pid

            await pools.until(back)
            (now,) = await pool.servers()
            assert now.starts == 2
            await pools.says(pool, "after")

    asyncio.run(work())


def test_silence_ends_a_call_and_progress_does_not(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            await pools.says(pool, "warm")
            with pytest.raises(api.TimedOut):
                await pools.events_of(pool, "slow", {"n": 30}, timeout_s=0.4)
            events = await pools.events_of(pool, "slow", {"n": 1.2, "progress": True}, timeout_s=0.4)
            assert events[-1].text == "done"
            assert [event.kind for event in events].count("progress") > 5

    asyncio.run(work())


def test_whoever_stops_listening_cancels_the_call_at_the_server(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            await pools.says(pool, "warm")
            events = pool.call("fake", "1", "slow", '{"n": 30, "progress": true}')
            assert (await anext(events)).kind == "progress"
            await events.aclose()
            (state,) = await pool.servers()
            assert state.calls == 0
            told = json.loads((await pools.events_of(pool, "cancelled"))[-1].text)
            assert len(told) == 1

    asyncio.run(work())


def test_nothing_is_left_of_a_server_that_has_ended(pools, tmp_path: Any) -> None:
    child, starts = tmp_path / "child", tmp_path / "starts"

    async def work() -> None:
        async with pools.of(pools.fake("--child", str(child), "--start-file", str(starts))) as pool:
            await pools.says(pool, "x")
            assert pools.alive(int(child.read_text()))

    asyncio.run(work())
    assert wait_until(lambda: not pools.alive(int(child.read_text())), 5)
    assert not pools.alive(int(starts.read_text()))


def test_a_bound_on_calls_at_once_is_kept(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake(concurrency=2)) as pool:
            await pools.says(pool, "warm")
            began = time.monotonic()
            await asyncio.gather(*(pools.events_of(pool, "slow", {"n": 0.3}) for _ in range(4)))
            assert time.monotonic() - began >= 0.6

    asyncio.run(work())


SAMPLE = {
    "method": "sampling/createMessage",
    "params": {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 5},
}


def test_a_question_is_put_to_the_caller_and_answered_without_haste(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            await pools.says(pool, "warm")
            given = json.dumps({"message": pools.FORM})
            kinds = []
            # The person takes longer than the server may be silent.
            async for event in pool.call(
                "fake", "1", "ask", given, timeout_s=0.5, answers=["elicitation/create"]
            ):
                kinds.append(event.kind)
                if event.kind == "question":
                    assert json.loads(event.result)["message"] == "Who?"
                    await asyncio.sleep(0.8)  # longer than `timeout_s`, which is what is tested
                    await pool.answer(event.id, '{"action": "accept", "content": {"who": "me"}}')
                    with pytest.raises(api.NoSuchQuestion):
                        await pool.answer(event.id, "")
            assert kinds == ["question", "done"]
            assert json.loads(event.text) == {"action": "accept", "content": {"who": "me"}}

    asyncio.run(work())


def test_a_question_that_nobody_answers_is_refused_and_told(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            events = await pools.events_of(pool, "ask", {"message": pools.FORM})
            assert json.loads(events[-1].text) == {"action": "decline"}
            assert any("elicitation/create, which was refused" in event.text for event in events)
            sampled = await pools.events_of(pool, "ask", {"message": SAMPLE})
            assert "no model" in json.loads(sampled[-1].text)["message"]

    asyncio.run(work())


def test_roots_are_those_of_the_configuration(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake(), pools.fake(name="rooted", roots=["/tmp/a b"])) as pool:
            none = await pools.events_of(pool, "ask", {"message": {"method": "roots/list"}})
            assert json.loads(none[-1].text) == {"roots": []}
            some = await pools.events_of(pool, "ask", {"message": {"method": "roots/list"}}, server="rooted")
            assert json.loads(some[-1].text) == {"roots": [{"uri": "file:///tmp/a%20b"}]}

    asyncio.run(work())


def test_a_server_that_hangs_is_found_by_ping_and_replaced(pools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "QUIET_S", 0.0)
    monkeypatch.setattr(server, "PING_S", 0.3)

    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            await pools.says(pool, "x")
            (before,) = await pool.servers()
            (one,) = pool._kept.values()
            await one.check_health()
            (still,) = await pool.servers()
            assert still.pid == before.pid
            assert still.ping_ms >= 0
            os.kill(before.pid, signal.SIGSTOP)
            await one.check_health()
            await pools.says(pool, "next")
            (after,) = await pool.servers()
            assert after.pid != before.pid
            assert not pools.alive(before.pid)

    asyncio.run(work())


def test_a_server_that_is_busy_with_a_call_is_not_pinged(pools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "QUIET_S", 0.0)
    monkeypatch.setattr(server, "PING_S", 0.1)

    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            await pools.says(pool, "x")
            (one,) = pool._kept.values()
            running = await pools.begun(pool.call("fake", "1", "slow", '{"n": 0.5, "progress": true}'))
            await one.check_health()
            assert (await running)[-1].text == "done"
            (state,) = await pool.servers()
            assert state.starts == 1

    asyncio.run(work())
