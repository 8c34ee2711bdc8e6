"""Checks before a call is sent: the tool, its arguments, its schema."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from mcp_cli.protocol import interfaces as api


def test_a_tool_that_is_filtered_away_is_told_as_that(pools) -> None:
    async def work() -> None:
        server = pools.fake(allowed_tools=["*_file", "echo"], disabled_tools=["write_*"])
        async with pools.of(server) as pool:
            listings = [one async for one in pool.tools([api.Ref("fake", "1")])]
            assert [item.name for item in listings[0].items] == ["echo"]
            assert listings[0].filtered == 16
            with pytest.raises(api.Filtered) as raised:
                await pools.events_of(pool, "write_file")
            assert "write_*" in raised.value.rule
            with pytest.raises(api.Filtered):
                await pools.events_of(pool, "fail")
            with pytest.raises(api.NoSuchTool) as unknown:
                await pools.events_of(pool, "ecko")
            assert unknown.value.nearest == "echo"

    asyncio.run(work())


def test_arguments_are_checked_before_anything_is_sent(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            with pytest.raises(api.BadArguments) as raised:
                await pools.events_of(pool, "echo", {"txet": "x"})
            assert (raised.value.parameter, raised.value.nearest) == ("txet", "text")
            with pytest.raises(api.BadArguments) as not_json:
                [_ async for _ in pool.call("fake", "1", "echo", "{")]
            assert "not JSON" in not_json.value.reason
            with pytest.raises(api.BadArguments) as no_object:
                [_ async for _ in pool.call("fake", "1", "echo", "[1]")]
            assert "object" in no_object.value.reason
            events = [event async for event in pool.call("fake", "1", "echo", words=["text=7"])]
            assert events[-1].text == "7"

    asyncio.run(work())


@pytest.mark.parametrize("schema", ['{"type":"objct","required":7,"properties":[]}', '"none"', "7"])
def test_a_schema_that_is_none_checks_nothing(pools, schema: str) -> None:
    async def work() -> None:
        lists = f'"result":{{"tools":[{{"name":"echo","inputSchema":{schema}}}]}}'
        async with pools.of(pools.fake("--lists", lists)) as pool:
            assert (await pools.events_of(pool, "echo", {"text": "x"}))[-1].text == "x"

    asyncio.run(work())


def _tools(parameter: str) -> str:
    schema = {"type": "object", "properties": {parameter: {"type": "string"}}, "required": [parameter]}
    return json.dumps([{"name": "echo", "inputSchema": {**schema, "additionalProperties": False}}])


def test_a_tool_list_is_read_again_before_arguments_are_refused(pools, tmp_path: Path) -> None:
    """A server that changed without a word takes what it takes now."""

    async def work() -> None:
        path = tmp_path / "tools.json"
        path.write_text(_tools("old"))
        async with pools.of(pools.fake("--tools-file", str(path))) as pool:
            with pytest.raises(api.BadArguments):
                await pools.events_of(pool, "echo", {"text": "x"})
            path.write_text(_tools("text"))
            assert (await pools.events_of(pool, "echo", {"text": "x"}))[-1].text == "x"
            with pytest.raises(api.BadArguments):
                await pools.events_of(pool, "echo", {"old": "x"})

    asyncio.run(work())


def test_a_pinned_tool_is_called_only_as_long_as_it_is_the_same(pools, tmp_path: Path) -> None:
    """The list is read again: the server has said nothing of its change."""

    async def work() -> None:
        path = tmp_path / "tools.json"
        path.write_text(_tools("text"))
        (pinned,) = json.loads(_tools("text"))
        async with pools.of(pools.fake("--tools-file", str(path))) as pool:

            async def called() -> str:
                given = json.dumps({"text": "x"})
                pin = json.dumps(pinned)
                return [one async for one in pool.call("fake", "1", "echo", given, pin=pin)][-1].text

            assert await called() == "x"
            path.write_text(_tools("text").replace('"string"', '["string", "null"]'))
            with pytest.raises(api.BadArguments) as raised:
                await called()
            assert 'properties.text.type was "string" and is ["string", "null"]' in raised.value.reason
            assert (await pools.events_of(pool, "echo", {"text": "y"}))[-1].text == "y"

    asyncio.run(work())
