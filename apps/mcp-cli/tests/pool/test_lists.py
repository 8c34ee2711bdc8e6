"""A server's lists: faults in them run nothing."""

from __future__ import annotations

import asyncio

import pytest

from mcp_cli.protocol import interfaces as api


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ("", "no answer to tools/list within 0.5 s"),
        ("crash", "exited with code 7 when asked for tools/list"),
        ('"result":{"tools":"none"}', "its answer to tools/list has no list: Expected `array`, got `str`"),
        ('"result":{"tools":[7]}', "one of its tools is not a tool: Expected `object`, got `int`"),
        (
            '"result":{"tools":[],"nextCursor":"a"}',
            "its pages of tools/list go round: a cursor came twice",
        ),
        ('"error":{"code":-32603,"message":"broke"}', "answered tools/list with an error: broke (-32603)"),
    ],
)
def test_a_server_that_cannot_say_what_it_has_ran_nothing(pools, lists: str, said: str) -> None:
    """Its tools are asked for before a call is made, and that is not the call."""

    async def work() -> None:
        async with pools.of(pools.fake("--lists", lists, timeout_s=0.5)) as pool:
            with pytest.raises(api.ServerFailed) as raised:
                await pools.events_of(pool, "echo", {"text": "x"})
            assert (raised.value.stage, raised.value.reason) == ("list", said)

    asyncio.run(work())


def test_an_error_that_is_too_long_for_anybody_is_cut(pools) -> None:
    """It would not fit into a frame."""

    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            long = "y" * 100_000
            line = f'{{"jsonrpc":"2.0","id":ID,"error":{{"code":1,"message":"{long}","data":"{long}"}}}}'
            with pytest.raises(api.ServerRefused) as raised:
                await pools.events_of(pool, "say", {"line": line})
            assert raised.value.message == "y" * 65_536 + "... (100000 characters)"
            assert raised.value.data.endswith("yyy... (100002 characters)")

    asyncio.run(work())
