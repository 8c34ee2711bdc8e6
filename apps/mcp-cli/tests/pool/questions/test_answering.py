"""Who answers a server's question: the configuration's command, the caller, whoever comes, or nobody."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_cli.names import ELICITATION, SAMPLING
from mcp_cli.pool.questions.answering import Way, way
from mcp_cli.pool.service import ServerPool
from mcp_cli.protocol import interfaces as api

TESTS = Path(__file__).parents[2]
FORM = {
    "message": "Which?",
    "requestedSchema": {
        "type": "object",
        "properties": {"colour": {"type": "string", "oneOf": [{"const": "r", "title": "Red"}]}},
        "required": ["colour"],
    },
}
MODEL = {"messages": [{"role": "user", "content": {"type": "text", "text": "2+2?"}}], "maxTokens": 9}
TOOLS = {**MODEL, "tools": [{"name": "add", "inputSchema": {"type": "object"}}]}


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@contextlib.asynccontextmanager
async def pool_of(script: str = "fake_server.py", *options: str, **fields: Any) -> AsyncIterator[ServerPool]:
    pool = ServerPool()
    path = str(TESTS / script)
    one = api.Server(name="s", fingerprint="1", command=sys.executable, args=[path, *options], **fields)
    await pool.configure([one])
    try:
        yield pool
    finally:
        await pool.close()


def asking(pool: ServerPool, method: str, params: Any, *answers: str) -> AsyncGenerator[api.Event, None]:
    given = json.dumps({"message": {"method": method, "params": params}})
    return pool.call("s", "1", "ask", given, answers=list(answers))


async def reply(pool: ServerPool, method: str, params: Any, *answers: str) -> tuple[Any, list[str]]:
    """What the server got for its question, and what the caller was told."""
    async with asyncio.timeout(30):
        told = [event async for event in asking(pool, method, params, *answers)]
    return json.loads(told[-1].text), [one.text for one in told[:-1] if one.level == "warning"]


def test_the_configuration_comes_before_the_caller() -> None:
    def chosen(method: str = ELICITATION, *answers: str, **fields: Any) -> Way:
        return way(method, api.Server(name="s", fingerprint="1", **fields), answers)

    assert chosen() is Way.REFUSE
    assert chosen(ELICITATION, ELICITATION) is Way.CALLER
    assert chosen(ELICITATION, ELICITATION, elicitation="decline") is Way.REFUSE
    assert chosen(ELICITATION, ELICITATION, elicitation_command=["x"]) is Way.HOOK
    assert chosen(ELICITATION, elicitation="ask") is Way.OPEN
    assert chosen(SAMPLING, elicitation="ask", elicitation_command=["x"]) is Way.REFUSE
    assert chosen("roots/list", elicitation="ask") is Way.REFUSE


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ('print(\'{"colour": "r"}\')', {"action": "accept", "content": {"colour": "r"}}),
        ('print(\'{"action": "cancel"}\')', {"action": "cancel"}),
        ("pass", {"action": "decline"}),
    ],
)
def test_a_command_answers_a_form(said: str, answer: Any) -> None:
    async def work() -> None:
        async with pool_of(elicitation_command=python(said)) as pool:
            assert await reply(pool, ELICITATION, FORM, ELICITATION) == (answer, [])

    asyncio.run(work())


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("import time; time.sleep(60)", "gave no answer within 0.3 s and was killed"),
        ("import sys; sys.exit('no model')", "failed with 1: no model"),
        ("print('not JSON')", "is not a JSON object"),
        ("print('x' * (5 << 20))", "wrote more than"),
        ("print('{\"colour\": 7}')", "its answer does not fit: colour: "),
    ],
    ids=["hangs", "fails", "writes no answer", "writes too much", "does not fit"],
)
def test_a_command_that_does_not_answer_is_a_refusal_with_a_reason(code: str, complaint: str) -> None:
    limit_s = 0.3 if "sleep" in code else 30

    async def work() -> None:
        async with pool_of(elicitation_command=python(code), hook_timeout_s=limit_s) as pool:
            answer, told = await reply(pool, ELICITATION, FORM)
            assert answer == {"action": "decline"}
            assert complaint in told[0]

    asyncio.run(work())


def test_a_command_that_hangs_leaves_no_process(tmp_path: Path, alive: Callable[[int], bool]) -> None:
    """Nor one that has made a session of its own."""
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
        " start_new_session=True)\n"
        f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(600)"
    )

    async def work() -> None:
        async with pool_of(elicitation_command=python(code), hook_timeout_s=600) as pool:
            events = asking(pool, ELICITATION, FORM)
            first = asyncio.create_task(anext(events))
            async with asyncio.timeout(30):
                while not (tmp_path / "pids").exists() or len((tmp_path / "pids").read_text().split()) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            first.cancel()  # the caller goes
            await asyncio.wait((first,))
            pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
            async with asyncio.timeout(30):
                while any(map(alive, pids)):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

    asyncio.run(work())


def test_a_command_is_the_model_with_tools_or_without() -> None:
    use = {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "add", "input": {}}]}
    code = (
        "import json, sys; asked = json.load(sys.stdin); assert asked['tool'] == 'ask'\n"
        f"print(json.dumps({{**{use!r}, 'stopReason': 'toolUse'}}) if 'tools' in asked['params'] else 'four')"
    )

    async def work() -> None:
        async with pool_of(sampling_command=python(code)) as pool:
            plain, _ = await reply(pool, SAMPLING, MODEL)
            assert plain["content"] == {"type": "text", "text": "four"}
            tools, told = await reply(pool, SAMPLING, TOOLS)
            assert (tools["stopReason"], told) == ("toolUse", [])
            assert tools["content"][0]["name"] == "add"

    asyncio.run(work())


def test_an_open_question_is_listed_answered_once_and_gone() -> None:
    async def work() -> None:
        async with pool_of(elicitation="ask") as pool, asyncio.timeout(30):
            events = asking(pool, ELICITATION, FORM)
            asked = await anext(events)
            assert (asked.kind, asked.level) == ("question", "open")
            (one,) = await pool.questions()
            assert (one.id, one.server, one.tool, one.method) == (asked.id, "s", "ask", ELICITATION)
            await pool.answer(asked.id, '{"action":"accept","content":{"colour":"r"}}')
            with pytest.raises(api.NoSuchQuestion):
                await pool.answer(asked.id, '{"action":"decline"}')
            last = [event async for event in events][-1]
            assert json.loads(last.text)["content"] == {"colour": "r"}
            assert await pool.questions() == []

    asyncio.run(work())


def test_a_call_that_waits_for_an_answer_takes_no_other_call_s_question() -> None:
    """An abandoned one would hold up the next for as long as its own answer takes."""

    async def work() -> None:
        async with pool_of() as pool, asyncio.timeout(30):
            first = asking(pool, ELICITATION, FORM, ELICITATION)
            assert (await anext(first)).kind == "question"

            async def rest() -> str:
                return [event async for event in first][-1].text

            given = {"id": "q2", "method": ELICITATION, "params": FORM}

            async def other() -> str:
                events = pool.call("s", "1", "ask", json.dumps({"message": given}))
                return [event async for event in events][-1].text

            # Which of the two the server gives the reply to is its own affair.
            calls = [asyncio.create_task(rest()), asyncio.create_task(other())]
            done, left = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            assert [json.loads(one.result()) for one in done] == [{"action": "decline"}]
            for one in left:
                one.cancel()
            await asyncio.wait(left)

    asyncio.run(work())


def test_nobody_answers_in_time_and_an_answer_that_comes_later_is_refused() -> None:
    async def work() -> None:
        async with pool_of(elicitation="ask", timeout_s=0.4) as pool, asyncio.timeout(30):
            events = asking(pool, ELICITATION, FORM)
            asked = await anext(events)
            told = [event async for event in events]
            assert json.loads(told[-1].text) == {"action": "decline"}
            assert "nobody answered its question within 0.4 s" in told[0].text
            with pytest.raises(api.NoSuchQuestion):
                await pool.answer(asked.id, '{"action":"accept"}')

    asyncio.run(work())


@pytest.mark.parametrize(("pages", "rounds", "ends"), [(1, 1, ["paid"]), (9, 3, [])])
def test_a_call_that_wants_a_page_is_made_again_once_it_was_opened(
    pages: int, rounds: int, ends: list[str]
) -> None:
    async def work() -> None:
        said: list[str] = []
        async with pool_of("page_server.py", "--pages", str(pages), elicitation="ask") as pool:
            with contextlib.suppress(api.ServerRefused):
                async for event in pool.call("s", "1", "paid"):
                    said.append(event.text)
                    if event.kind == "question":
                        assert json.loads(event.result)["url"] == "https://example.test/pay"
                        await pool.answer(event.id, '{"action":"accept"}')
        assert said == [*[""] * rounds, *ends]

    asyncio.run(asyncio.wait_for(work(), 30))


def test_a_page_that_is_not_opened_is_the_servers_refusal() -> None:
    async def work() -> None:
        async with pool_of("page_server.py") as pool:
            with pytest.raises(api.ServerRefused, match="pay first"):
                await anext(pool.call("s", "1", "paid"))

    asyncio.run(asyncio.wait_for(work(), 30))
