"""Tool calls that outlive who made them, and servers that run them as tasks of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from mcp_cli.pool.service import ServerPool
from mcp_cli.pool.tasks.files import JobFiles, JobRecord
from mcp_cli.pool.tasks.jobs import Jobs
from mcp_cli.protocol import interfaces as api

TESTS = Path(__file__).parents[2]


def server(script: str, *options: str) -> api.Server:
    return api.Server(name="s", fingerprint="1", command=sys.executable, args=[str(TESTS / script), *options])


@contextlib.asynccontextmanager
async def pool_of(one: api.Server, directory: Path) -> AsyncIterator[ServerPool]:
    """A daemon's pool; it takes over what the one before it left in the same directory."""
    jobs = Jobs(JobFiles(str(directory)))
    jobs.load()
    pool = ServerPool(jobs=jobs)
    await pool.configure([one])
    try:
        yield pool
    finally:
        await pool.close()


def run(work: Coroutine[Any, Any, Any]) -> None:
    asyncio.run(work)


async def called(pool: ServerPool, tool: str, **given: Any) -> list[api.Event]:
    return [
        event async for event in pool.call("s", "1", tool, json.dumps(given), timeout_s=given.pop("s", 5))
    ]


async def detached(pool: ServerPool, tool: str, **given: Any) -> str:
    return (await pool.detach("s", "1", tool, json.dumps(given))).id


async def end_of(pool: ServerPool, task: str, **options: Any) -> api.Event:
    return [event async for event in pool.follow(task, "1", **options)][-1]


@pytest.fixture(params=[(), ("--extension",)], ids=["2025-11-25", "2026-07-28"])
def kind(request: pytest.FixtureRequest) -> tuple[str, ...]:
    options: tuple[str, ...] = request.param
    return options


class PrunedMeanwhile(JobFiles):
    """Files that are slow to be written: the daemon tidies up before they are."""

    jobs: Jobs

    def save_result(self, task_id: str, result: bytes) -> None:
        self.jobs.prune()
        super().save_result(task_id, result)


def test_a_task_whose_result_is_being_kept_is_not_taken_for_an_old_one(tmp_path: Path) -> None:
    """A thousand that end together wait for the disk while the daemon looks for what is over."""

    async def work() -> None:
        files = PrunedMeanwhile(str(tmp_path))
        jobs = files.jobs = Jobs(files)
        pool = ServerPool(jobs=jobs)
        await pool.configure([server("fake_server.py")])
        try:
            task = await detached(pool, "echo", text="kept")
            assert (await end_of(pool, task)).text == "kept"
            assert [one.status for one in await pool.tasks()] == ["completed"]
        finally:
            await pool.close()

    run(work())


# --- the server's own tasks ----------------------------------------------------------------------


def test_a_tool_that_runs_as_a_task_is_followed_to_its_result(kind: tuple[str, ...], tmp_path: Path) -> None:
    async def work() -> None:
        async with pool_of(server("task_server.py", *kind), tmp_path) as pool:
            events = await called(pool, "work", text="hello", polls=3)
            assert events[-1].text == "hello 1e2 null"
            assert [event.text for event in events if event.kind == "progress"][:2] == ["step 1", "step 2"]

    run(work())


def test_a_task_of_the_server_that_is_cancelled_or_goes_silent_is_told(
    kind: tuple[str, ...], tmp_path: Path
) -> None:
    async def work() -> None:
        log = tmp_path / "log"
        async with pool_of(server("task_server.py", "--log", str(log), *kind), tmp_path / "t") as pool:
            with pytest.raises(api.ServerRefused, match="cancelled"):
                await called(pool, "work", end="cancelled")
            with pytest.raises(api.TimedOut):
                [_ async for _ in pool.call("s", "1", "work", '{"end":"never"}', timeout_s=0.2)]
            assert '"tasks/cancel"' in log.read_text()

    run(work())


def test_what_a_task_asks_is_answered_once(tmp_path: Path) -> None:
    async def work() -> None:
        async with pool_of(server("task_server.py", "--extension"), tmp_path) as pool:
            task = await detached(pool, "work", ask="why", text="x")
            async with asyncio.timeout(10):
                while (await pool.task(task)).status != "input_required":  # noqa: ASYNC110  # a state
                    await asyncio.sleep(0.01)
            (question,) = (await pool.task(task)).questions
            await pool.answer(question, '{"action":"accept","content":{"a":1}}')
            assert (await end_of(pool, task)).text == 'x 1e2 {"action": "accept", "content": {"a": 1}}'
            with pytest.raises(api.NoSuchQuestion):
                await pool.answer(question, "{}")

    run(work())


