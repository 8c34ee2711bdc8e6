"""One server's life, with a launcher that a test controls: when it is started, again, and never."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from daemonry.home.policy import Policy, When
from mcp_cli.pool import lifecycle
from mcp_cli.pool.lifecycle import Lifecycle
from mcp_cli.pool.server_state import State


class Connection:
    """A connection that ends when a test says so."""

    end_reason = "ended with code 1"

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.over = False

    def crash(self) -> None:
        self.over = True
        self.ended.set()

    async def close(self) -> None:
        self.crash()


class Launcher:
    """Makes connections, or fails, as often as a test says."""

    def __init__(self, *, own_process: bool = True) -> None:
        self.error = ""
        self.process = object() if own_process else None
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.made: list[Connection] = []
        self.refuses = ""

    async def connect(self) -> Connection:
        await self.may_start.wait()
        if self.refuses:
            raise self.failed("initialize", self.refuses)
        self.made.append(Connection())
        return self.made[-1]

    async def drop(self, process: object) -> None:
        del process

    def running(self) -> str:
        return "sleep"

    def failed(self, stage: str, reason: str) -> Exception:
        self.error = f"{stage}: {reason}"
        return ConnectionError(self.error)


QUICK = Policy(When.ALWAYS, delay_s=0.0, delay_most_s=0.0, most=3, within_s=60.0)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "POLICY", QUICK)


def run(test: Any) -> None:
    async def within_a_time() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(within_a_time())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # what is waited for has no event
        await asyncio.sleep(0)


async def until_in(life: Lifecycle, state: State) -> None:
    await until(lambda: life.state is state)


def silent(_: str) -> None:
    """A note that nobody reads."""


def test_callers_at_the_same_time_share_one_start():
    async def test() -> None:
        launcher = Launcher()
        life = Lifecycle("s", launcher)
        first, second = await asyncio.gather(life.ready(silent), life.ready(silent))
        assert (first, life.state, life.starts) == (second, State.READY, 1)
        assert await life.ready(silent) is first
        await life.close()

    run(test)


def test_a_start_that_fails_is_tried_again_by_the_next_call_only():
    async def test() -> None:
        launcher = Launcher()
        launcher.refuses = "no"
        life = Lifecycle("s", launcher)
        for _ in range(2):
            with pytest.raises(ConnectionError, match="initialize: no"):
                await life.ready(silent)
            assert life.state is State.FAILED
        launcher.refuses = ""
        notes: list[str] = []
        await life.ready(notes.append)
        assert (life.state, life.starts, launcher.error) == (State.READY, 3, "")
        assert notes == ["starting s again (initialize: no)"]
        await life.close()

    run(test)


def test_a_server_of_ours_that_crashes_is_started_again_by_itself():
    async def test() -> None:
        launcher = Launcher()
        life = Lifecycle("s", launcher)
        (await life.ready(silent)).crash()
        await until(lambda: len(launcher.made) == 2)
        await until_in(life, State.READY)
        assert life.connection is launcher.made[1]
        await life.close()

    run(test)


@pytest.mark.parametrize("why", ["over HTTP", "retired"])
def test_one_over_http_or_that_was_replaced_is_not(why: str):
    async def test() -> None:
        launcher = Launcher(own_process=why != "over HTTP")
        life = Lifecycle("s", launcher)
        life.retired = why == "retired"
        (await life.ready(silent)).crash()
        await life.ended(5.0)
        assert (life.state, life.connection, launcher.error) == (State.IDLE, None, "ended with code 1")
        assert await life.ready(silent) is launcher.made[1]
        await life.close()

    run(test)


def test_a_server_that_crashes_again_and_again_is_given_up_until_the_next_call():
    async def test() -> None:
        launcher = Launcher()
        life = Lifecycle("s", launcher)
        await life.ready(silent)
        for crashes in range(1, QUICK.most + 2):
            await until(lambda crashes=crashes: len(launcher.made) == crashes)
            await until_in(life, State.READY)
            launcher.made[-1].crash()
            await life.ended(5.0)
        assert (life.state, life.starts) == (State.FAILED, QUICK.most + 1)
        assert launcher.error.startswith("ended with code 1; it ended 3 times in 60 s")
        assert await life.ready(silent) is life.connection
        await life.close()

    run(test)


def test_a_call_that_has_to_wait_for_the_start_is_told(monkeypatch: pytest.MonkeyPatch):
    async def test() -> None:
        monkeypatch.setattr(lifecycle, "POLICY", QUICK._replace(delay_s=100.0, delay_most_s=100.0))
        launcher = Launcher(own_process=False)
        life = Lifecycle("s", launcher)
        (await life.ready(silent)).crash()
        await life.ended(5.0)
        notes: list[str] = []
        waits = asyncio.create_task(life.ready(notes.append))
        await until_in(life, State.WAITING)
        assert life.begun
        assert len(notes) == 1
        assert notes[0].startswith("s crashed; it is started again in ")
        waits.cancel()
        await asyncio.wait((waits,))
        assert waits.cancelled(), "a caller that goes away is cancelled, and told of no failure"
        await life.close()
        assert await life.ready(silent), "after it was ended by command nothing waits"
        await life.close()

    run(test)


def test_whoever_waits_for_a_start_that_is_ended_is_told(monkeypatch: pytest.MonkeyPatch):
    async def test() -> None:
        monkeypatch.setattr(lifecycle, "STILL_STARTING_S", 0.001)
        launcher = Launcher()
        launcher.may_start.clear()
        life = Lifecycle("s", launcher)
        notes: list[str] = []
        waits = asyncio.create_task(life.ready(notes.append))
        await until_in(life, State.STARTING)
        await until(lambda: bool(notes))
        assert notes[0] == "s has not answered yet: sleep still runs"
        await life.close()
        with pytest.raises(ConnectionError, match="it was ended before it had started"):
            await waits
        assert life.state is State.IDLE

    run(test)


def test_a_call_that_comes_while_it_is_being_ended_waits_for_the_end(monkeypatch: pytest.MonkeyPatch):
    async def test() -> None:
        launcher = Launcher()
        life = Lifecycle("s", launcher)
        first = await life.ready(silent)
        dropped = asyncio.Event()
        monkeypatch.setattr(launcher, "drop", lambda _: dropped.wait())
        closes = asyncio.create_task(life.close())
        await until_in(life, State.CLOSING)
        await until(lambda: first.over)
        call = asyncio.create_task(life.ready(silent))
        await asyncio.sleep(0)
        assert len(launcher.made) == 1
        dropped.set()
        await closes
        assert await call is not first
        await life.close()

    run(test)


def test_no_start_begins_between_the_end_and_its_last_step():
    async def test() -> None:
        life = Lifecycle("s", Launcher())
        life.state = State.CLOSING
        with pytest.raises(ConnectionError, match="it is being ended"):
            await life.ready(silent)
        assert repr(life) == "<Lifecycle s closing, 0 starts>"

    run(test)
