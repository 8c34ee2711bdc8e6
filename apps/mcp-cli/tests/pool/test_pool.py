"""The pool against servers that misbehave: each fault has a clear outcome, and the next call works."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from daemonry.testing import wait_until
from mcp_cli.pool import freshness, server, stdio
from mcp_cli.pool.service import ServerPool
from mcp_cli.protocol import interfaces as api

FAKE = str(Path(__file__).parents[1] / "fake_server.py")


def fake(*options: str, name: str = "fake", fingerprint: str = "1", **fields: Any) -> api.Server:
    return api.Server(
        name=name, fingerprint=fingerprint, command=sys.executable, args=[FAKE, *options], **fields
    )


@contextlib.asynccontextmanager
async def pool_of(*servers: api.Server) -> AsyncIterator[ServerPool]:
    pool = ServerPool()
    await pool.configure(list(servers))
    try:
        yield pool
    finally:
        await pool.close()


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


async def events_of(
    pool: ServerPool, tool: str, given: dict[str, Any] | None = None, **options: Any
) -> list[api.Event]:
    options.setdefault("fingerprint", "1")
    options.setdefault("server", "fake")
    return [event async for event in pool.call(tool=tool, arguments=json.dumps(given or {}), **options)]


def result_of(events: list[api.Event]) -> str:
    assert events[-1].kind == "done"
    return "".join(event.result for event in events if event.kind in ("part", "done"))


async def until(told: Callable[[], Awaitable[bool]], timeout_s: float = 20.0) -> None:
    """Ask again and again until it is so."""
    async with asyncio.timeout(timeout_s):
        while not await told():  # noqa: ASYNC110  # a state is asked for, there is no event
            await asyncio.sleep(0.01)


async def begun(running: AsyncGenerator[api.Event, None]) -> asyncio.Task[list[api.Event]]:
    """Wait until a call is at its server, which tells of progress, and return the rest of it."""
    assert (await anext(running)).kind == "progress"

    async def rest() -> list[api.Event]:
        return [event async for event in running]

    return asyncio.create_task(rest())


async def says(pool: ServerPool, text: str, **options: Any) -> None:
    events = await events_of(pool, "echo", {"text": text}, **options)
    assert events[-1].text == text


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def words_of(pid: int) -> str:
    with open(f"/proc/{pid}/cmdline") as file:
        return file.read()


# --- what comes back ------------------------------------------------------------------------------


def test_a_result_is_passed_on_to_the_byte() -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            events = await events_of(pool, "raw")
            expected = (
                r'{"content":[{"type":"text","text":"\u00e9"}],"z":1.0,"a":1e2,'
                r'"big":123456789012345678901234567890,"m":{"b":1,"a":2}}'
            )
            assert result_of(events) == expected
            assert events[-1].text == "é"

    run(work())


def test_each_of_a_hundred_calls_at_once_gets_its_own_answer() -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            every = await asyncio.gather(
                *(events_of(pool, "echo", {"text": f"number {n}"}) for n in range(100))
            )
            assert [events[-1].text for events in every] == [f"number {n}" for n in range(100)]

    run(work())


def test_a_long_result_comes_in_pieces_and_whole() -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            events = await events_of(pool, "big", {"n": 3_000_000})
            assert [event.kind for event in events].count("part") == 2
            assert json.loads(result_of(events))["content"][0]["text"] == "x" * 3_000_000
            assert not events[-1].plain
            assert events[-1].text == ""

    run(work())


@pytest.mark.slow
def test_fifty_megabytes_come_whole() -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            events = await events_of(pool, "big", {"n": 50_000_000})
            assert len(json.loads(result_of(events))["content"][0]["text"]) == 50_000_000
            await says(pool, "and on it goes")

    run(work())


def test_a_tool_that_fails_is_an_answer() -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            (event,) = await events_of(pool, "fail")
            assert event.is_error
            assert event.text == "it failed"

    run(work())


def test_an_error_of_the_server_is_told_as_it_is() -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            with pytest.raises(api.ServerRefused) as raised:
                await events_of(pool, "refuse")
            assert (raised.value.code, raised.value.message, raised.value.data) == (-32050, "no", '{"why":1}')

    run(work())


def test_a_result_is_checked_against_the_output_schema_and_passed_on() -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            (right,) = await events_of(pool, "typed", {"right": True})
            (wrong,) = await events_of(pool, "typed", {"right": False})
            assert right.schema_error == ""
            assert "$.n" in wrong.schema_error
            assert json.loads(wrong.result)["structuredContent"] == {"n": "one"}

    run(work())


# --- what is not sent -----------------------------------------------------------------------------


def test_a_server_that_was_not_given_is_asked_for() -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            with pytest.raises(api.NotConfigured) as raised:
                await events_of(pool, "echo", {"text": "x"}, fingerprint="2")
            assert raised.value.fingerprint == "2"

    run(work())


def test_a_tool_that_is_filtered_away_is_told_as_that() -> None:
    async def work() -> None:
        server = fake(allowed_tools=["*_file", "echo"], disabled_tools=["write_*"])
        async with pool_of(server) as pool:
            listings = [one async for one in pool.tools([api.Ref("fake", "1")])]
            assert [item.name for item in listings[0].items] == ["echo"]
            assert listings[0].filtered == 16
            with pytest.raises(api.Filtered) as raised:
                await events_of(pool, "write_file")
            assert "write_*" in raised.value.rule
            with pytest.raises(api.Filtered):
                await events_of(pool, "fail")
            with pytest.raises(api.NoSuchTool) as unknown:
                await events_of(pool, "ecko")
            assert unknown.value.nearest == "echo"

    run(work())


def test_arguments_are_checked_before_anything_is_sent() -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            with pytest.raises(api.BadArguments) as raised:
                await events_of(pool, "echo", {"txet": "x"})
            assert (raised.value.parameter, raised.value.nearest) == ("txet", "text")
            with pytest.raises(api.BadArguments) as not_json:
                [_ async for _ in pool.call("fake", "1", "echo", "{")]
            assert "not JSON" in not_json.value.reason
            with pytest.raises(api.BadArguments) as no_object:
                [_ async for _ in pool.call("fake", "1", "echo", "[1]")]
            assert "object" in no_object.value.reason
            events = [event async for event in pool.call("fake", "1", "echo", words=["text=7"])]
            assert events[-1].text == "7"

    run(work())


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ("", "no answer to tools/list within 0.5 s"),
        ("crash", "exited with code 7 when asked for tools/list"),
        ('"result":{"tools":"none"}', "its answer to tools/list has no list: Expected `array`, got `str`"),
        ('"result":{"tools":[7]}', "one of its tools is not a tool: Expected `object`, got `int`"),
        ('"error":{"code":-32603,"message":"broke"}', "answered tools/list with an error: broke (-32603)"),
    ],
)
def test_a_server_that_cannot_say_what_it_has_ran_nothing(lists: str, said: str) -> None:
    """Its tools are asked for before a call is made, and that is not the call."""

    async def work() -> None:
        async with pool_of(fake("--lists", lists, timeout_s=0.5)) as pool:
            with pytest.raises(api.ServerFailed) as raised:
                await events_of(pool, "echo", {"text": "x"})
            assert (raised.value.stage, raised.value.reason) == ("list", said)

    run(work())


@pytest.mark.parametrize("schema", ['{"type":"objct","required":7,"properties":[]}', '"none"', "7"])
def test_a_schema_that_is_none_checks_nothing(schema: str) -> None:
    async def work() -> None:
        lists = f'"result":{{"tools":[{{"name":"echo","inputSchema":{schema}}}]}}'
        async with pool_of(fake("--lists", lists)) as pool:
            assert (await events_of(pool, "echo", {"text": "x"}))[-1].text == "x"

    run(work())


def test_an_error_that_is_too_long_for_anybody_is_cut() -> None:
    """It would not fit into a frame."""

    async def work() -> None:
        async with pool_of(fake()) as pool:
            long = "y" * 100_000
            line = f'{{"jsonrpc":"2.0","id":ID,"error":{{"code":1,"message":"{long}","data":"{long}"}}}}'
            with pytest.raises(api.ServerRefused) as raised:
                await events_of(pool, "say", {"line": line})
            assert raised.value.message == "y" * 65_536 + "... (100000 characters)"
            assert raised.value.data.endswith("yyy... (100002 characters)")

    run(work())


def test_a_server_that_exits_at_once_is_told_with_its_stderr() -> None:
    async def work() -> None:
        async with pool_of(fake("--exit-at-once", "9")) as pool:
            with pytest.raises(api.ServerFailed) as raised:
                await events_of(pool, "echo", {"text": "x"})
            assert raised.value.stage == "initialize"
            assert raised.value.reason == "exited with code 9"
            assert raised.value.stderr == ["cannot work today"]

    run(work())


def test_a_command_that_is_not_there_is_named() -> None:
    async def work() -> None:
        server = api.Server(name="fake", fingerprint="1", command="no-such-command-here")
        async with pool_of(server) as pool:
            with pytest.raises(api.ServerFailed) as raised:
                await events_of(pool, "echo")
            assert raised.value.stage == "spawn"
            assert "command not found: no-such-command-here" in raised.value.reason

    run(work())


def test_a_home_that_does_not_exist_keeps_no_server_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers and build machines have such a HOME; the server then runs in `/`."""
    monkeypatch.setenv("HOME", "/nonexistent")

    async def work() -> None:
        async with pool_of(fake()) as pool:
            assert (await events_of(pool, "cwd"))[-1].text == "/"

    run(work())