def test_who_waits_for_a_task_is_told_that_it_asks(tmp_path: Path) -> None:
    """Nobody else may know, and it waits for ever."""

    async def work() -> None:
        async with pool_of(server("task_server.py", "--extension"), tmp_path) as pool, asyncio.timeout(20):
            task = await detached(pool, "work", ask="why", text="x")
            events = pool.follow(task, "1")
            told = await anext(event async for event in events if event.kind == "note")
            (question,) = (await pool.task(task)).questions
            assert f"{task} waits for an answer: mcp-cli answer {question} ..." in told.text
            await pool.answer(question, '{"action":"accept","content":{"a":1}}')
            assert [event.kind async for event in events if event.kind != "progress"] == ["done"]

    run(work())


def test_a_task_of_the_server_is_followed_on_by_the_next_daemon(
    kind: tuple[str, ...], tmp_path: Path
) -> None:
    async def work() -> None:
        state = tmp_path / "state"
        one = server("task_server.py", "--state", str(state), *kind)
        async with pool_of(one, tmp_path / "t") as pool:
            task = await detached(pool, "work", text="later", end="never")
            async with asyncio.timeout(10):
                while not (await pool.task(task)).remote:  # noqa: ASYNC110  # a state
                    await asyncio.sleep(0.01)
        state.write_text(state.read_text().replace("never", "completed").replace('"cancelled"', '"working"'))
        async with pool_of(one, tmp_path / "t") as pool:
            assert (await pool.task(task)).status == "working"
            with pytest.raises(api.TaskEnded, match="in no configuration"):
                [_ async for _ in pool.follow(task)]
            assert (await end_of(pool, task)).text == "later 1e2 null"

    run(work())


# --- the daemon's own ----------------------------------------------------------------------------


def test_a_result_is_there_for_the_next_daemon_to_the_byte(tmp_path: Path, raw_text: str) -> None:
    async def work() -> None:
        async with pool_of(server("fake_server.py"), tmp_path / "t") as pool:
            task = await detached(pool, "raw")
            await end_of(pool, task)
            broken = await detached(pool, "typed", right=False)
            await end_of(pool, broken)
        async with pool_of(server("fake_server.py"), tmp_path / "t") as pool:
            assert (await end_of(pool, task, wait=False)).result == raw_text
            assert "$.n" in (await end_of(pool, broken, wait=False)).schema_error
            assert [one.status for one in await pool.tasks()] == ["completed", "completed"]
        assert {one.stat().st_mode & 0o777 for one in (tmp_path / "t").iterdir()} == {0o600}
        assert (tmp_path / "t").stat().st_mode & 0o777 == 0o700

    run(work())


def test_what_was_under_way_when_the_daemon_ended_is_of_unknown_outcome(tmp_path: Path) -> None:
    files = JobFiles(str(tmp_path))
    for name, asked in (("asked", True), ("unasked", False)):
        files.save(JobRecord(api.TaskState(id=name, server="s", tool="x"), asked=asked))
    (tmp_path / "odd.json").write_text("{")
    jobs = Jobs(files)
    jobs.load()
    assert {one.id: one.status for one in jobs.every()} == {"asked": "unknown", "unasked": "failed"}


def test_a_task_ends_as_its_call_would_have(tmp_path: Path) -> None:
    async def work() -> None:
        async with pool_of(server("fake_server.py"), tmp_path) as pool:
            with pytest.raises(api.BadArguments):
                await detached(pool, "echo", txet="x")
            assert (await end_of(pool, await detached(pool, "fail"))).is_error
            with pytest.raises(api.ServerRefused, match="no"):
                await end_of(pool, await detached(pool, "refuse"))
            with pytest.raises(api.MaybeRan, match="exited with code 7"):
                await end_of(pool, await detached(pool, "crash"))
            with pytest.raises(api.NoSuchTask):
                pool.follow("nothing")

    run(work())


def test_a_task_that_goes_on_is_waited_for_as_long_as_is_said(tmp_path: Path) -> None:
    async def work() -> None:
        async with pool_of(server("fake_server.py"), tmp_path) as pool:
            task = await detached(pool, "slow", n=60)
            for options in ({"timeout_s": 0.1}, {"wait": False}):
                with pytest.raises(api.NotFinished):
                    await end_of(pool, task, **options)
            assert (await pool.cancel(task)).status == "cancelled"
            assert (await pool.cancel(task)).status == "cancelled"
            with pytest.raises(api.TaskEnded):
                await end_of(pool, task)
            cancelled = await called(pool, "cancelled")
            assert len(json.loads(cancelled[-1].text)) == 1

    run(work())


@pytest.mark.slow
def test_a_thousand_tasks_each_keep_their_own_result(tmp_path: Path) -> None:
    async def work() -> None:
        async with pool_of(server("fake_server.py"), tmp_path) as pool:
            tasks = await asyncio.gather(*(detached(pool, "echo", text=f"number {n}") for n in range(1000)))
            assert len(set(tasks)) == 1000
            ends = await asyncio.gather(*(end_of(pool, one) for one in tasks))
            assert [one.text for one in ends] == [f"number {n}" for n in range(1000)]
        assert len(os.listdir(tmp_path)) == 2000

    run(work())
