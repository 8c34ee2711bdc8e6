"""Several servers: started together, replaced by a new definition, one for each environment."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from mcp_cli.protocol import interfaces as api


def test_a_server_that_was_not_given_is_asked_for(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            with pytest.raises(api.NotConfigured) as raised:
                await pools.events_of(pool, "echo", {"text": "x"}, fingerprint="2")
            assert raised.value.fingerprint == "2"

    asyncio.run(work())


def test_all_servers_are_started_together_and_one_that_fails_holds_up_none(pools) -> None:
    async def work() -> None:
        servers = [pools.fake("--start-s", "1.5", name=f"s{n}") for n in range(6)]
        async with pools.of(*servers, pools.fake("--exit-at-once", "1", name="bad")) as pool:
            await asyncio.to_thread(__import__, "mcp_cli.pool.connection")
            began = time.monotonic()
            refs = [api.Ref(f"s{n}", "1") for n in range(6)] + [api.Ref("bad", "1")]
            listings = {one.server: one async for one in pool.tools(refs, detail=False)}
            took = time.monotonic() - began
            assert set(listings) == {*(f"s{n}" for n in range(6)), "bad"}
            assert all(len(listings[f"s{n}"].items) == 17 for n in range(6))
            assert listings["bad"].state.stderr == ["cannot work today"]
            assert "exited with code 1" in listings["bad"].state.error
            assert took < 6 * 1.5

    asyncio.run(work())


def test_a_changed_definition_replaces_the_old_one_whose_calls_finish(pools) -> None:
    async def work() -> None:
        old = pools.fake(source="/c.toml", template="a")
        async with pools.of(old, pools.fake(name="other", source="/c.toml", template="x")) as pool:
            await pools.says(pool, "x")
            await pools.says(pool, "x", server="other")
            (before,) = [one for one in await pool.servers() if one.server == "other"]
            running = await pools.begun(pool.call("fake", "1", "slow", '{"n": 2, "progress": true}'))
            new = pools.fake(source="/c.toml", template="b", fingerprint="2", env={"NEW": "1"})
            changed = await pool.configure([new, pools.fake(name="other", source="/c.toml", template="x")])
            assert (changed.replaced, changed.kept) == (["fake"], ["other"])
            assert "NEW" in (await pools.events_of(pool, "env", fingerprint="2"))[-1].text
            with pytest.raises(api.NotConfigured):
                await pools.says(pool, "x")
            old_one, new_one = sorted(
                (one for one in await pool.servers() if one.server == "fake"), key=lambda one: one.fingerprint
            )
            assert (old_one.state, old_one.calls, new_one.state) == ("retired", 1, "ready")
            assert pool.calls == 1
            assert (await running)[-1].text == "done"

            async def gone() -> bool:
                return len(await pool.servers()) == 2

            await pools.until(gone)
            (after,) = [one for one in await pool.servers() if one.server == "other"]
            assert after.pid == before.pid

    asyncio.run(work())


def test_a_question_of_a_server_that_was_replaced_meanwhile_is_answered(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake(source="/c.toml", template="a")) as pool:
            given = json.dumps({"message": pools.FORM})
            async for event in pool.call("fake", "1", "ask", given, answers=["elicitation/create"]):
                if event.kind == "question":
                    await pool.configure([pools.fake(source="/c.toml", template="b", fingerprint="2")])
                    await pool.answer(event.id, '{"action": "accept", "content": {"who": "me"}}')
            assert json.loads(event.text)["content"] == {"who": "me"}

    asyncio.run(work())


def test_two_environments_have_two_servers(pools) -> None:
    async def work() -> None:
        one = pools.fake(source="/c.toml", template="a", env={"WHO": "one"})
        two = pools.fake(source="/c.toml", template="a", env={"WHO": "two"}, fingerprint="2")
        async with pools.of(one, two) as pool:
            first = json.loads((await pools.events_of(pool, "env"))[-1].text)
            second = json.loads((await pools.events_of(pool, "env", fingerprint="2"))[-1].text)
            assert (first["WHO"], second["WHO"]) == ("one", "two")

    asyncio.run(work())
