"""A pool in this process, with fake servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mcp_cli.pool.service import ServerPool
from mcp_cli.protocol import interfaces as api

FAKE = str(Path(__file__).parents[1] / "fake_server.py")


class Pools:
    """Makes pools and fake servers, and asks them."""

    FAKE = FAKE
    FORM: ClassVar = {
        "method": "elicitation/create",
        "params": {
            "message": "Who?",
            "requestedSchema": {"type": "object", "properties": {"who": {"type": "string"}}},
        },
    }

    @staticmethod
    def fake(*options: str, name: str = "fake", fingerprint: str = "1", **fields: Any) -> api.Server:
        return api.Server(
            name=name, fingerprint=fingerprint, command=sys.executable, args=[FAKE, *options], **fields
        )

    @staticmethod
    @contextlib.asynccontextmanager
    async def of(*servers: api.Server) -> AsyncIterator[ServerPool]:
        pool = ServerPool()
        await pool.configure(list(servers))
        try:
            yield pool
        finally:
            await pool.close()

    @staticmethod
    async def events_of(
        pool: ServerPool, tool: str, given: dict[str, Any] | None = None, **options: Any
    ) -> list[api.Event]:
        options.setdefault("fingerprint", "1")
        options.setdefault("server", "fake")
        return [event async for event in pool.call(tool=tool, arguments=json.dumps(given or {}), **options)]

    @staticmethod
    def result_of(events: list[api.Event]) -> str:
        assert events[-1].kind == "done"
        return "".join(event.result for event in events if event.kind in ("part", "done"))

    @staticmethod
    async def until(told: Callable[[], Awaitable[bool]], timeout_s: float = 20.0) -> None:
        """Ask again and again until it is so."""
        async with asyncio.timeout(timeout_s):
            while not await told():  # noqa: ASYNC110  # a state is asked for, there is no event
                await asyncio.sleep(0.01)

    @staticmethod
    async def begun(running: AsyncGenerator[api.Event, None]) -> asyncio.Task[list[api.Event]]:
        """Wait until a call is at its server, which tells of progress, and return the rest of it."""
        assert (await anext(running)).kind == "progress"

        async def rest() -> list[api.Event]:
            return [event async for event in running]

        return asyncio.create_task(rest())

    @staticmethod
    async def says(pool: ServerPool, text: str, **options: Any) -> None:
        events = await Pools.events_of(pool, "echo", {"text": text}, **options)
        assert events[-1].text == text

    @staticmethod
    def alive(pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/stat") as file:
                return file.read().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    @staticmethod
    def words_of(pid: int) -> str:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read()


@pytest.fixture
def pools() -> type[Pools]:
    return Pools