def test_a_directory_that_cannot_be_entered_is_named_and_not_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """The kernel's message is the same for both, and the command is there."""
    real = stdio.spawn_owned

    def removed_first(*words: Any, **options: Any) -> Any:
        tmp_path.rmdir()
        return real(*words, **options)

    monkeypatch.setattr(stdio, "spawn_owned", removed_first)

    async def work() -> None:
        async with pool_of(fake(cwd=str(tmp_path))) as pool:
            with pytest.raises(api.ServerFailed) as raised:
                await events_of(pool, "echo")
            assert f"No such file or directory: its directory {tmp_path}" in raised.value.reason

    run(work())


def test_a_server_that_hangs_in_initialize_is_given_up_and_ended(tmp_path: Any) -> None:
    starts = tmp_path / "starts"

    async def work() -> None:
        server = fake("--hang-initialize", "--start-file", str(starts), start_timeout_s=0.5)
        async with pool_of(server) as pool:
            began = time.monotonic()
            with pytest.raises(api.ServerFailed) as raised:
                await events_of(pool, "echo", {"text": "x"})
            assert "no answer to initialize within 0.5 s" in raised.value.reason
            assert time.monotonic() - began < 30  # and not the 60 s of a server that sets no time
            # There may be two: a server that says nothing may be of an older kind.
            assert not any(alive(int(pid)) for pid in starts.read_text().split())

    run(work())


