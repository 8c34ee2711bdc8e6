"""A server that nobody calls ends by itself, and its memory is shown."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_cli.pool import service
from mcp_cli.pool.service import ServerPool
from mcp_cli.protocol import interfaces as api

if TYPE_CHECKING:
    import pytest

TESTS = Path(__file__).parents[1]


def test_a_server_ends_when_idle_and_not_while_it_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "ROUND_S", 0.02)

    async def work() -> None:
        pool = ServerPool()
        servers = [
            api.Server(
                name=name,
                fingerprint="1",
                command=sys.executable,
                args=[str(TESTS / "live_server.py")],
                idle_s=idle_s,
            )
            for name, idle_s in (("short", 0.05), ("watched", 0.05), ("kept", 0.0))
        ]
        await pool.configure(servers)
        caring = asyncio.create_task(pool.look_after())
        try:
            events = pool.watch("watched", "1")
            assert (await anext(events)).kind == "watching"
            for name in ("short", "kept"):
                await pool.info(name, "1")
            async with asyncio.timeout(30):
                while {one.server: one.state for one in await pool.servers()}["short"] != "idle":  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            states = {one.server: one.state for one in await pool.servers()}
            assert states == {"short": "idle", "watched": "ready", "kept": "ready"}
            assert [one.error for one in await pool.servers()] == [""] * 3
            assert (await pool.info("short", "1")).starts == 2
            await events.aclose()
        finally:
            caring.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await caring
            await pool.close()

    asyncio.run(work())


def test_the_status_has_the_processes_and_memory_of_each_server(app: Any, tmp_path: Path) -> None:
    app.servers(fake=["--child", str(tmp_path / "child")])
    app.done("ping", "fake")
    (line,) = [one for one in app.done("daemon", "status").splitlines() if one.lstrip().startswith("fake")]
    words = line.split()
    count, megabytes = int(words[words.index("processes,") - 1]), int(words[words.index("MB") - 1])
    assert count >= 2
    assert megabytes > 5


def test_the_idle_time_is_configured_for_one_and_for_all(app: Any) -> None:
    app.servers(fake={"idle_secs": 0}, other=[])
    app.config("idle_secs = 30\n" + app.config_path.read_text())
    app.done("config", "validate")
    app.config("idle_secs = -1\n")
    assert "out of range" in app("config", "validate").err