def test_a_server_that_never_reads_is_given_up() -> None:
    async def work() -> None:
        async with pool_of(fake("--deaf", start_timeout_s=0.5)) as pool:
            with pytest.raises(api.ServerFailed) as raised:
                await events_of(pool, "echo", {"text": "x"})
            assert raised.value.stage == "initialize"

    run(work())


def test_a_server_of_old_that_survives_initialize_only_is_started_again_for_it() -> None:
    async def work() -> None:
        async with pool_of(fake("--strict-first")) as pool:
            await says(pool, "x")
            (state,) = await pool.servers()
            assert state.starts == 1  # as its users count: the first attempt was ours
            assert state.protocol == "2025-11-25"

    run(work())


def test_garbage_on_stdout_is_told_and_harms_nothing() -> None:
    async def work() -> None:
        async with pool_of(fake("--garbage")) as pool:
            events = await events_of(pool, "garbage", {"n": 500})
            notes = [event.text for event in events if event.kind == "note"]
            assert any("not a message 0" in note for note in notes)
            assert len(notes) <= 5
            assert events[-1].text == "after the garbage"
            await says(pool, "next")

    run(work())


def answer(result: str, request_id: str = "ID") -> dict[str, Any]:
    return {"line": f'{{"jsonrpc":"2.0","id":{request_id},"result":{result}}}'}


@pytest.mark.parametrize(
    ("text", "shown", "fault"),
    [
        (r"cut \ud83d", "cut \ufffd", "half a surrogate pair"),
        ("caf\xe9", "caf\ufffd", "bytes that are not UTF-8"),
    ],
)
def test_a_result_that_is_nearly_json_is_mended_and_told(text: str, shown: str, fault: str) -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            result = f'{{"content":[{{"type":"text","text":"{text}"}}]}}'
            events = await events_of(pool, "say", answer(result), timeout_s=20)
            assert events[-1].text == shown
            assert [event.text for event in events if event.kind == "note"] == [
                f"fake sent {fault}, which was replaced"
            ]

    run(work())


def test_a_number_that_is_none_harms_neither_its_call_nor_another() -> None:
    """Python's own JSON writes NaN."""

    async def work() -> None:
        async with pool_of(fake()) as pool:
            await says(pool, "warm")
            beside = asyncio.create_task(events_of(pool, "slow", {"n": 0.5, "progress": True}))
            events = await events_of(pool, "say", answer('{"content":[],"x":[NaN,1e2,"NaN"]}'))
            assert result_of(events) == '{"content":[],"x":[null,1e2,"NaN"]}'
            assert (await beside)[-1].text == "done"

    run(work())


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
def test_an_answer_that_makes_no_sense_ends_its_call_at_once(said: dict[str, Any]) -> None:
    """Not after the half hour for which a server may be silent; and its connection lives."""

    async def work() -> None:
        async with pool_of(fake()) as pool:
            with pytest.raises(api.MaybeRan) as raised:
                await events_of(pool, "say", said, timeout_s=20)
            assert raised.value.reason.startswith("its answer cannot be understood: ")
            await says(pool, "next")
            (state,) = await pool.servers()
            assert state.starts == 1

    run(work())


def test_an_answer_that_makes_no_sense_ends_no_other_call() -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            await says(pool, "warm")
            beside = asyncio.create_task(events_of(pool, "slow", {"n": 0.5, "progress": True}))
            with pytest.raises(api.MaybeRan):
                await events_of(pool, "say", answer("null"), timeout_s=20)
            assert (await beside)[-1].text == "done"

    run(work())


def test_a_flood_of_garbage_ends_the_connection_and_holds_up_nobody() -> None:
    async def work() -> None:
        flood = fake(name="flood", timeout_s=30)
        yes = api.Server(name="yes", fingerprint="1", command="yes", start_timeout_s=30)
        async with pool_of(flood, yes, fake()) as pool:
            with pytest.raises(api.MaybeRan) as raised:
                await events_of(pool, "say", {"line": "y", "times": 20_000}, server="flood")
            assert "10000 lines on stdout that are no messages" in raised.value.reason
            starting = asyncio.create_task(events_of(pool, "echo", server="yes"))
            await says(pool, "meanwhile")
            with pytest.raises(api.ServerFailed) as failed:
                await starting
            assert "10000 lines on stdout that are no messages" in failed.value.reason

    run(work())


def test_a_line_without_end_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after the half hour for which a server may be silent."""
    monkeypatch.setattr(stdio, "MAX_MESSAGE_BYTES", 1 << 20)

    async def work() -> None:
        async with pool_of(fake()) as pool:
            with pytest.raises(api.MaybeRan) as raised:
                await events_of(pool, "big", {"n": 2 << 20}, timeout_s=20)
            assert "on stdout without the end of a line" in raised.value.reason
            await says(pool, "next")

    run(work())


def test_a_nul_in_a_text_comes_through() -> None:
    """Files have such; the frames between daemon and command end with it."""

    async def work() -> None:
        async with pool_of(fake()) as pool:
            (event,) = await events_of(pool, "echo", {"text": "a\0b"})
            assert json.loads(event.result)["content"][0]["text"] == "a\0b"
            assert not event.plain  # so the text is taken from the result
            assert "\0" not in event.text

    run(work())


def test_an_answer_with_an_id_that_nobody_has_ends_the_call() -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            with pytest.raises(api.MaybeRan) as raised:
                await events_of(pool, "wrong_id")
            assert "never made" in raised.value.reason
            await says(pool, "next")

    run(work())


def test_a_crash_in_a_call_is_an_unknown_outcome_and_the_next_call_works() -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            await says(pool, "before")
            with pytest.raises(api.MaybeRan) as raised:
                await events_of(pool, "crash")
            assert raised.value.reason == "exited with code 7"
            assert raised.value.stderr[-1] == "going down"
            await says(pool, "after")
            (state,) = await pool.servers()
            assert state.starts == 2

    run(work())


def test_a_server_that_is_killed_between_calls_comes_back_by_itself() -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            await says(pool, "before")
            (state,) = await pool.servers()
            os.kill(state.pid, signal.SIGKILL)

            async def back() -> bool:
                (now,) = await pool.servers()
                return now.state == "ready" and now.pid != state.pid

            await until(back)
            (now,) = await pool.servers()
            assert now.starts == 2
            await says(pool, "after")

    run(work())


def test_silence_ends_a_call_and_progress_does_not() -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            await says(pool, "warm")
            with pytest.raises(api.TimedOut):
                await events_of(pool, "slow", {"n": 30}, timeout_s=0.4)
            events = await events_of(pool, "slow", {"n": 1.2, "progress": True}, timeout_s=0.4)
            assert events[-1].text == "done"
            assert [event.kind for event in events].count("progress") > 5

    run(work())


def test_whoever_stops_listening_cancels_the_call_at_the_server() -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            await says(pool, "warm")
            events = pool.call("fake", "1", "slow", '{"n": 30, "progress": true}')
            assert (await anext(events)).kind == "progress"
            await events.aclose()
            (state,) = await pool.servers()
            assert state.calls == 0
            told = json.loads((await events_of(pool, "cancelled"))[-1].text)
            assert len(told) == 1

    run(work())


def test_nothing_is_left_of_a_server_that_has_ended(tmp_path: Any) -> None:
    child, starts = tmp_path / "child", tmp_path / "starts"

    async def work() -> None:
        async with pool_of(fake("--child", str(child), "--start-file", str(starts))) as pool:
            await says(pool, "x")
            assert alive(int(child.read_text()))

    run(work())
    assert wait_until(lambda: not alive(int(child.read_text())), 5)
    assert not alive(int(starts.read_text()))


# --- what a server is told --------------------------------------------------------------------------


def test_a_server_gets_its_own_variables_and_few_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("SOME_TOKEN_OF_THE_SHELL", "x")

    async def work() -> None:
        async with pool_of(fake(env={"MINE": "yes"}, cwd=str(tmp_path))) as pool:
            env = json.loads((await events_of(pool, "env"))[-1].text)
            assert env["MINE"] == "yes"
            assert "PATH" in env
            assert "SOME_TOKEN_OF_THE_SHELL" not in env
            assert (await events_of(pool, "cwd"))[-1].text == str(tmp_path)

    run(work())


def test_secrets_are_not_told_on() -> None:
    async def work() -> None:
        async with pool_of(fake(env={"API_KEY": "hunter2hunter2"})) as pool:
            events = await events_of(pool, "tell", {"text": "using key hunter2hunter2 now"})

            async def wrote() -> bool:
                return bool((await pool.servers())[0].stderr)

            await until(wrote)
            (state,) = await pool.servers()
            assert state.stderr == ["using key [secret] now"]
            assert all("hunter2" not in event.text for event in events)
            assert "hunter2" not in words_of(state.pid)

    run(work())


# --- several ------------------------------------------------------------------------------------


def test_all_servers_are_started_together_and_one_that_fails_holds_up_none() -> None:
    async def work() -> None:
        servers = [fake("--start-s", "0.5", name=f"s{n}") for n in range(6)]
        async with pool_of(*servers, fake("--exit-at-once", "1", name="bad")) as pool:
            await asyncio.to_thread(__import__, "mcp_cli.pool.connection")
            began = time.monotonic()
            refs = [api.Ref(f"s{n}", "1") for n in range(6)] + [api.Ref("bad", "1")]
            listings = {one.server: one async for one in pool.tools(refs, detail=False)}
            took = time.monotonic() - began
            assert set(listings) == {*(f"s{n}" for n in range(6)), "bad"}
            assert all(len(listings[f"s{n}"].items) == 17 for n in range(6))
            assert listings["bad"].state.stderr == ["cannot work today"]
            assert "exited with code 1" in listings["bad"].state.error
            assert took < 6 * 0.5

    run(work())


def test_a_changed_definition_replaces_the_old_one_whose_calls_finish() -> None:
    async def work() -> None:
        old = fake(source="/c.toml", template="a")
        async with pool_of(old, fake(name="other", source="/c.toml", template="x")) as pool:
            await says(pool, "x")
            await says(pool, "x", server="other")
            (before,) = [one for one in await pool.servers() if one.server == "other"]
            running = await begun(pool.call("fake", "1", "slow", '{"n": 2, "progress": true}'))
            new = fake(source="/c.toml", template="b", fingerprint="2", env={"NEW": "1"})
            changed = await pool.configure([new, fake(name="other", source="/c.toml", template="x")])
            assert (changed.replaced, changed.kept) == (["fake"], ["other"])
            assert "NEW" in (await events_of(pool, "env", fingerprint="2"))[-1].text
            with pytest.raises(api.NotConfigured):
                await says(pool, "x")
            old_one, new_one = sorted(
                (one for one in await pool.servers() if one.server == "fake"), key=lambda one: one.fingerprint
            )
            assert (old_one.state, old_one.calls, new_one.state) == ("retired", 1, "ready")
            assert pool.calls == 1
            assert (await running)[-1].text == "done"

            async def gone() -> bool:
                return len(await pool.servers()) == 2

            await until(gone)
            (after,) = [one for one in await pool.servers() if one.server == "other"]
            assert after.pid == before.pid

    run(work())


def test_a_question_of_a_server_that_was_replaced_meanwhile_is_answered() -> None:
    async def work() -> None:
        async with pool_of(fake(source="/c.toml", template="a")) as pool:
            given = json.dumps({"message": FORM})
            async for event in pool.call("fake", "1", "ask", given, answers=["elicitation/create"]):
                if event.kind == "question":
                    await pool.configure([fake(source="/c.toml", template="b", fingerprint="2")])
                    await pool.answer(event.id, '{"action": "accept", "content": {"who": "me"}}')
            assert json.loads(event.text)["content"] == {"who": "me"}

    run(work())


def test_two_environments_have_two_servers() -> None:
    async def work() -> None:
        one = fake(source="/c.toml", template="a", env={"WHO": "one"})
        two = fake(source="/c.toml", template="a", env={"WHO": "two"}, fingerprint="2")
        async with pool_of(one, two) as pool:
            first = json.loads((await events_of(pool, "env"))[-1].text)
            second = json.loads((await events_of(pool, "env", fingerprint="2"))[-1].text)
            assert (first["WHO"], second["WHO"]) == ("one", "two")

    run(work())


def test_a_bound_on_calls_at_once_is_kept() -> None:
    async def work() -> None:
        async with pool_of(fake(concurrency=2)) as pool:
            await says(pool, "warm")
            began = time.monotonic()
            await asyncio.gather(*(events_of(pool, "slow", {"n": 0.3}) for _ in range(4)))
            assert time.monotonic() - began >= 0.6

    run(work())


# --- questions of a server ------------------------------------------------------------------------

FORM = {
    "method": "elicitation/create",
    "params": {
        "message": "Who?",
        "requestedSchema": {"type": "object", "properties": {"who": {"type": "string"}}},
    },
}
SAMPLE = {
    "method": "sampling/createMessage",
    "params": {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 5},
}


def test_a_question_is_put_to_the_caller_and_answered_without_haste() -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            await says(pool, "warm")
            given = json.dumps({"message": FORM})
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

    run(work())


def test_a_question_that_nobody_answers_is_refused_and_told() -> None:
    async def work() -> None:
        async with pool_of(fake()) as pool:
            events = await events_of(pool, "ask", {"message": FORM})
            assert json.loads(events[-1].text) == {"action": "decline"}
            assert any("elicitation/create, which was refused" in event.text for event in events)
            sampled = await events_of(pool, "ask", {"message": SAMPLE})
            assert "no model" in json.loads(sampled[-1].text)["message"]

    run(work())


def test_roots_are_those_of_the_configuration() -> None:
    async def work() -> None:
        async with pool_of(fake(), fake(name="rooted", roots=["/tmp/a b"])) as pool:
            none = await events_of(pool, "ask", {"message": {"method": "roots/list"}})
            assert json.loads(none[-1].text) == {"roots": []}
            some = await events_of(pool, "ask", {"message": {"method": "roots/list"}}, server="rooted")
            assert json.loads(some[-1].text) == {"roots": [{"uri": "file:///tmp/a%20b"}]}

    run(work())


# --- health ---------------------------------------------------------------------------------------


def test_a_server_that_hangs_is_found_by_ping_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "QUIET_S", 0.0)
    monkeypatch.setattr(server, "PING_S", 0.3)

    async def work() -> None:
        async with pool_of(fake()) as pool:
            await says(pool, "x")
            (before,) = await pool.servers()
            (one,) = pool._kept.values()
            await one.check_health()
            (still,) = await pool.servers()
            assert still.pid == before.pid
            assert still.ping_ms >= 0
            os.kill(before.pid, signal.SIGSTOP)
            await one.check_health()
            await says(pool, "next")
            (after,) = await pool.servers()
            assert after.pid != before.pid
            assert not alive(before.pid)

    run(work())


def test_a_server_that_is_busy_with_a_call_is_not_pinged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "QUIET_S", 0.0)
    monkeypatch.setattr(server, "PING_S", 0.1)

    async def work() -> None:
        async with pool_of(fake()) as pool:
            await says(pool, "x")
            (one,) = pool._kept.values()
            running = await begun(pool.call("fake", "1", "slow", '{"n": 0.5, "progress": true}'))
            await one.check_health()
            assert (await running)[-1].text == "done"
            (state,) = await pool.servers()
            assert state.starts == 1

    run(work())


# --- what changes under us -----------------------------------------------------------------------


def _tools(parameter: str) -> str:
    schema = {"type": "object", "properties": {parameter: {"type": "string"}}, "required": [parameter]}
    return json.dumps([{"name": "echo", "inputSchema": {**schema, "additionalProperties": False}}])


def test_a_tool_list_is_read_again_before_arguments_are_refused(tmp_path: Path) -> None:
    """A server that changed without a word takes what it takes now."""

    async def work() -> None:
        path = tmp_path / "tools.json"
        path.write_text(_tools("old"))
        async with pool_of(fake("--tools-file", str(path))) as pool:
            with pytest.raises(api.BadArguments):
                await events_of(pool, "echo", {"text": "x"})
            path.write_text(_tools("text"))
            assert (await events_of(pool, "echo", {"text": "x"}))[-1].text == "x"
            with pytest.raises(api.BadArguments):
                await events_of(pool, "echo", {"old": "x"})

    run(work())


def test_a_start_that_took_long_to_fail_is_not_waited_for_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        monkeypatch.setattr(freshness, "SLOW_START_S", 0.2)
        starts = tmp_path / "starts"
        server = fake("--deaf", "--start-file", str(starts), start_timeout_s=0.4, missed=["GH_TOKEN"])
        async with pool_of(server) as pool:
            with pytest.raises(api.ServerFailed) as first:
                await pool.info("fake", "1")
            assert "still runs; not passed to it: GH_TOKEN (pass_env)" in first.value.reason
            before = starts.read_text()
            with pytest.raises(api.ServerFailed) as second:
                await pool.info("fake", "1")
            assert starts.read_text() == before
            assert "s ago" in second.value.reason
            assert "mcp-cli restart fake tries now" in second.value.reason
            with pytest.raises(api.ServerFailed) as third:
                await pool.restart("fake", "1")
            assert "s ago" not in third.value.reason
            assert starts.read_text() != before

    run(work())


@pytest.mark.parametrize("revision", ["2025-06-18", "2025-11-25"])
def test_a_server_is_held_to_a_revision(revision: str) -> None:
    async def work() -> None:
        async with pool_of(fake("--strict-first", protocol=revision)) as pool:
            assert (await pool.info("fake", "1")).protocol == revision
            assert (await pool.info("fake", "1")).starts == 1

    run(work())


def test_a_server_that_speaks_another_revision_than_it_is_held_to_is_refused() -> None:
    async def work() -> None:
        async with pool_of(fake(protocol="2026-07-28")) as pool:
            with pytest.raises(api.ServerFailed, match="is held to 2026-07-28"):
                await pool.info("fake", "1")

    run(work())


def test_the_password_of_a_url_is_not_told_on() -> None:
    async def work() -> None:
        server = fake(env={"DB": "postgres://u:s3cret99@h/db"})
        async with pool_of(server) as pool:
            await events_of(pool, "tell", {"text": "cannot reach postgres://u:s3cret99@h/db"})
            (state,) = await pool.servers()
            assert "s3cret99" not in "".join(state.stderr)
            assert "cannot reach" in "".join(state.stderr)

    run(work())
